"""Interfaces of parts of a network: backbones, necks, attention, heads, degradations, losses."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from toolkit.errors import ToolkitError
from toolkit.ranges import NonNegativeFloat


class Backbone(nn.Module, ABC):
    """Computes features of an image.

    Shape: (B, C, H, W) -> map (B, D, h, w), tokens (B, N, D) or vector (B, D).

    All attributes are known after construction, before any forward.

    Attributes:
        out_channels: D.
        stride: input pixels per feature step; None for vectors.
        prefix_tokens: number of tokens before those of the patches (class, registers).
    """

    contract: ClassVar[str] = 'toolkit.testing.kinds.BackboneContract'

    out_channels: int
    stride: int | None
    prefix_tokens: int = 0

    def to_map(self, features: Tensor) -> Tensor:
        """Arranges the backbone's features as a map; see `features_to_map`."""
        return features_to_map(features, self.prefix_tokens)


def features_to_map(features: Tensor, prefix_tokens: int = 0) -> Tensor:
    """Arranges features as a map (B, D, h, w).

    A map stays as it is. Tokens without their prefix fill a square, row by row. A vector becomes a
    map of one place.

    Args:
        features: map (B, D, h, w), tokens (B, prefix + h w, D) or vector (B, D).
        prefix_tokens: number of tokens before those of the patches.
    Raises:
        ToolkitError: the tokens do not fill a square.
    """
    if features.ndim == 4:
        return features
    if features.ndim == 2:
        return features[..., None, None]  # (B, D, 1, 1)
    count = features.shape[1] - prefix_tokens
    side = math.isqrt(max(count, 0))
    if side * side != count or not count:
        prefix = f' after a prefix of {prefix_tokens}' if prefix_tokens else ''
        raise ToolkitError(
            f'{count} tokens{prefix} fill no square grid; have the backbone give a map '
            '(features: map), state its prefix_tokens, or use square images'
        )
    patches = features[:, prefix_tokens:].transpose(1, 2)  # (B, D, N)
    grid: Tensor = patches.unflatten(2, (side, side))  # type: ignore[no-untyped-call]
    return grid  # (B, D, h, w)


def map_to_features(refined: Tensor, features: Tensor, prefix_tokens: int = 0) -> Tensor:
    """Arranges a map as `features` are arranged; their prefix tokens are kept.

    Args:
        refined: map (B, D, h, w).
        features: map (B, D, h, w), tokens (B, prefix + h w, D) or vector (B, D).
        prefix_tokens: number of tokens before those of the patches.
    """
    if features.ndim == 4:
        return refined
    if features.ndim == 2:
        return refined.flatten(1)  # (B, D)
    patches = refined.flatten(2).transpose(1, 2)  # (B, h w, D)
    if not prefix_tokens:
        return patches
    return torch.cat([features[:, :prefix_tokens], patches], 1)  # (B, prefix + h w, D)


class Neck(nn.Module, ABC):
    """Features -> features; `out_channels` is known after construction.

    One that joins branches takes a mapping of their features by name, and is injected with the
    branches' `in_channels` and `strides` by name; one that refines takes one tensor.
    """

    contract: ClassVar[str] = 'toolkit.testing.kinds.NeckContract'

    out_channels: int


class Attention(nn.Module, ABC):
    """Features -> features of the same shape."""

    contract: ClassVar[str] = 'toolkit.testing.kinds.AttentionContract'

    def maps(self, features: Tensor) -> dict[str, Tensor]:
        """Returns attention maps by name, for visualization; by default there are none.

        Shape: weights of places (B, 1, h, w) or of channels (B, C).
        """
        return {}


class Head(nn.Module, ABC):
    """Computes the logits of features.

    Shape: (B, D) -> (B, num_classes).
    """

    contract: ClassVar[str] = 'toolkit.testing.kinds.HeadContract'


class Degradation(nn.Module, ABC):
    """Degrades an image.

    Args:
        bands: C. Injected by the parent.
        ratio: fine pixels per coarse pixel along each axis. Injected by the parent.
    Shape: (B, C, H, W) -> (B, C, H, W) for a reblur, (B, 1, H, W) for a gray.

    Attributes:
        out_bands: 'same' for a reblur, 1 for a gray.
    """

    contract: ClassVar[str] = 'toolkit.testing.kinds.DegradationContract'

    out_bands: ClassVar[Literal['same', 1]] = 'same'

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor: ...


class Loss(nn.Module, ABC):
    """A scalar term; the arguments of `forward` are names of outputs of the system.

    Args:
        weight: factor that the system applies; must be finite.
    """

    contract: ClassVar[str] = 'toolkit.testing.kinds.LossContract'

    def __init__(self, weight: NonNegativeFloat = 1.0) -> None:
        super().__init__()
        if not (weight == weight and abs(weight) != float('inf')):
            raise ValueError(f'weight must be a finite number, found {weight}')
        self.weight = weight
