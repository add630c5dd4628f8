"""Neck that fuses CSASN's branches."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from plugins.csasn.fusion import CrossAttentionFusion, GatedFusion, JoinFusion, SumFusion
from toolkit.interfaces import Neck, features_to_map
from toolkit.ranges import PositiveInt
from toolkit.registry import NECKS

Mode = Literal['map', 'vector']
Fusion = Literal['join', 'sum', 'gated', 'cross_attention']


@NECKS.register
class DualBranch(Neck):
    """Fuses the features of two or more branches.

    Mode `map` pools the map, or the square grid of tokens, of each branch to the grid of the
    coarsest branch and fuses the maps, so that later modules have positions. Mode `vector` first
    averages each branch to a vector, as the paper's text says literally.

    Args:
        in_channels: channels by branch, in the order of concatenation. Injected by the system.
        strides: stride by branch, None for vectors. Injected by the system.
        mode: 'map' or 'vector'.
        fusion: 'join' concatenates the channels; 'sum' projects the branches to a common width and
            adds them; 'gated' adds them with weights for each position and channel;
            'cross_attention' concatenates them after attention of each branch to the others.
        width: channels to which each branch is projected; None for no projection with 'join', the
            width of the widest branch with 'sum' and 'gated', and of the narrowest branch with
            'cross_attention'.
        grid: side of the common grid in mode `map`; None for the grid of the coarsest branch.
        heads: number of attention heads of 'cross_attention'.
        prefix_tokens: number of tokens before the patch tokens, by branch; these tokens are
            dropped. Injected by the system.
    Shape: maps (B, D_b, h_b, w_b), tokens (B, N, D_b) or vectors (B, D_b) by branch ->
        (B, D, h, w) or (B, D).
    Raises:
        ValueError: a branch gives vectors in mode `map`, fusion or mode is unknown, or width, grid
            or heads is not valid.
    """

    def __init__(
        self,
        in_channels: Mapping[str, int],
        strides: Mapping[str, int | None],
        mode: Mode = 'map',
        fusion: Fusion = 'join',
        width: PositiveInt | None = None,
        grid: PositiveInt | None = None,
        heads: PositiveInt = 8,
        prefix_tokens: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        if mode not in ('map', 'vector'):
            raise ValueError(f'mode must be map or vector, found {mode!r}')
        for name, value in (('width', width), ('grid', grid)):
            if value is not None and value < 1:
                raise ValueError(f'{name} must be at least 1, found {value}')
        if grid is not None and mode == 'vector':
            raise ValueError('grid needs mode: map, found mode: vector; remove grid')
        vectors = [name for name, stride in strides.items() if stride is None]
        if mode == 'map' and vectors:
            raise ValueError(
                f'mode: map needs maps, but the branch {vectors[0]!r} gives vectors; set its '
                'features to map, or mode to vector'
            )
        fusions = {
            'join': JoinFusion,
            'sum': SumFusion,
            'gated': GatedFusion,
            'cross_attention': functools.partial(CrossAttentionFusion, heads=heads),
        }
        if fusion not in fusions:
            raise ValueError(f'fusion must be one of {", ".join(fusions)}, found {fusion!r}')
        self.fusion = fusions[fusion](in_channels, width)
        self.prefix_tokens = dict(prefix_tokens or {})
        self.names, self.mode, self.grid = tuple(in_channels), mode, grid
        self.coarsest = max(strides, key=lambda name: strides[name] or 0)
        self.out_channels = self.fusion.out_channels

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        maps = {
            name: features_to_map(features[name], self.prefix_tokens.get(name, 0))
            for name in self.names
        }  # (B, D_b, h_b, w_b)
        if self.mode == 'vector':
            pooled = {name: x.mean((2, 3), keepdim=True) for name, x in maps.items()}
            return self.fusion(pooled).flatten(1)  # (B, D)
        grid = maps[self.coarsest].shape[-2:] if self.grid is None else (self.grid, self.grid)
        return self.fusion(
            {name: _pool_to_grid(x, grid) for name, x in maps.items()}
        )  # (B, D, h, w)


def _pool_to_grid(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Pools a map to a grid by averaging over the cells."""
    return features if features.shape[-2:] == grid else F.adaptive_avg_pool2d(features, grid)
