"""Heads: from a vector to the logits of a task."""

from __future__ import annotations

from torch import Tensor, nn

from toolkit.interfaces import Head
from toolkit.registry import HEADS


@HEADS.register
class LinearHead(Head):
    """One linear layer, after dropout.

    Args:
        in_channels: D. Wired by the parent.
        num_classes: K. Wired by the parent.
        dropout: share of the features dropped in training, in [0, 1).
    Shape: (B, D) -> (B, K).
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), found {dropout}')
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_channels, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(self.dropout(features))  # (B, K)


@HEADS.register
class MLPHead(Head):
    """A hidden layer: linear, layer norm, GELU, dropout, linear.

    Args:
        in_channels: D. Wired by the parent.
        num_classes: K. Wired by the parent.
        width: of the hidden layer.
        dropout: share of the hidden features dropped in training, in [0, 1).
    Shape: (B, D) -> (B, K).
    """

    def __init__(
        self, in_channels: int, num_classes: int, width: int = 512, dropout: float = 0.0
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
