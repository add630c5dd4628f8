"""Maps of several stages of a timm model, joined along the channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def validate_stages(stages: Sequence[int] | None, features: str) -> None:
    """Checks the `stages` of a `TimmBackbone`, without its model.

    Raises:
        ValueError: they do not rise, or their features are no maps or vectors.
    """
    if stages is None:
        return
    if not stages or list(stages) != sorted(set(stages)):
        raise ValueError(f'stages must be rising indices, at least one, found {list(stages)}')
    if features == 'tokens':
        raise ValueError('stages give maps or vectors; set features to map or vector')


def join_stages(model: nn.Module, image: Tensor, stages: Sequence[int], as_vector: bool) -> Tensor:
    """Joins the maps of stages on the grid of the last one, or their means.

    Shape: (B, C, H, W) -> (B, D, h, w), or (B, D) as a vector.
    """
    maps = model.forward_intermediates(  # type: ignore[operator]
        image, indices=stages, norm=True, output_fmt='NCHW', intermediates_only=True
    )
    if as_vector:
        return torch.cat([x.mean((2, 3)) for x in maps], 1)
    grid = maps[-1].shape[-2:]
    return torch.cat([F.adaptive_avg_pool2d(x, grid) for x in maps], 1)


def explain_stages(model: nn.Module, name: str, stages: Sequence[int], error: Exception) -> None:
    """Explains an error of a model that has no such stages; returns if they are not its reason.

    Raises:
        ValueError: the model has no such stages, or gives none.
    """
    if not hasattr(model, 'forward_intermediates'):
        raise ValueError(
            f'{name} gives no stages in this version of timm; leave stages out'
        ) from error
    if isinstance(error, AssertionError) or 'ndices' in str(error):
        count = len(getattr(model, 'feature_info', ()) or ())
        known = f'; it has {count}, from 0' if count else ''
        raise ValueError(f'{name} has no stages {stages}{known}') from error
