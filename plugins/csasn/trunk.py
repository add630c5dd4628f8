"""The residual multiscale classifier, up to the linear layer of each task."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from toolkit.errors import ToolkitError
from toolkit.interfaces import Neck
from toolkit.registry import NECKS

Combine = Literal['sum', 'join']
Norm = Literal['layer', 'batch']


@NECKS.register
class ResidualMultiscale(Neck):
    """Parallel paths of several widths, plus a linear skip: CSASN's classifier, used as trunk.

    A path is Linear-Norm-GELU-Dropout and a linear layer that brings it to the common width.

    Args:
        in_channels: D. Injected by the parent.
        widths: of the paths, as many as there are scales.
        width: to which each path is brought.
        combine: 'sum' adds the paths; 'join' puts them side by side, `len(widths)` times as wide.
        residual: False leaves the skip out.
        norm: 'layer', or 'batch', which a batch of one sample cannot train.
        dropout: share of each path's features dropped in training, in [0, 1).
    Shape: (B, D) -> (B, width), or (B, len(widths) * width).
    Raises:
        ValueError: no widths or one below 1, an unknown combine or norm, dropout out of range.
    """

    def __init__(
        self,
        in_channels: int,
        widths: tuple[int, ...] = (1024, 512, 256),
        width: int = 512,
        combine: Combine = 'sum',
        residual: bool = True,
        norm: Norm = 'layer',
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1 or width < 1:
            raise ValueError(
                f'widths must be one number or more of at least 1, and width too, '
                f'found widths {list(widths)} and width {width}'
            )
        if combine not in ('sum', 'join'):
            raise ValueError(f'combine must be sum or join, found {combine!r}')
        if norm not in ('layer', 'batch'):
            raise ValueError(f'norm must be layer or batch, found {norm!r}')
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), found {dropout}')
        normed = nn.LayerNorm if norm == 'layer' else nn.BatchNorm1d
        self.paths = nn.ModuleList(
            nn.Sequential(
                nn.Linear(in_channels, own),
                normed(own),
                nn.GELU(),
                nn.Dropout(dropout),
                nn.Linear(own, width),
            )
            for own in widths
        )
        self.combine, self.norm = combine, norm
        self.out_channels = width if combine == 'sum' else len(widths) * width
        self.skip = nn.Linear(in_channels, self.out_channels) if residual else None

    def forward(self, features: Tensor) -> Tensor:
        if self.training and self.norm == 'batch' and len(features) == 1:
            raise ToolkitError(
                'ResidualMultiscale with norm batch cannot be trained by a batch of one sample; '
                'use norm: layer, a larger batch_size, or drop_last: true'
            )
        scales = [path(features) for path in self.paths]  # (B, width) each
        joined = torch.cat(scales, 1) if self.combine == 'join' else torch.stack(scales).sum(0)
        return joined if self.skip is None else joined + self.skip(features)
