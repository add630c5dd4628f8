"""Residual multiscale classifier of CSASN, without the linear layers of the tasks."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from toolkit.errors import ToolkitError
from toolkit.interfaces import Neck
from toolkit.ranges import BelowOne, PositiveInt
from toolkit.registry import NECKS

Combine = Literal['sum', 'join']
Norm = Literal['layer', 'batch']


@NECKS.register
class ResidualMultiscale(Neck):
    """Parallel paths of several widths, plus a linear skip: CSASN's classifier, used as trunk.

    A path is Linear-Norm-GELU-Dropout-Linear. The last layer maps it to the common width.

    Args:
        in_channels: D. Injected by the parent.
        widths: hidden width of each path; the number of widths is the number of scales.
        width: output width of each path.
        combine: 'sum' adds the paths; 'join' concatenates them.
        residual: add the linear skip.
        norm: 'layer', or 'batch', which needs more than one sample in a training batch.
        dropout: share of each path's features dropped in training, in [0, 1).
    Shape: (B, D) -> (B, width), or (B, len(widths) * width).
    Raises:
        ValueError: widths is empty or has a value below 1, combine or norm is unknown, or dropout
            is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        widths: tuple[PositiveInt, ...] = (1024, 512, 256),
        width: PositiveInt = 512,
        combine: Combine = 'sum',
        residual: bool = True,
        norm: Norm = 'layer',
        dropout: BelowOne = 0.1,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1 or width < 1:
            raise ValueError(
                f'widths must have one or more values of at least 1, and width must be at least 1, '
                f'found widths {list(widths)} and width {width}'
            )
        if combine not in ('sum', 'join'):
            raise ValueError(f'combine must be sum or join, found {combine!r}')
        if norm not in ('layer', 'batch'):
            raise ValueError(f'norm must be layer or batch, found {norm!r}')
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), found {dropout}')
        norm_layer = nn.LayerNorm if norm == 'layer' else nn.BatchNorm1d
        self.paths = nn.ModuleList(
            nn.Sequential(
                nn.Linear(in_channels, hidden),
                norm_layer(hidden),
                nn.GELU(),
                nn.Dropout(dropout),
                nn.Linear(hidden, width),
            )
            for hidden in widths
        )
        self.combine, self.norm = combine, norm
        self.out_channels = width if combine == 'sum' else len(widths) * width
        self.skip = nn.Linear(in_channels, self.out_channels) if residual else None

    def forward(self, features: Tensor) -> Tensor:
        if self.training and self.norm == 'batch' and len(features) == 1:
            raise ToolkitError(
                'ResidualMultiscale with norm: batch cannot train on a batch of one sample; '
                'use norm: layer, a larger batch_size, or drop_last: true'
            )
        scales = [path(features) for path in self.paths]  # (B, width) each
        joined = torch.cat(scales, 1) if self.combine == 'join' else torch.stack(scales).sum(0)
        return joined if self.skip is None else joined + self.skip(features)
