"""Layouts of timm's features and their conversion to maps and tokens."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from toolkit.interfaces import features_to_map, map_to_features


@dataclass(frozen=True)
class FeatureLayout:
    """Layout of the features of a timm model: channels first, channels last, or tokens.

    Attributes:
        kind: `NCHW` for (B, D, h, w), `NHWC` for (B, h, w, D), or `tokens` for
            (B, prefix + h w, D) with h = w.
        channels: D.
        prefix: number of tokens before the patch tokens (class, distillation, registers).
    """

    kind: Literal['NCHW', 'NHWC', 'tokens']
    channels: int
    prefix: int = 0

    def to_map(self, features: Tensor) -> Tensor:
        """Converts features of this layout to a map (B, D, h, w)."""
        if self.kind == 'NCHW':
            return features
        if self.kind == 'NHWC':
            return features.permute(0, 3, 1, 2)  # (B, D, h, w)
        return features_to_map(features, self.prefix)

    def from_map(self, refined: Tensor, features: Tensor) -> Tensor:
        """Replaces the map in `features` by `refined` (B, D, h, w); keeps the prefix tokens."""
        if self.kind == 'NCHW':
            return refined
        if self.kind == 'NHWC':
            return refined.permute(0, 2, 3, 1)  # (B, h, w, D)
        return map_to_features(refined, features, self.prefix)

    def to_tokens(self, features: Tensor) -> Tensor:
        """Converts features of this layout to tokens (B, N, D), including the prefix."""
        return features if self.kind == 'tokens' else self.to_map(features).flatten(2).mT


def find_layout(model: nn.Module, features: object, channels: int | None = None) -> FeatureLayout:
    """Finds the layout of the features of a model or of a stage.

    Args:
        model: a timm model.
        features: output of the model or stage.
        channels: D; None for the model's `num_features`.
    Raises:
        ValueError: the features are neither a map nor a square grid of tokens.
    """
    channels = channels or getattr(model, 'num_features', None)
    if isinstance(features, Tensor) and features.ndim == 4:
        last, second = features.shape[-1], features.shape[1]
        declared = getattr(model, 'output_fmt', 'NCHW')
        nhwc = last == channels and (second != channels or declared == 'NHWC')
        return FeatureLayout('NHWC', last) if nhwc else FeatureLayout('NCHW', second)
    if isinstance(features, Tensor) and features.ndim == 3:
        count = features.shape[1]
        declared = getattr(model, 'num_prefix_tokens', None)
        if count == 1 and hasattr(model, 'cls_token'):
            raise ValueError('gives its class token only')
        # In some models, such as CaiT, the class token joins the patches only in a late stage.
        for prefix in (0, 1, 2) if declared is None else (declared, 0):
            if prefix < count and math.isqrt(count - prefix) ** 2 == count - prefix:
                return FeatureLayout('tokens', features.shape[2], prefix)
        raise ValueError(f'gives {count} tokens, not a square grid')
    found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
    raise ValueError(f'gives {found}, neither a map nor tokens')


def run_on_meta(
    model: nn.Module,
    forward: Callable[[nn.Module, Tensor], object],
    image: tuple[int, ...],
    gradients: bool = True,
    cache_key: Hashable = None,
) -> tuple[object, set[str]]:
    """Runs a forward pass on the meta device and finds the parameters that it does not use.

    Meta tensors replace the parameters during the run, so that it needs no memory and no
    arithmetic.

    Args:
        model: any model; it is not changed.
        forward: computes features from the model and an image.
        image: shape of the image, (1, C, H, W).
        gradients: find unused parameters. This does not work with gradient checkpointing, which
            needs the original parameters in the backward pass.
        cache_key: equal only for models with the same result, which is then computed once; None
            disables the cache.
    Returns:
        The output, and the names of the unused parameters.
    """
    if cache_key is None:
        return _run_on_meta(model, forward, image, gradients)
    if cache_key not in _RESULTS:
        output, unused = _run_on_meta(model, forward, image, gradients)
        # Detached, because the graph would keep the model's parameters in memory.
        _RESULTS[cache_key] = output.detach() if isinstance(output, Tensor) else output, unused
    output, unused = _RESULTS[cache_key]
    return output, set(unused)


# A study builds the same few models for each variant.
_RESULTS: dict[Hashable, tuple[object, set[str]]] = {}


def _run_on_meta(
    model: nn.Module,
    forward: Callable[[nn.Module, Tensor], object],
    image: tuple[int, ...],
    gradients: bool,
) -> tuple[object, set[str]]:
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with _on_meta(model) as parameters:
            with torch.device('meta'), torch.set_grad_enabled(gradients):
                output = forward(model, torch.empty(image))
            unused: set[str] = set()
            if isinstance(output, Tensor) and output.requires_grad:
                found = torch.autograd.grad(
                    output, list(parameters.values()), torch.empty_like(output), allow_unused=True
                )
                unused = {n for n, g in zip(parameters, found, strict=True) if g is None}
    finally:
        for module, mode in training.items():
            module.training = mode
    return output, unused


@contextlib.contextmanager
def _on_meta(model: nn.Module) -> Iterator[dict[str, nn.Parameter]]:
    """Replaces the parameters and buffers of a model by meta tensors, and puts them back.

    A module or tensor that stands in the model under several names is replaced once, and stays the
    same under all of them. (`torch.func.functional_call` leaves such tensors on the meta device.)

    Yields:
        The parameters on the meta device, by their first names.
    """
    copies: dict[int, Tensor] = {}
    names: dict[str, nn.Parameter] = {}
    stores: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for prefix, module in model.named_modules():  # each module once
        for store in (module._parameters, module._buffers):
            stores.append((store, dict(store)))
            for key, tensor in store.items():
                if tensor is None:
                    continue
                if id(tensor) not in copies:
                    copy = torch.empty_like(tensor.detach(), device='meta')
                    if isinstance(tensor, nn.Parameter):
                        copy = nn.Parameter(copy, copy.is_floating_point())
                        names[f'{prefix}.{key}' if prefix else key] = copy
                    copies[id(tensor)] = copy
                store[key] = copies[id(tensor)]
    try:
        yield names
    finally:
        for store, original in stores:
            store.clear()
            store.update(original)


def remove_unused(model: nn.Module, unused: set[str]) -> None:
    """Removes the modules that the features do not depend on, in place.

    An example is a layer after the pooling of a model that gives maps. It would be counted as a
    part of the model and never get a gradient.

    Args:
        model: the model.
        unused: names of the parameters that the features do not depend on.
    """
    parameters = dict(model.named_parameters())
    _remove(model, {id(parameters[name]) for name in unused})


def _remove(model: nn.Module, unused: set[int]) -> None:
    """Removes by identity, since a module or a parameter may have several names."""
    if not unused:
        return
    for name, child in list(model._modules.items()):
        own = set() if child is None else {id(parameter) for parameter in child.parameters()}
        if own and own <= unused:
            setattr(model, name, nn.Identity())
        elif own:
            _remove(child, unused)
    for parameter in model.parameters(recurse=False):
        if id(parameter) in unused:
            parameter.requires_grad_(False)
