"""AWLP: details of an undecimated wavelet transform, in proportion to the bands."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from plugins.classical.numerics.filters import smooth
from plugins.classical.numerics.modulation import (
    estimate_gain,
    is_damped,
    regress_band,
    solve_damping,
)
from plugins.classical.numerics.named_moments import NamedMoments
from plugins.classical.numerics.statistics import divide
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.resample import imresized_by, imresized_to
from plugins.pansharpening.imaging.streaming_statistics import Images, Moments
from plugins.pansharpening.imaging.two_pass_generator import TwoPassGenerator
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.window import Window


@GENERATORS.register(name='AWLP')
class AWLP(TwoPassGenerator):
    """Additive wavelet luminance proportional: E_k + E_k / I a_k (P - smooth(P)).

    I is the mean of the bands, smooth(P) the low-pass approximation of the PAN by
    `filters.smooth`, and a_k matches the PAN, reduced and enlarged by `imresize`, to the deviation
    of E_k. E_k / I is damped where I nears zero, by `numerics.modulation`.

    Source: Otazu et al., "Introduction of sensor spectral response into image fusion methods.
        Application to wavelet-based methods", IEEE TGRS 43(10), 2005; with a match per band, Vivone
        et al., "Fast reproducible pansharpening based on instrument and acquisition modeling: AWLP
        revisited", Remote Sensing 11(19), 2019.
    """

    margin = 32

    def measure(self, lrms_up: LazyImage, pan: LazyImage, window: Window) -> Mapping[str, Images]:
        low = imresized_to(imresized_by(pan, self.ratio), self.ratio)
        return {'full': [lrms_up.read(window), low.read(window)]}

    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        found = NamedMoments(moments['full'], E=self.bands, low=1)
        with_intensity = found.matrix('E', 'E').mean(2)[..., None, None]  # cov(E_k, I)
        regression = regress_band(
            with_intensity, with_intensity.mean(1, keepdim=True), found.variance('E')
        )
        return {
            'gains': divide(found.deviation('E'), found.deviation('low')),  # (B, C, 1, 1)
            **solve_damping(*regression),
        }

    def fuse(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        e = lrms_up.read(window)  # (B, C, h, w)
        detail = pan.read(window) - smooth(pan, window, self.ratio)  # (B, 1, h, w)
        total = e[:, :1]
        for k in range(1, self.bands):  # band by band, for the same bits in any window
            total = total + e[:, k : k + 1]
        intensity = total / self.bands  # (B, 1, h, w)
        if is_damped(pan.border):
            share = estimate_gain(e, intensity, statistics)  # (B, C, h, w)
        else:
            share = divide(e, intensity)
        return e + share * statistics['gains'] * detail  # (B, C, h, w)
