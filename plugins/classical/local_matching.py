"""Methods of the Orfeo ToolBox that look at a small window alone: RCS and LMVM."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from plugins.classical.high_pass import sum_boxes
from plugins.classical.numerics.statistics import divide
from plugins.pansharpening.interfaces import GENERATORS, Generator
from toolkit.ranges import PositiveInt

# Variance of a window, by its squared mean, that is but rounding.
ROUNDING = 1e-12


class WindowMethod(Generator):
    """A method that looks at windows of 2 radius + 1 pixels a side.

    Args:
        radius: PAN pixels from the centre of a window to its border.
    """

    stride = 1

    def __init__(self, radius: PositiveInt) -> None:
        super().__init__()
        if radius < 1:
            raise ValueError(f'radius must be at least 1, found {radius}')
        self.radius = self.halo = radius

    def _average(self, image: Tensor) -> Tensor:
        """Averages windows; the border is replicated: (B, C, H, W) -> (B, C, H, W)."""
        wide = F.pad(image, (self.radius,) * 4, mode='replicate')
        return sum_boxes(wide, self.radius) / (2 * self.radius + 1) ** 2


@GENERATORS.register(name='RCS')
class RCS(WindowMethod):
    """Ratio component substitution: E_k P / mean(P), in windows of 19 x 19 pixels.

    Where the mean of the PAN is zero, the pixel is not changed.

    Args:
        radius: PAN pixels from the centre of a window to its border; OTB's default.
    Source: Orfeo ToolBox, application Pansharpening, method `rcs`.
    """

    unit_range = True

    def __init__(self, radius: PositiveInt = 9) -> None:
        super().__init__(radius)

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        return lrms_up * divide(pan, self._average(pan), otherwise=1.0)  # (B, C, H, W)


@GENERATORS.register(name='LMVM')
class LMVM(WindowMethod):
    """Local mean and variance matching: mean(E_k) + (P - mean(P)) std(E_k) / std(P).

    In windows of 7 x 7 pixels.
    Where the PAN is constant in a window, the result is the mean of the band there.

    Args:
        radius: PAN pixels from the centre of a window to its border; OTB's default.
    Source: de Bethune, Muller and Donnay, "Fusion of multispectral and panchromatic images by local
        mean and variance matching filtering techniques", Fusion of Earth Data, 1998; Orfeo ToolBox,
        application Pansharpening, method `lmvm`, whose LmvmPanSharpeningFusionImageFilter has this
        formula, the window of radius 3, replicated borders and the rule for a constant PAN.
    """

    def __init__(self, radius: PositiveInt = 3) -> None:
        super().__init__(radius)

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        # In float64: a variance is the small difference of large numbers.
        e_mean, e_std = self._measure(lrms_up.double())  # (B, C, H, W)
        p_mean, p_std = self._measure(pan.double())  # (B, 1, H, W)
        detail = divide(pan.double() - p_mean, p_std)
        return (e_mean + detail * e_std).to(lrms_up.dtype)

    def _measure(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and standard deviation of the window around each pixel."""
        mean = self._average(image)
        variance = self._average(image.square()) - mean.square()
        varies = variance > ROUNDING * mean.square()
        # The gradient of a root is infinite at 0.
        return mean, variance.where(varies, 1).sqrt().where(varies, 0 * variance)
