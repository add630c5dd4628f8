"""The neck that joins CSASN's branches."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from plugins.csasn.fusion import CrossAttention, Gated, Join, Sum
from toolkit.interfaces import Neck, features_to_map
from toolkit.registry import NECKS

Mode = Literal['map', 'vector']
Fusion = Literal['join', 'sum', 'gated', 'cross_attention']


@NECKS.register
class DualBranch(Neck):
    """Features of two branches, or of any number, as one.

    `map`: every branch's map, or tokens on a square, is pooled to the grid of the coarsest branch
    and they are fused there, so that what follows still sees places. `vector`: every branch is a
    vector first (a map's or tokens' mean where its backbone gives none), as the paper's text says
    literally.

    Args:
        in_channels: channels by branch, in the order in which they are joined. Injected by the
            system.
        strides: of the branches. Injected by the system.
        mode: 'map' or 'vector'.
        fusion: 'join' concatenates channels; 'sum' adds branches brought to one width; 'gated'
            does so with weights chosen at every place and channel; 'cross_attention' joins them
            after each has looked at the others.
        width: to which each branch is brought; None is no projection for 'join', the widest
            branch's for 'sum' and 'gated', the narrowest's for 'cross_attention'.
        grid: side of the common grid in `map` mode; None for the coarsest branch's.
        heads: of 'cross_attention'.
        prefix_tokens: tokens before those of the patches, by branch; they are left out. Injected by
            the system.
    Shape: maps (B, D_b, h_b, w_b), tokens (B, N, D_b) or vectors (B, D_b) by branch ->
        (B, D, h, w) or (B, D).
    Raises:
        ValueError: a branch of vectors in `map` mode, an unknown fusion or mode, a width, grid or
            number of heads that cannot be.
    """

    def __init__(
        self,
        in_channels: Mapping[str, int],
        strides: Mapping[str, int | None],
        mode: Mode = 'map',
        fusion: Fusion = 'join',
        width: int | None = None,
        grid: int | None = None,
        heads: int = 8,
        prefix_tokens: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        if mode not in ('map', 'vector'):
            raise ValueError(f'mode must be map or vector, found {mode!r}')
        for name, value in (('width', width), ('grid', grid)):
            if value is not None and value < 1:
                raise ValueError(f'{name} must be at least 1, found {value}')
        if grid is not None and mode == 'vector':
            raise ValueError('grid is of mode map; with mode vector there is none')
        vectors = [name for name, stride in strides.items() if stride is None]
        if mode == 'map' and vectors:
            raise ValueError(
                f'mode map needs maps, and the branch {vectors[0]!r} gives vectors: set its '
                'features to map, or mode to vector'
            )
        fusions = {
            'join': Join,
            'sum': Sum,
            'gated': Gated,
            'cross_attention': functools.partial(CrossAttention, heads=heads),
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
        return self.fusion({name: _on(x, grid) for name, x in maps.items()})  # (B, D, h, w)


def _on(places: Tensor, grid: tuple[int, int]) -> Tensor:
    """A map brought to a grid by means over its cells."""
    return places if places.shape[-2:] == grid else F.adaptive_avg_pool2d(places, grid)
