"""Indusion: details of the PAN that the induction scaling technique does not keep."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from plugins.classical.numerics.filters import decimate
from plugins.classical.numerics.named_moments import NamedMoments
from plugins.classical.numerics.statistics import divide
from plugins.pansharpening.imaging.block_filters import SeparableFilter
from plugins.pansharpening.imaging.lazy_image import Border, LazyImage
from plugins.pansharpening.imaging.resample import polyphase
from plugins.pansharpening.imaging.streaming_statistics import Moments
from plugins.pansharpening.imaging.two_pass_generator import TwoPassGenerator
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.window import Window

# The low-pass filters of the biorthogonal wavelet 9/7 (Antonini et al., "Image coding using wavelet
# transform", IEEE TIP 1(2), 1992), from the centre out: of the analysis with a sum of 1, and of the
# synthesis with a sum of 2.
ANALYSIS = (0.602949018236, 0.266864118443, -0.078223266529, -0.016864118443, 0.026748757411)
SYNTHESIS = (1.115087052452, 0.591271763114, -0.057543526228, -0.091271763114)
# MS pixels around a pixel that its interpolation looks at.
REACH = 8


@GENERATORS.register(name='Indusion')
class Indusion(TwoPassGenerator):
    """E_k + P_k - up(P'_k), with both PANs matched to the band's mean and deviation at their scale.

    The PAN is reduced by the analysis filter of the wavelet 9/7, octave by octave, to P'; E_k, the
    band, and P' are enlarged by its synthesis filter, not by the system's upsampling. P' lies where
    the samples of the bands do. In the toolbox, and with `border: wrap` here, it lies a PAN pixel
    higher and farther left at ratio 4.

    Args:
        ratio: PAN pixels per multispectral pixel, a power of two. Injected by the parent.
    Raises:
        ValueError: the ratio is not a power of two.
    Source: Khan, Chanussot, Condat and Montanvert, "Indusion: fusion of multispectral and
        panchromatic images using the induction scaling technique", IEEE GRSL 5(1), 2008; filters
        and match as in the toolbox of Vivone et al., IEEE TGRS 53(5), 2015.
    """

    margin = 64

    def __init__(self, bands: int, ratio: int) -> None:
        super().__init__(bands, ratio)
        if ratio > 1:
            polyphase(ratio)  # raises an error for ratios that are not a power of two
        self.octaves = round(math.log2(ratio))

    def measure(self, lrms_up: LazyImage, pan: LazyImage, window: Window) -> dict[str, Tensor]:
        low, (ms, reduced) = window.reduced(self.ratio), self._reduce(lrms_up, pan)
        return {
            'low': torch.cat([ms.read(low), reduced.read(low)], 1),
            'full': torch.cat([self._enlarge(ms).read(window), pan.read(window)], 1),
        }

    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        statistics = {}
        for name, suffix in (('full', ''), ('low', '_low')):
            found = NamedMoments(moments[name], E=self.bands, P=1)
            scale = divide(found.deviation('E'), found.deviation('P'))  # (B, C, 1, 1)
            statistics[f'scale{suffix}'] = scale
            statistics[f'offset{suffix}'] = found.mean('E') - scale * found.mean('P')
        return statistics

    def fuse(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        e, low = (self._enlarge(image).read(window) for image in self._reduce(lrms_up, pan))
        sharp = statistics['scale'] * pan.read(window) + statistics['offset']  # (B, C, h, w)
        return e + sharp - (statistics['scale_low'] * low + statistics['offset_low'])

    def _reduce(self, lrms_up: LazyImage, pan: LazyImage) -> tuple[LazyImage, LazyImage]:
        """Returns the bands and the PAN at the scale of the bands, for the current area."""
        ratio, border = self.ratio, pan.border

        def sample(image: LazyImage) -> LazyImage:
            def read(window: Window) -> Tensor:
                return decimate(image.read(window.enlarged(ratio)), ratio)

            shape = (image.shape[0] // ratio, image.shape[1] // ratio)
            return LazyImage(shape, read, border=border).kept(image.area.reduced(ratio), REACH)

        def reduce(image: LazyImage) -> LazyImage:
            low = image
            for octave in range(self.octaves):
                # The sample in the middle of ratio pixels; the toolbox takes its second pixel.
                first = 0 if border == 'wrap' else self.octaves - 1
                low = _reducer(int(octave == first)).of(low)
            low = LazyImage(low.shape, low.read, border=border)
            return low.kept(image.area.reduced(ratio), REACH)

        return (
            lrms_up.derived(('samples', ratio), sample),
            pan.derived(('analysis', ratio), reduce),
        )

    def _enlarge(self, image: LazyImage) -> LazyImage:
        border = image.border
        for octave in range(self.octaves):
            image = _enlarger(octave == 0, border).of(image)
        return image


@functools.cache
def _reducer(start: int) -> SeparableFilter:
    """Returns the filter that halves an image; its samples begin at pixel `start`."""
    kernel = np.array([*ANALYSIS[:0:-1], *ANALYSIS])
    return SeparableFilter(kernel[None], 2, start - len(ANALYSIS) + 1, 'replicate')


@functools.cache
def _enlarger(is_first: bool, border: Border) -> SeparableFilter:
    """Returns the filter that doubles an image; samples go to odd pixels first, then to even ones.

    So sample i of an image that is enlarged by the ratio lies at ratio i + ratio / 2.
    """
    even, odd = SYNTHESIS[::2], SYNTHESIS[1::2]
    at_samples, between = [even[1], even[0], even[1]], [odd[1], odd[0], odd[0], odd[1]]
    phases = [between, [0.0, *at_samples]] if is_first else [[*at_samples, 0.0], between]
    return SeparableFilter(np.array(phases), 1, -2 if is_first else -1, border)
