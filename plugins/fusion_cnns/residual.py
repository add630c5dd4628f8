"""PanNet and FusionNet: residual networks that add details to the upsampled image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plugins.pansharpening.interfaces import GENERATORS, Generator
from toolkit.ranges import PositiveInt


class DetailNet(nn.Module):
    """Predicts details: a convolution, residual blocks of two convolutions each, a convolution.

    Args:
        in_channels: of the input.
        bands: C of the details.
        width: hidden channels.
        blocks: number of residual blocks.
    Shape: (B, in_channels, H, W) -> (B, C, H, W).
    Raises:
        ValueError: a width below 1, or fewer than 0 blocks.
    """

    def __init__(self, in_channels: int, bands: int, width: int, blocks: int) -> None:
        super().__init__()
        if width < 1 or blocks < 0:
            raise ValueError(
                f'width must be at least 1 and blocks at least 0, found {width} and {blocks}'
            )
        self.head = nn.Conv2d(in_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.tail = nn.Conv2d(width, bands, 3, padding=1)
        self.radius = 2 + 2 * blocks

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.head(x))  # (B, m, H, W)
        for block in self.blocks:
            x = F.relu(x + block(x))  # (B, m, H, W)
        return self.tail(x)  # (B, C, H, W)


@GENERATORS.register
class PanNet(Generator):
    """PanNet: adds details to the upsampled image, predicted from high frequencies alone.

    Since the network does not see low frequencies, it generalizes better to other sensors and
    places. High frequencies are the difference from a box mean of 5 pixels. For the upsampled
    image the box covers 5 multispectral pixels.

    Args:
        width: hidden channels.
        blocks: number of residual blocks.
    Raises:
        ValueError: a width below 1, or fewer than 0 blocks.
    Source: Yang et al., "PanNet: A Deep Network Architecture for Pan-Sharpening", ICCV 2017.
    """

    def __init__(
        self, bands: int, ratio: int, width: PositiveInt = 32, blocks: PositiveInt = 4
    ) -> None:
        super().__init__()
        self.details = DetailNet(bands + 1, bands, width, blocks)
        self.box = 5 * ratio + (5 * ratio + 1) % 2  # odd, so that it has a centre
        self.halo = self.details.radius + max(self.box // 2, 2)

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        high = torch.cat([high_pass(lrms_up, self.box), high_pass(pan, 5)], 1)  # (B, C + 1, H, W)
        return lrms_up + self.details(high)  # (B, C, H, W)


@GENERATORS.register
class FusionNet(Generator):
    """FusionNet: adds details, predicted from PAN minus each band, to the upsampled image.

    Args:
        width: hidden channels.
        blocks: number of residual blocks.
    Raises:
        ValueError: a width below 1, or fewer than 0 blocks.
    Source: Deng et al., "Detail Injection-Based Deep Convolutional Neural Networks for
        Pansharpening", IEEE TGRS 59(8), 2021.
    """

    def __init__(self, bands: int, width: PositiveInt = 32, blocks: PositiveInt = 4) -> None:
        super().__init__()
        self.details = DetailNet(bands, bands, width, blocks)
        self.halo = self.details.radius

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        return lrms_up + self.details(pan - lrms_up)  # (B, C, H, W)


def high_pass(image: Tensor, size: int) -> Tensor:
    """Subtracts from an image its mean over a square of odd `size`, cropped at borders."""
    mean = F.avg_pool2d(image, size, stride=1, padding=size // 2, count_include_pad=False)
    return image - mean  # (B, C, H, W)
