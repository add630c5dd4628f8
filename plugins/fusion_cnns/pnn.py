"""PNN: pansharpening by three convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from plugins.pansharpening.interfaces import GENERATORS, Generator
from toolkit.ranges import OddInt, PositiveInt


@GENERATORS.register
class PNN(Generator):
    """PNN: three convolutions over the upsampled image and the PAN.

    The published convolutions have no padding, so that the image loses a border. Here they have
    zero padding, so that the image keeps its size.

    Args:
        widths: channels after the first and the second convolution.
        kernel_sizes: sides of the three kernels in PAN pixels, odd.
    Raises:
        ValueError: an even kernel size, or a width below 1.
    Source: Masi et al., "Pansharpening by Convolutional Neural Networks", Remote Sensing 8(7):594,
        2016.
    """

    def __init__(
        self,
        bands: int,
        widths: tuple[PositiveInt, PositiveInt] = (64, 32),
        kernel_sizes: tuple[OddInt, OddInt, OddInt] = (9, 5, 5),
    ) -> None:
        super().__init__()
        if min(widths) < 1:
            raise ValueError(f'widths must be at least 1, found {list(widths)}')
        if any(size < 1 or size % 2 == 0 for size in kernel_sizes):
            raise ValueError(f'kernel_sizes must be odd and positive, found {list(kernel_sizes)}')
        first, second, third = (
            nn.Conv2d(before, after, size, padding=size // 2)
            for before, after, size in zip((bands + 1, *widths), (*widths, bands), kernel_sizes)
        )
        self.layers = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)
        self.halo = sum(size // 2 for size in kernel_sizes)

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        return self.layers(torch.cat([lrms_up, pan], 1))  # (B, C, H, W)
