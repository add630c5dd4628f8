"""Layouts of timm's features and their conversion to maps and tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from toolkit.interfaces import features_to_map, map_to_features


@dataclass(frozen=True)
class Layout:
    """Layout of features: (B, D, h, w), (B, h, w, D), or tokens (B, prefix + h w, D) with h = w.

    Attributes:
        kind: which of the three.
        channels: D.
        prefix: tokens before those of the patches (class, distillation, registers).
    """

    kind: Literal['NCHW', 'NHWC', 'tokens']
    channels: int
    prefix: int = 0

    def to_map(self, features: Tensor) -> Tensor:
        """Features of this layout -> (B, D, h, w)."""
        if self.kind == 'NCHW':
            return features
        if self.kind == 'NHWC':
            return features.permute(0, 3, 1, 2)  # (B, D, h, w)
        return features_to_map(features, self.prefix)

    def from_map(self, refined: Tensor, features: Tensor) -> Tensor:
        """`features` with a map (B, D, h, w) in the place of their own; a prefix is kept."""
        if self.kind == 'NCHW':
            return refined
        if self.kind == 'NHWC':
            return refined.permute(0, 2, 3, 1)  # (B, h, w, D)
        return map_to_features(refined, features, self.prefix)

    def to_tokens(self, features: Tensor) -> Tensor:
        """Features of this layout -> (B, N, D), prefix included."""
        return features if self.kind == 'tokens' else self.to_map(features).flatten(2).mT


def layout_of(model: nn.Module, features: object, channels: int | None = None) -> Layout:
    """Finds the layout of the features of a model or of a stage.

    Args:
        model: timm's.
        features: what it gave.
        channels: D where it is known, else the model's `num_features`.
    Raises:
        ValueError: it is none of the three.
    """
    channels = channels or getattr(model, 'num_features', None)
    if isinstance(features, Tensor) and features.ndim == 4:
        last, second = features.shape[-1], features.shape[1]
        declared = getattr(model, 'output_fmt', 'NCHW')
        nhwc = last == channels and (second != channels or declared == 'NHWC')
        return Layout('NHWC', last) if nhwc else Layout('NCHW', second)
    if isinstance(features, Tensor) and features.ndim == 3:
        count = features.shape[1]
        declared = getattr(model, 'num_prefix_tokens', None)
        if count == 1 and hasattr(model, 'cls_token'):
            raise ValueError('gives its class token only')
        # A declared prefix may join the patches in a later stage only, as in CaiT.
        for prefix in (0, 1, 2) if declared is None else (declared, 0):
            if prefix < count and math.isqrt(count - prefix) ** 2 == count - prefix:
                return Layout('tokens', features.shape[2], prefix)
        raise ValueError(f'gives {count} tokens, which are no square grid')
    found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
    raise ValueError(f'gives {found}, which is neither a map nor tokens')


def run_on_meta(
    model: nn.Module,
    forward: Callable[[nn.Module, Tensor], object],
    image: tuple[int, ...],
    gradients: bool = True,
    like: Hashable = None,
) -> tuple[object, set[str]]:
    """Runs a forward on shapes alone; returns the output and the unused parameters.

    The parameters are exchanged for meta tensors meanwhile, so that this costs no memory and no
    arithmetic.

    Args:
        model: any; left as it is.
        forward: model and image -> features.
        image: its shape (1, C, H, W).
        gradients: whether unused parameters are looked for; a model that recomputes its forward in
            the backward pass would find its own parameters again there.
        like: equal for models whose outcome is the same alone, which is then found once; None to
            find it anew.
    """
    if like is None:
        return _run_on_meta(model, forward, image, gradients)
    if like not in _FOUND:
        output, unused = _run_on_meta(model, forward, image, gradients)
        # Without its graph, which holds the model's parameters.
        _FOUND[like] = output.detach() if isinstance(output, Tensor) else output, unused
    output, unused = _FOUND[like]
    return output, set(unused)


# A study builds the same few models for each of its variants.
_FOUND: dict[Hashable, tuple[object, set[str]]] = {}


def _run_on_meta(
    model: nn.Module,
    forward: Callable[[nn.Module, Tensor], object],
    image: tuple[int, ...],
    gradients: bool,
) -> tuple[object, set[str]]:
    state: dict[str, Tensor] = {
        name: torch.empty_like(p, device='meta').requires_grad_()
        for name, p in model.named_parameters()
    }
    parameters = dict(state)
    state |= {name: torch.empty_like(b, device='meta') for name, b in model.named_buffers()}
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.device('meta'), torch.set_grad_enabled(gradients):
            output = functional_call(_Call(model, forward), _prefixed(state), torch.empty(image))
        unused: set[str] = set()
        if isinstance(output, Tensor) and output.requires_grad:
            gradients = torch.autograd.grad(
                output, list(parameters.values()), torch.empty_like(output), allow_unused=True
            )
            unused = {n for n, g in zip(parameters, gradients, strict=True) if g is None}
    finally:
        for module, mode in training.items():
            module.training = mode
    return output, unused


class _Call(nn.Module):
    """A model whose forward is another of its methods, as `functional_call` wants it."""

    def __init__(self, model: nn.Module, forward: Callable[[nn.Module, Tensor], object]) -> None:
        super().__init__()
        self.model = model
        self._forward = forward

    def forward(self, image: Tensor) -> object:
        return self._forward(self.model, image)


def _prefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f'model.{name}': tensor for name, tensor in state.items()}


def without_unused(model: nn.Module, unused: set[str]) -> None:
    """Take out the modules none of whose parameters the features depend on: a head that only the
    pooled vector goes through would be counted, and would never get a gradient."""
    if not unused:
        return
    for name, child in list(model.named_children()):
        own = {n for n, _ in child.named_parameters()}
        below = {n[len(name) + 1 :] for n in unused if n.startswith(f'{name}.')}
        if own and own == below:
            setattr(model, name, nn.Identity())
        else:
            without_unused(child, below)
    for name, parameter in model.named_parameters(recurse=False):
        if name in unused:
            parameter.requires_grad_(False)
