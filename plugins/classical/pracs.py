"""PRACS: each band has a partly replaced component of its own."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from torch import Tensor

from plugins.classical.method import Measured
from plugins.classical.statistics import combine, divide, regress_with_constant
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.resample import imresized_by, imresized_to
from plugins.pansharpening.imaging.streaming_statistics import Moments
from plugins.pansharpening.imaging.two_pass_generator import Scan, TwoPassGenerator
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.window import Window


@GENERATORS.register(name='PRACS')
class PRACS(TwoPassGenerator):
    """Partial replacement adaptive component substitution.

    E'_k is the band E_k matched to the PAN's mean and deviation, zero where that is negative. Of it
    and the PAN a mixture is made, P_k = r_k P + (1 - r_k) E'_k, r_k the correlation of E'_k with
    the intensity I, which is the regression of the low-passed PAN on the E'. The detail P_k - I_k,
    where I_k is the regression of the low-passed P_k on the E', less its mean, is injected with
    strength corr(I_k, E_k) std(E_k) / mean_j(std(E_j)) (1 - |1 - corr(I, E_k) E_k / I_k|).
    Low-passing here is `imresize` by 1 / ratio and back. Pixels where I_k is zero are left alone.

    Args:
        bands: C.  Injected by the parent.
        ratio: PAN pixels per multispectral pixel.  Injected by the parent.
        strength: factor of all details, above 0; .95 in the paper.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Raises:
        ValueError: a strength that is not positive.
    Source: Choi, Yu and Kim, "A new adaptive component-substitution-based satellite image fusion by
        using partial replacement", IEEE TGRS 49(1), 2011.
    """

    margin = 64

    def __init__(self, bands: int, ratio: int, strength: float = 0.95) -> None:
        super().__init__(bands, ratio)
        if not 0 < strength < float('inf'):
            raise ValueError(f'strength must be above 0, found {strength}')
        self.strength = strength

    def measure(self, lrms_up: LazyImage, pan: LazyImage, window: Window) -> dict[str, Tensor]:
        return {'both': torch.cat([lrms_up.read(window), pan.read(window)], 1)}

    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        found = Measured(moments['both'], E=self.bands, P=1)
        scale = divide(found.deviation('P'), found.deviation('E'))  # (B, C, 1, 1)
        return {'scale': scale, 'offset': found.mean('P') - scale * found.mean('E')}

    def statistics(self, scan: Scan) -> dict[str, Tensor]:
        """In two scans: only behind the first is known what the match sets to zero."""
        match = super().statistics(scan)
        name = object()  # of this scene's matched bands

        def look(
            lrms_up: LazyImage, pan: LazyImage, window: Window, valid: Tensor | None
        ) -> Moments:
            matched = lrms_up.derived(name, lambda e: self._matched(e, match))
            images = [lrms_up.read(window)]
            for image in (matched, pan):
                images += [image.read(window), self._lowpass(image).read(window)]
            return Moments.of(torch.cat(images, 1), valid)

        moments = functools.reduce(Moments.joined, scan(look))
        return {**match, **self._replacement(moments)}

    def _matched(self, lrms_up: LazyImage, match: Mapping[str, Tensor]) -> LazyImage:
        """The bands brought to the PAN's mean and deviation, not below zero."""

        def read(window: Window) -> Tensor:
            e = lrms_up.read(window)
            return (match['scale'].to(e) * e + match['offset'].to(e)).clamp(min=0)

        return LazyImage(lrms_up.shape, read, lrms_up.area)

    def _lowpass(self, image: LazyImage) -> LazyImage:
        """`imresize` by 1 / ratio, once for the area that is worked on, and back."""
        low = image.derived(
            ('imresize', self.ratio),
            lambda fine: imresized_by(fine, self.ratio).kept(fine.area.reduced(self.ratio), 16),
        )
        return imresized_to(low, self.ratio)

    def _replacement(self, moments: Moments) -> dict[str, Tensor]:
        """What the mixtures and their regressions come to; B are the matched bands."""
        c = self.bands
        found = Measured(moments, E=c, B=c, B_low=c, P=1, P_low=1)
        bands, with_e = found.matrix('B', 'B'), found.matrix('E', 'B')  # (B, C, C)
        weights, _ = found.regression('B', 'P_low')  # (B, C, 1), of the intensity
        share = _correlation(bands, bands, found.variance('B'), weights)  # (B, C, 1, 1)
        local = _correlation(with_e, bands, found.variance('E'), weights)
        # Low-passing is linear: that of a mixture is the mixture of the low-passed.
        kept = share.flatten(2).transpose(1, 2)  # (B, 1, C)
        with_mixture = kept * found.matrix('B', 'P_low') + (1 - kept) * found.matrix('B', 'B_low')
        low_mean = share * found.mean('P_low') + (1 - share) * found.mean('B_low')
        weights, constant = regress_with_constant(bands, with_mixture, found.mean('B'), low_mean)
        spread = found.deviation('E')
        relative = divide(spread, spread.mean(1, keepdim=True))
        strength = self.strength * _correlation(with_e, bands, found.variance('E'), weights)
        return {
            'share': share,
            'local': local,
            'weights': weights,
            'constant': constant,
            'bias': share * found.mean('P') + (1 - share) * found.mean('B') - low_mean,
            'gains': strength * relative,
        }

    def fuse(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        e, share = lrms_up.read(window), statistics['share']
        matched = self._matched(lrms_up, statistics).read(window)  # (B, C, h, w)
        mixture = share * pan.read(window) + (1 - share) * matched  # (B, C, h, w)
        intensity = combine(matched, statistics['weights']) + statistics['constant']
        # Where I_k is 0 the quotient counts as infinite, which would inject without bounds.
        local = 1 - (1 - statistics['local'] * divide(e, intensity)).abs()
        local = torch.where(intensity == 0, torch.zeros_like(local), local)
        detail = mixture - intensity - statistics['bias']  # (B, C, h, w)
        return e + statistics['gains'] * local * detail


def _correlation(cross: Tensor, bands: Tensor, variance: Tensor, weights: Tensor) -> Tensor:
    """Of each image with its weighted sum of bands, or with the only one; 0 where constant.

    Args:
        cross: (B, C, K), covariances of the images with the bands.
        bands: (B, K, K), of the bands.
        variance: (B, C, 1, 1), of the images.
        weights: (B, K, C or 1).
    Returns:
        (B, C, 1, 1).
    """
    covariance = cross @ weights  # (B, C, C or 1)
    if weights.shape[2] > 1:
        covariance = covariance.diagonal(dim1=1, dim2=2)[..., None]
    total = (weights * (bands @ weights)).sum(1)[..., None]  # (B, C or 1, 1)
    spread = (variance[..., 0] * total).clamp(min=0).sqrt()  # (B, C, 1)
    return divide(covariance, spread.expand_as(covariance))[..., None]
