"""A network whose details pass a guided filter."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from plugins.fusion_cnns.modulated import Modulated
from plugins.pansharpening.imaging.autocast import full, without_autocast
from plugins.pansharpening.imaging.window_means import average_windows
from plugins.pansharpening.interfaces import GENERATORS, Generator
from toolkit.ranges import Gt, PositiveInt
from toolkit.registry import Slot


@GENERATORS.register
class GuidedDetail(Generator):
    """Filters the details that a network injects, guided by the PAN.

    With the details D of the network, its result less the upsampled image, the result is E +
    guided(D, P): in each window D is replaced by its regression on P, a P + b with a = cov(P, D) /
    (var(P) + epsilon), and each pixel takes the mean of a and of b over the windows around it. So
    only details that follow the PAN are left, and grain of single bands is not.

    Args:
        network: makes the details; null for `Modulated`, modulation alone.
        radius: PAN pixels from the centre of a window to its border.
        epsilon: variance of the PAN, of images in [0, 1], below which details are smoothed.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> hrms (B, C, H, W).
    Raises:
        ValueError: a radius below 1, no positive epsilon, or a network that needs the whole image.
    Source: He, Sun and Tang, "Guided image filtering", IEEE TPAMI 35(6), 2013.
    """

    def __init__(
        self,
        bands: int,
        ratio: int,
        network: Slot[Generator] | None = None,
        radius: PositiveInt = 2,
        epsilon: Annotated[float, Gt(0)] = 1e-5,
    ) -> None:
        super().__init__()
        if radius < 1 or not epsilon > 0:
            raise ValueError(
                f'radius must be at least 1 and epsilon above 0, found {radius} and {epsilon}'
            )
        self.network = (network or Modulated)(bands=bands, ratio=ratio)
        if self.network.halo == 'global':
            raise ValueError(
                f'{type(self.network).__name__} needs the whole image; network must be a generator '
                'that works on windows'
            )
        self.size, self.epsilon = 2 * radius + 1, epsilon
        self.halo = self.network.halo + 2 * radius
        self.stride = self.network.stride
        self.unit_range = self.network.unit_range

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        detail = self.network(lrms_up, pan) - lrms_up  # (B, C, H, W)
        with without_autocast(detail):
            return lrms_up + self._filter(full(detail), full(pan))  # (B, C, H, W)

    def _filter(self, detail: Tensor, pan: Tensor) -> Tensor:
        mean, mean_pan = average_windows(detail, self.size), average_windows(pan, self.size)
        variance = average_windows(pan.square(), self.size) - mean_pan.square()  # (B, 1, H, W)
        covariance = average_windows(pan * detail, self.size) - mean_pan * mean  # (B, C, H, W)
        slope = covariance / (variance.clamp(min=0) + self.epsilon)
        constant = mean - slope * mean_pan
        both = average_windows(torch.cat([slope, constant], 1), self.size)
        slope, constant = both.chunk(2, 1)
        return slope * pan + constant
