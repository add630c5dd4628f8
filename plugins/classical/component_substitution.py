"""Component substitution: the PAN replaces an intensity computed from the bands.

`lrms_up` is E with bands E_k, I an intensity computed from them, P the PAN. Notation of Vivone et
al., "A Critical Comparison Among Pansharpening Algorithms", IEEE TGRS 53(5), 2015.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from plugins.classical.numerics.filters import decimate, lowpass, smooth_and_decimate
from plugins.classical.numerics.modulation import (
    is_damped,
    modulate,
    regress_band,
    solve_damping,
)
from plugins.classical.numerics.named_moments import NamedMoments
from plugins.classical.numerics.statistics import combine, divide, regress
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.streaming_statistics import Images, Moments
from plugins.pansharpening.imaging.two_pass_generator import TwoPassGenerator
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.window import Window


class MatchedSubstitution(TwoPassGenerator):
    """Replaces an intensity w . E by the PAN matched to its mean and deviation, a P + b."""

    def measure(self, lrms_up: LazyImage, pan: LazyImage, window: Window) -> Mapping[str, Images]:
        return {'full': [lrms_up.read(window), pan.read(window)]}

    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        found = NamedMoments(moments['full'], E=self.bands, P=1)
        weights = self._compute_weights(found.matrix('E', 'E'))  # (B, C, 1)
        mean = combine(found.mean('E'), weights)  # (B, 1, 1, 1)
        with_intensity = found.matrix('E', 'E') @ weights  # (B, C, 1): cov(E_k, I)
        variance = weights.transpose(1, 2) @ with_intensity  # (B, 1, 1)
        scale = divide(variance.clamp(min=0).sqrt()[..., None], found.deviation('P'))
        regression = regress_band(
            with_intensity[..., None], variance[..., None], found.variance('E')
        )
        return {
            'weights': weights,
            'scale': scale,
            'offset': mean - scale * found.mean('P'),
            'gains': self._compute_gains(weights, divide(with_intensity, variance))[..., None],
            **solve_damping(*regression),
        }

    def fuse(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        e = lrms_up.read(window)  # (B, C, h, w)
        intensity = combine(e, statistics['weights'])  # (B, 1, h, w)
        matched = statistics['scale'] * pan.read(window) + statistics['offset']  # (B, 1, h, w)
        return self._inject(e, matched, intensity, statistics, is_damped(pan.border))

    def _compute_weights(self, covariance: Tensor) -> Tensor:
        """Computes w: (B, C, C) -> (B, C, 1); by default the mean of the bands."""
        return torch.full_like(covariance[:, :, :1], 1 / self.bands)

    def _compute_gains(self, weights: Tensor, regression: Tensor) -> Tensor:
        """Computes the injection gains (B, C, 1) from w and the bands' regression on I."""
        return torch.ones_like(weights)

    def _inject(
        self,
        e: Tensor,
        pan: Tensor,
        intensity: Tensor,
        statistics: Mapping[str, Tensor],
        damped: bool,
    ) -> Tensor:
        return torch.addcmul(e, statistics['gains'], pan - intensity)  # (B, C, h, w)


@GENERATORS.register(name='Brovey')
class Brovey(MatchedSubstitution):
    """Brovey's transform: E_k (a P + b) / I with I the mean of the bands.

    Damped where I nears zero, by `numerics.modulation`.

    Source: Gillespie, Kahle and Walker, Remote Sensing of Environment 22(3), 1987.
    """

    def _inject(
        self,
        e: Tensor,
        pan: Tensor,
        intensity: Tensor,
        statistics: Mapping[str, Tensor],
        damped: bool,
    ) -> Tensor:
        return modulate(e, pan, intensity, statistics, damped)  # (B, C, h, w)


@GENERATORS.register(name='GIHS')
class GIHS(MatchedSubstitution):
    """Generalized IHS: E_k + (a P + b) - I with I the mean of any number of bands.

    Source: Tu et al., "A new look at IHS-like image fusion methods", Information Fusion 2(3), 2001.
    """


@GENERATORS.register(name='PCA')
class PCA(MatchedSubstitution):
    """The PAN replaces the first principal component of the bands.

    The sign of the component is chosen so that its weights have a positive sum.

    Source: Chavez and Kwarteng, PE&RS 55(3), 1989.
    """

    def _compute_weights(self, covariance: Tensor) -> Tensor:
        _, vectors = torch.linalg.eigh(covariance)
        first = vectors[:, :, -1:]  # (B, C, 1), of the largest eigenvalue
        return torch.where(first.sum(1, keepdim=True) < 0, -first, first)

    def _compute_gains(self, weights: Tensor, regression: Tensor) -> Tensor:
        return weights


@GENERATORS.register(name='GS')
class GS(MatchedSubstitution):
    """Gram-Schmidt: E_k + g_k (a P + b - I), g_k = cov(E_k, I) / var(I), I the mean of the bands.

    Source: Laben and Brower, US patent 6011875, 2000.
    """

    def _compute_gains(self, weights: Tensor, regression: Tensor) -> Tensor:
        return regression


@GENERATORS.register(name='GSA')
class GSA(TwoPassGenerator):
    """Gram-Schmidt adaptive: the intensity is the regression of the low-passed PAN on the bands.

    E_k + g_k (P - I), both centred, g_k = cov(E_k, I) / var(I). The regression is computed on the
    multispectral grid, with the PAN's B3-spline approximation.

    Source: Aiazzi, Baronti and Selva, "Improving component substitution pansharpening through
        multivariate regression of MS+Pan data", IEEE TGRS 45(10), 2007.
    """

    margin = 64

    def measure(self, lrms_up: LazyImage, pan: LazyImage, window: Window) -> Mapping[str, Images]:
        e = lrms_up.read(window)
        low = [decimate(e, self.ratio), smooth_and_decimate(pan, window, self.ratio)]
        return {'low': low, 'full': [e, pan.read(window)]}

    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        low = NamedMoments(moments['low'], E=self.bands, P=1)
        full = NamedMoments(moments['full'], E=self.bands, P=1)
        weights, _ = low.regression('E', 'P')  # (B, C, 1)
        with_intensity = full.matrix('E', 'E') @ weights  # (B, C, 1): cov(E_k, I)
        variance = weights.transpose(1, 2) @ with_intensity  # (B, 1, 1)
        return {
            'weights': weights,
            'offset': full.mean('P') - combine(full.mean('E'), weights),
            'gains': divide(with_intensity, variance)[..., None],
        }

    def fuse(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        e = lrms_up.read(window)  # (B, C, h, w)
        intensity = combine(e, statistics['weights']) + statistics['offset']  # (B, 1, h, w)
        detail = pan.read(window) - intensity
        return torch.addcmul(e, statistics['gains'], detail)  # (B, C, h, w)


@GENERATORS.register(name='BT-H')
class BTH(TwoPassGenerator):
    """Brovey's transform with haze correction.

    h_k + max(E_k - h_k, 0) (a P + b - H) / (I - H). The intensity I = w . E is the regression of
    the low-passed PAN on the bands, H = w . h is the intensity of the haze h (see `estimate_haze`),
    and the PAN is matched to I by the statistics of the low-passed PAN. Damped where I - H nears
    zero, by `numerics.modulation`.

    Source: Lolli et al., "Haze correction for contrast-based multispectral pansharpening", IEEE
        GRSL 14(12), 2017.
    """

    margin = 64

    def __init__(self, bands: int, ratio: int) -> None:
        super().__init__(bands, ratio)
        self.percentile = get_haze_percentile(bands)

    def measure(self, lrms_up: LazyImage, pan: LazyImage, window: Window) -> Mapping[str, Images]:
        return {'full': [lrms_up.read(window), lowpass(pan, window, self.ratio)]}

    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        found = NamedMoments(moments['full'], E=self.bands, low=1)
        weights = regress(found.raw('E', 'E'), found.raw('E', 'low'))  # (B, C, 1)
        with_intensity = found.matrix('E', 'E') @ weights  # (B, C, 1): cov(E_k, I)
        variance = weights.transpose(1, 2) @ with_intensity  # (B, 1, 1)
        scale = divide(variance.clamp(min=0).sqrt()[..., None], found.deviation('low'))
        regression = regress_band(
            with_intensity[..., None], variance[..., None], found.variance('E')
        )
        dark = estimate_haze(percentile)  # (B, C, 1, 1)
        pan_dark = combine(dark, weights)  # (B, 1, 1, 1)
        mean = combine(found.mean('E'), weights)  # (B, 1, 1, 1)
        return {
            'weights': weights,
            'haze': dark,
            'pan_haze': pan_dark,
            'scale': scale,
            'offset': mean - scale * found.mean('low') - pan_dark,
            **solve_damping(*regression),
        }

    def fuse(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        e, dark = lrms_up.read(window), statistics['haze']
        clear = combine(e, statistics['weights']) - statistics['pan_haze']  # (B, 1, h, w)
        sharp = statistics['scale'] * pan.read(window) + statistics['offset']  # (B, 1, h, w)
        bright = (e - dark).clamp(min=0)
        return dark + modulate(bright, sharp, clear, statistics, is_damped(pan.border))


def get_haze_percentile(bands: int) -> float:
    """Returns the percentile of the bands for `estimate_haze`: the first for four bands, else 0."""
    return 1.0 if bands == 4 else 0.0


def estimate_haze(percentile: Tensor | None) -> Tensor:
    """Estimates the path radiance of each band from its darkest pixels.

    For four bands (blue, green, red, near infrared, in this order) .95, .45, .40 and .05 of their
    first percentiles, after atmospheric models; for other images the bands' minima.

    Shape: (B, C), see `get_haze_percentile` -> (B, C, 1, 1).
    Source: Lolli et al., 2017, and the toolbox's shares for four bands.
    """
    assert percentile is not None
    if percentile.shape[1] == 4:
        percentile = percentile * percentile.new_tensor([0.95, 0.45, 0.40, 0.05])
    return percentile[..., None, None]
