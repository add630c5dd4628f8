"""Additive and multiplicative injection of the details that a box or wavelet filter leaves.

The PAN P is matched to the mean and deviation of each band E_k: P_k = s_k P + o_k, without a low
pass before the match, as in the toolbox.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from plugins.classical.numerics.filters import smooth
from plugins.classical.numerics.modulation import (
    is_damped,
    modulate,
    regress_band,
    solve_damping,
)
from plugins.classical.numerics.named_moments import NamedMoments
from plugins.classical.numerics.statistics import divide
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.streaming_statistics import Images, Moments
from plugins.pansharpening.imaging.two_pass_generator import TwoPassGenerator
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.window import Window


class HighPass(TwoPassGenerator):
    """Injects details of the PAN matched to each band; its low pass is a box of ratio + 1 pixels.

    For odd ratios the box has ratio pixels, so that it has a centre.
    """

    margin = 32

    def measure(self, lrms_up: LazyImage, pan: LazyImage, window: Window) -> Mapping[str, Images]:
        low = self._lowpass(pan, window)
        return {'full': [lrms_up.read(window), pan.read(window), low]}

    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        found = NamedMoments(moments['full'], E=self.bands, P=1, low=1)
        scale = divide(found.deviation('E'), found.deviation('P'))  # (B, C, 1, 1)
        slope, rest = regress_band(
            scale * found.covariance('E', 'low'),
            scale.square() * found.variance('low'),
            found.variance('E'),
        )
        offset = found.mean('E') - scale * found.mean('P')
        return {'scale': scale, 'offset': offset, **solve_damping(slope, rest)}

    def fuse(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        low = self._lowpass(pan, window)  # (B, 1, h, w)
        damped = is_damped(pan.border)
        return self._inject(lrms_up.read(window), pan.read(window), low, statistics, damped)

    def _lowpass(self, pan: LazyImage, window: Window) -> Tensor:
        return average_box(pan, window, self.ratio // 2)

    def _inject(
        self, e: Tensor, pan: Tensor, low: Tensor, statistics: Mapping[str, Tensor], damped: bool
    ) -> Tensor:
        return e + statistics['scale'] * (pan - low)  # (B, C, h, w)


@GENERATORS.register(name='HPF')
class HPF(HighPass):
    """High-pass filtering: E_k + P_k - box(P_k), with a box of 5 x 5 pixels at ratio 4.

    Source: Chavez, Sides and Anderson, "Comparison of three different methods to merge
        multiresolution and multispectral data", PE&RS 57(3), 1991; box and match as in the toolbox
        of Vivone et al., IEEE TGRS 53(5), 2015.
    """


@GENERATORS.register(name='SFIM')
class SFIM(HighPass):
    """Smoothing filter-based intensity modulation: E_k P_k / box(P_k), 5 x 5 pixels at ratio 4.

    Damped where the divisor nears zero, by `numerics.modulation`.

    Source: Liu, "Smoothing filter-based intensity modulation: a spectral preserve image fusion
        technique for improving spatial details", IJRS 21(18), 2000; box and match as for `HPF`.
    """

    def _inject(
        self, e: Tensor, pan: Tensor, low: Tensor, statistics: Mapping[str, Tensor], damped: bool
    ) -> Tensor:
        scale, offset = statistics['scale'], statistics['offset']
        return modulate(e, scale * pan + offset, scale * low + offset, statistics, damped)


@GENERATORS.register(name='ATWT')
class ATWT(HighPass):
    """Undecimated wavelet with additive injection: E_k + P_k - smooth(P_k).

    smooth is the low-pass approximation of `filters.smooth`.

    Source: Nunez et al., "Multiresolution-based image fusion with additive wavelet decomposition",
        IEEE TGRS 37(3), 1999; match as in the toolbox of Vivone et al., 2015.
    """

    def _lowpass(self, pan: LazyImage, window: Window) -> Tensor:
        return smooth(pan, window, self.ratio)


def average_box(pan: LazyImage, window: Window, reach: int) -> Tensor:
    """Averages boxes of 2 reach + 1 pixels a side around each pixel; the border is replicated.

    Returns:
        (B, C, height, width) of the window.
    """
    image, inside = pan.around(window, reach)
    places = (range(-reach, extent + reach) for extent in image.shape[-2:])
    wide = LazyImage.of(image).continued(*places, 'replicate')
    return sum_boxes(wide, reach)[(..., *inside)] / (2 * reach + 1) ** 2


def sum_boxes(image: Tensor, reach: int) -> Tensor:
    """Sums boxes of 2 reach + 1 pixels a side: (B, C, H, W) -> (B, C, H - 2 reach, W - 2 reach).

    Term by term, so that a pixel has the same bits in any window.
    """
    for dim in (-2, -1):
        length = image.shape[dim] - 2 * reach
        total = image.narrow(dim, 0, length)
        for step in range(1, 2 * reach + 1):
            total = total + image.narrow(dim, step, length)
        image = total
    return image
