"""Channel attention, spatial attention and their cascade."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from toolkit.interfaces import Attention, features_to_map, map_to_features
from toolkit.ranges import OddInt, PositiveInt
from toolkit.registry import ATTENTIONS, Slot

Order = Literal['channel-first', 'spatial-first', 'parallel']


@ATTENTIONS.register
class ChannelAttention(Attention):
    """Channel attention from the means and maxima over all positions.

    Computes F sigmoid(W2 relu(W1 avg F) + W2 relu(W1 max F)). For a vector, mean and maximum are
    the vector itself.

    Args:
        in_channels: C. Injected by the parent.
        reduction: the hidden layer has C / reduction units, at least one.
        prefix_tokens: number of tokens before the patch tokens; they do not change. Injected by the
            parent.
    Shape: (B, C, h, w), (B, N, C) or (B, C) -> the same.
    Raises:
        ValueError: reduction is below 1.
    Source: Woo et al. 2018, CBAM, arXiv 1807.06521, eq. 2.
    """

    def __init__(
        self, in_channels: int, reduction: PositiveInt = 16, prefix_tokens: int = 0
    ) -> None:
        super().__init__()
        if reduction < 1:
            raise ValueError(f'reduction must be at least 1, found {reduction}')
        self.prefix_tokens = prefix_tokens
        hidden = max(in_channels // reduction, 1)
        self.mlp = nn.Sequential(
            nn.Linear(in_channels, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, in_channels, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        grid = features_to_map(features, self.prefix_tokens)  # (B, C, h, w)
        refined = grid * self._gate(grid)[..., None, None]
        return map_to_features(refined, features, self.prefix_tokens)

    def maps(self, features: Tensor) -> dict[str, Tensor]:
        """Returns the gates `channel` (B, C), in [0, 1]."""
        return {'channel': self._gate(features_to_map(features, self.prefix_tokens))}

    def _gate(self, grid: Tensor) -> Tensor:
        flat = grid.flatten(2)  # (B, C, h w)
        return torch.sigmoid(self.mlp(flat.mean(-1)) + self.mlp(flat.amax(-1)))  # (B, C)


@ATTENTIONS.register
class SpatialAttention(Attention):
    """Spatial attention from the mean and the maximum over channels.

    Computes F sigmoid(conv[mean F; max F]). A vector has a single position, so it gets one gate for
    the whole image.

    Args:
        kernel: kernel size of the convolution, odd.
        prefix_tokens: number of tokens before the patch tokens; they do not change. Injected by the
            parent.
    Shape: (B, C, h, w), (B, N, C) with a square number N of patch tokens, or (B, C) -> the same.
    Raises:
        ValueError: kernel is even.
    Source: Woo et al. 2018, CBAM, arXiv 1807.06521, eq. 3.
    """

    def __init__(self, kernel: OddInt = 7, prefix_tokens: int = 0) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f'kernel must be odd, found {kernel}')
        self.prefix_tokens = prefix_tokens
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        grid = features_to_map(features, self.prefix_tokens)  # (B, C, h, w)
        return map_to_features(grid * self._gate(grid), features, self.prefix_tokens)

    def maps(self, features: Tensor) -> dict[str, Tensor]:
        """Returns the gates `spatial` (B, 1, h, w), in [0, 1]."""
        return {'spatial': self._gate(features_to_map(features, self.prefix_tokens))}

    def _gate(self, grid: Tensor) -> Tensor:
        summary = torch.cat([grid.mean(1, True), grid.amax(1, True)], 1)  # (B, 2, h, w)
        return torch.sigmoid(self.conv(summary))  # (B, 1, h, w)


@ATTENTIONS.register
class CascadedAttention(Attention):
    """Channel and spatial attention in sequence or in parallel.

    Args:
        in_channels: C. Injected by the parent.
        channel: attention over channels; None for no channel attention.
        spatial: attention over positions; None for no spatial attention.
        order: 'channel-first' as in the paper, 'spatial-first' for the reverse order; 'parallel'
            applies both to the input and averages the results.
        residual: add the input features.
        prefix_tokens: number of tokens before the patch tokens. Injected by the parent.
    Shape: (B, C, h, w), (B, N, C) or (B, C) -> the same, if both attentions accept it.
    Raises:
        ValueError: neither channel nor spatial is set, or order is unknown.
    """

    def __init__(
        self,
        in_channels: int,
        channel: Slot[Attention] | None = None,
        spatial: Slot[Attention] | None = None,
        order: Order = 'channel-first',
        residual: bool = False,
        prefix_tokens: int = 0,
    ) -> None:
        super().__init__()
        if order not in ('channel-first', 'spatial-first', 'parallel'):
            raise ValueError(
                f'order must be channel-first, spatial-first or parallel, found {order!r}'
            )
        slots = {'channel': channel, 'spatial': spatial}
        names = ('spatial', 'channel') if order == 'spatial-first' else ('channel', 'spatial')
        injected: dict[str, int] = {'in_channels': in_channels}
        if prefix_tokens:
            injected['prefix_tokens'] = prefix_tokens
        self.parts = nn.ModuleDict(
            {name: slot(**injected) for name in names if (slot := slots[name])}
        )
        if not self.parts:
            raise ValueError(
                'neither channel nor spatial is set; for no attention, set attention: null'
            )
        self.prefix_tokens = prefix_tokens
        self.parallel, self.residual = order == 'parallel', residual

    def forward(self, features: Tensor) -> Tensor:
        if self.parallel:
            refined = sum(part(features) for part in self.parts.values()) / len(self.parts)
        else:
            refined = features
            for part in self.parts.values():
                refined = part(refined)
        if not self.residual:
            return refined
        if features.ndim == 3 and self.prefix_tokens:
            prefix, patches = features.split(
                (self.prefix_tokens, refined.shape[1] - self.prefix_tokens), 1
            )
            return torch.cat([prefix, patches + refined[:, self.prefix_tokens :]], 1)
        return features + refined

    def maps(self, features: Tensor) -> dict[str, Tensor]:
        """Returns the maps of both attentions, each computed from its own input."""
        found = {}
        for name, part in self.parts.items():
            for key, weights in part.maps(features).items():
                found[key if key not in found else f'{name}_{key}'] = weights
            features = features if self.parallel else part(features)
        return found
