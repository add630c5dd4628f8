"""Heads: from a vector to the logits of a task."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.interfaces import Head
from toolkit.ranges import BelowOne, PositiveFloat, PositiveInt
from toolkit.registry import HEADS


@HEADS.register
class LinearHead(Head):
    """One linear layer, after dropout.

    Args:
        in_channels: D. Injected by the parent.
        num_classes: K. Injected by the parent.
        dropout: share of the features dropped in training, in [0, 1).
        standardize: bring each feature to mean 0 and variance 1 over the training data first, by a
            batch norm without parameters, as linear probes of frozen features do: features of
            different networks are then of one scale.
    Shape: (B, D) -> (B, K).
    Source: of the batch norm, He et al., "Masked autoencoders are scalable vision learners", CVPR
        2022, appendix A.1.
    """

    def __init__(
        self, in_channels: int, num_classes: int, dropout: BelowOne = 0.0, standardize: bool = False
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), found {dropout}')
        # Plain averages over training, since the features do not change.
        norm = nn.BatchNorm1d(in_channels, momentum=None, affine=False)
        self.norm = norm if standardize else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_channels, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(self.dropout(self.norm(features)))  # (B, K)


@HEADS.register
class MLPHead(Head):
    """A hidden layer: linear, layer norm, GELU, dropout, linear.

    Args:
        in_channels: D. Injected by the parent.
        num_classes: K. Injected by the parent.
        width: of the hidden layer.
        dropout: share of the hidden features dropped in training, in [0, 1).
    Shape: (B, D) -> (B, K).
    """

    def __init__(
        self, in_channels: int, num_classes: int, width: PositiveInt = 512, dropout: BelowOne = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), found {dropout}')
        if width < 1:
            raise ValueError(f'width must be at least 1, found {width}')
        self.hidden = nn.Sequential(
            nn.Linear(in_channels, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout)
        )
        self.linear = nn.Linear(width, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(self.hidden(features))  # (B, K)


@HEADS.register
class CosineHead(Head):
    """Cosines between the features and a learned direction for each class, times `scale`.

    The head that LDAM is meant for (Cao et al. 2019, arXiv 1906.07413). With scale 1 probabilities
    are flat until a temperature is chosen on validation data; decisions are the same.

    Args:
        in_channels: D. Injected by the parent.
        num_classes: K. Injected by the parent.
        scale: factor of the cosines.
    Shape: (B, D) -> (B, K).
    Raises:
        ValueError: a scale that is not above 0.
    """

    def __init__(self, in_channels: int, num_classes: int, scale: PositiveFloat = 1.0) -> None:
        super().__init__()
        if not 0 < scale < float('inf'):
            raise ValueError(f'scale must be above 0, found {scale}')
        self.scale = scale
        self.directions = nn.Parameter(torch.empty(num_classes, in_channels))
        nn.init.normal_(self.directions)

    def forward(self, features: Tensor) -> Tensor:
        directions = F.normalize(self.directions, dim=1)  # (K, D)
        return self.scale * F.linear(F.normalize(features, dim=1), directions)  # (B, K)
