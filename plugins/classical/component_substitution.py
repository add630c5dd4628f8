"""Component substitution: an intensity made of the bands gives way to the PAN.

`lrms_up` is E with bands E_k, I an intensity made of them, P the PAN. Notation of Vivone et al., "A
Critical Comparison Among Pansharpening Algorithms", IEEE TGRS 53(5), 2015.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from plugins.classical.filters import decimate, lowpass, smooth
from plugins.classical.method import ClassicalMethod
from plugins.classical.statistics import (
    combine,
    covariance,
    deviation,
    divide,
    mean,
    regress,
    smallest,
    with_ones,
)
from toolkit.registry import GENERATORS


class MatchedSubstitution(ClassicalMethod):
    """Substitution for an intensity w . E by a PAN brought to its mean and deviation, a P + b."""

    def _statistics(self, lrms_up: Tensor, pan: Tensor) -> dict[str, Tensor]:
        weights = self._weights(lrms_up)  # (B, C, 1)
        intensity = combine(lrms_up, weights)  # (B, 1, H, W)
        scale = divide(deviation(intensity), deviation(pan))
        return {
            'weights': weights,
            'scale': scale,
            'offset': mean(intensity) - scale * mean(pan),
            'gains': self._gains(lrms_up, intensity, weights),
        }

    def _fuse(self, lrms_up: Tensor, pan: Tensor, statistics: Mapping[str, Tensor]) -> Tensor:
        intensity = combine(lrms_up, statistics['weights'])  # (B, 1, H, W)
        matched = statistics['scale'] * pan + statistics['offset']  # (B, 1, H, W)
        return self._inject(lrms_up, matched, intensity, statistics['gains'])

    def _weights(self, lrms_up: Tensor) -> Tensor:
        """(B, C, 1); the mean of the bands where a method has no other."""
        batch, bands = lrms_up.shape[:2]
        return lrms_up.new_full((batch, bands, 1), 1 / bands)

    def _gains(self, lrms_up: Tensor, intensity: Tensor, weights: Tensor) -> Tensor:
        return torch.ones_like(lrms_up[:, :, :1, :1])

    def _inject(self, lrms_up: Tensor, pan: Tensor, intensity: Tensor, gains: Tensor) -> Tensor:
        return lrms_up + gains * (pan - intensity)  # (B, C, H, W)


@GENERATORS.register(name='Brovey')
class Brovey(MatchedSubstitution):
    """Brovey's transform: E_k (a P + b) / I with I the mean of the bands.

    Pixels whose bands are all zero stay zero.

    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Source: Gillespie, Kahle and Walker, Remote Sensing of Environment 22(3), 1987.
    """

    def _inject(self, lrms_up: Tensor, pan: Tensor, intensity: Tensor, gains: Tensor) -> Tensor:
        return lrms_up * divide(pan, intensity, otherwise=1.0)  # (B, C, H, W)


@GENERATORS.register(name='GIHS')
class GIHS(MatchedSubstitution):
    """Generalized IHS: E_k + (a P + b) - I with I the mean of any number of bands.

    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Source: Tu et al., "A new look at IHS-like image fusion methods", Information Fusion 2(3), 2001.
    """


@GENERATORS.register(name='PCA')
class PCA(MatchedSubstitution):
    """The first principal component of the bands gives way to the PAN.

    The component's sign is that in which its weights sum to a positive number.

    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Source: Chavez and Kwarteng, PE&RS 55(3), 1989.
    """

    def _weights(self, lrms_up: Tensor) -> Tensor:
        centred = (lrms_up - mean(lrms_up)).flatten(2)  # (B, C, H W)
        _, vectors = torch.linalg.eigh(centred @ centred.transpose(1, 2))
        first = vectors[:, :, -1:]  # (B, C, 1), of the largest eigenvalue
        return torch.where(first.sum(1, keepdim=True) < 0, -first, first)

    def _gains(self, lrms_up: Tensor, intensity: Tensor, weights: Tensor) -> Tensor:
        return weights[..., None]  # (B, C, 1, 1)


@GENERATORS.register(name='GS')
class GS(MatchedSubstitution):
    """Gram-Schmidt: E_k + g_k (a P + b - I), g_k = cov(E_k, I) / var(I), I the mean of the bands.

    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Source: Laben and Brower, US patent 6011875, 2000.
    """

    def _gains(self, lrms_up: Tensor, intensity: Tensor, weights: Tensor) -> Tensor:
        return divide(covariance(lrms_up, intensity), covariance(intensity, intensity))


@GENERATORS.register(name='GSA')
class GSA(ClassicalMethod):
    """Gram-Schmidt adaptive: the intensity is the regression of the low-passed PAN on the bands.

    E_k + g_k (P - I), both centred, g_k = cov(E_k, I) / var(I). The regression is made on the
    multispectral grid, with the PAN's B3-spline approximation there.

    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Source: Aiazzi, Baronti and Selva, "Improving component substitution pansharpening through
        multivariate regression of MS+Pan data", IEEE TGRS 45(10), 2007.
    """

    def _statistics(self, lrms_up: Tensor, pan: Tensor) -> dict[str, Tensor]:
        low = decimate(smooth(pan, self.ratio), self.ratio)  # (B, 1, h, w)
        weights = regress(with_ones(decimate(lrms_up, self.ratio)), low)[:, :-1]  # (B, C, 1)
        intensity = combine(lrms_up, weights)  # (B, 1, H, W)
        return {
            'weights': weights,
            'offset': mean(pan) - mean(intensity),
            'gains': divide(covariance(lrms_up, intensity), covariance(intensity, intensity)),
        }

    def _fuse(self, lrms_up: Tensor, pan: Tensor, statistics: Mapping[str, Tensor]) -> Tensor:
        intensity = combine(lrms_up, statistics['weights']) + statistics['offset']
        return lrms_up + statistics['gains'] * (pan - intensity)  # (B, C, H, W)


@GENERATORS.register(name='BT-H')
class BTH(ClassicalMethod):
    """Brovey's transform with haze correction.

    h_k + max(E_k - h_k, 0) (a P + b - H) / (I - H). The intensity I = w . E is the regression of
    the low-passed PAN on the bands, H = w . h that of the haze, and the PAN is matched to I by the
    statistics of its low-passed self. See `haze` for h.

    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Source: Lolli et al., "Haze correction for contrast-based multispectral pansharpening", IEEE
        GRSL 14(12), 2017.
    """

    def _statistics(self, lrms_up: Tensor, pan: Tensor) -> dict[str, Tensor]:
        low = lowpass(pan, self.ratio)  # (B, 1, H, W)
        weights = regress(lrms_up, low)  # (B, C, 1)
        intensity = combine(lrms_up, weights)  # (B, 1, H, W)
        scale = divide(deviation(intensity), deviation(low))
        dark = haze(lrms_up)  # (B, C, 1, 1)
        return {
            'weights': weights,
            'haze': dark,
            'scale': scale,
            'offset': mean(intensity) - scale * mean(low) - combine(dark, weights),
        }

    def _fuse(self, lrms_up: Tensor, pan: Tensor, statistics: Mapping[str, Tensor]) -> Tensor:
        dark, weights = statistics['haze'], statistics['weights']
        clear = combine(lrms_up, weights) - combine(dark, weights)  # (B, 1, H, W)
        sharp = statistics['scale'] * pan + statistics['offset']  # (B, 1, H, W)
        ratio = divide(sharp, clear, otherwise=1.0)
        return dark + (lrms_up - dark).clamp(min=0) * ratio  # (B, C, H, W)


def haze(image: Tensor) -> Tensor:
    """The path radiance of each band, from its darkest pixels.

    Of four bands (blue, green, red, near infrared, in this order) .95, .45, .40 and .05 of their
    first percentiles, as atmospheric models have it; of other images the bands' minima.

    Shape: (B, C, H, W) -> (B, C, 1, 1).
    Source: Lolli et al., 2017, and the toolbox's shares for four bands.
    """
    if image.shape[1] == 4:
        shares = image.new_tensor([0.95, 0.45, 0.40, 0.05])
        return shares[:, None, None] * smallest(image, 1.0)
    return image.amin((2, 3), keepdim=True)
