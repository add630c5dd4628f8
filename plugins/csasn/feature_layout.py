"""Features as a map, and back: of maps (B, C, h, w), tokens (B, N, C) and vectors (B, C)."""

from __future__ import annotations

import math

from torch import Tensor

from toolkit.errors import ToolkitError


def as_map(features: Tensor) -> Tensor:
    """Features as a map (B, C, h, w): tokens in rows of a square, a vector as one place.

    Raises:
        ToolkitError: tokens that fill no square.
    """
    if features.ndim == 4:
        return features
    if features.ndim == 2:
        return features[..., None, None]  # (B, C, 1, 1)
    side = math.isqrt(features.shape[1])
    if side * side != features.shape[1]:
        raise ToolkitError(
            f'{features.shape[1]} tokens fill no square grid; have the backbone give a map '
            '(features: map), or an image that is square'
        )
    return features.transpose(1, 2).unflatten(2, (side, side))  # (B, C, h, w)


def as_before(refined: Tensor, features: Tensor) -> Tensor:
    """A map in the layout that `features` have."""
    if features.ndim == 4:
        return refined
    if features.ndim == 2:
        return refined.flatten(1)  # (B, C)
    return refined.flatten(2).transpose(1, 2)  # (B, N, C)
