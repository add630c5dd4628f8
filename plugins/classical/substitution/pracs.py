"""PRACS: component substitution with a partly replaced component for each band."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from plugins.classical.numerics.modulation import (
    estimate_gain,
    is_damped,
    regress_band,
    solve_damping,
)
from plugins.classical.numerics.named_moments import NamedMoments
from plugins.classical.numerics.statistics import combine, divide, regress_with_constant
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.resample import imresized_by, imresized_to
from plugins.pansharpening.imaging.streaming_statistics import Images, Moments
from plugins.pansharpening.imaging.two_pass_generator import Scan, TwoPassGenerator
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.window import Window
from toolkit.ranges import PositiveFloat


@GENERATORS.register(name='PRACS')
class PRACS(TwoPassGenerator):
    """Partial replacement adaptive component substitution.

    E'_k is the band E_k matched to the PAN's mean and deviation, with negative values set to zero.
    The intensity I is the regression of the low-passed PAN on the E', r_k the correlation of E'_k
    with I, and P_k = r_k P + (1 - r_k) E'_k. I_k is the regression of the low-passed P_k on the
    E'. The detail P_k - I_k, minus its mean, is injected with the strength
    corr(I_k, E_k) std(E_k) / mean_j(std(E_j)) (1 - |1 - corr(I, E_k) E_k / I_k|).
    The low pass is `imresize` by 1 / ratio and back. Pixels with I_k = 0 are not changed.

    Args:
        strength: factor of all details, above 0; .95 in the paper.
    Raises:
        ValueError: the strength is not positive.
    Source: Choi, Yu and Kim, "A new adaptive component-substitution-based satellite image fusion by
        using partial replacement", IEEE TGRS 49(1), 2011.
    """

    margin = 64

    def __init__(self, bands: int, ratio: int, strength: PositiveFloat = 0.95) -> None:
        super().__init__(bands, ratio)
        if not 0 < strength < float('inf'):
            raise ValueError(f'strength must be above 0, found {strength}')
        self.strength = strength

    def measure(self, lrms_up: LazyImage, pan: LazyImage, window: Window) -> Mapping[str, Images]:
        return {'both': [lrms_up.read(window), pan.read(window)]}

    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        found = NamedMoments(moments['both'], E=self.bands, P=1)
        scale = divide(found.deviation('P'), found.deviation('E'))  # (B, C, 1, 1)
        return {'scale': scale, 'offset': found.mean('P') - scale * found.mean('E')}

    def statistics(self, scan: Scan) -> dict[str, Tensor]:
        """Scans the scene twice: the second scan needs the match of the first."""
        match = super().statistics(scan)
        name = object()  # under which the matched bands of this scene are kept

        def collect(
            lrms_up: LazyImage, pan: LazyImage, window: Window, valid: Tensor | None
        ) -> Moments:
            matched = lrms_up.derived(name, lambda e: self._match_bands(e, match))
            images = [lrms_up.read(window)]
            for image in (matched, pan):
                images += [image.read(window), self._lowpass(image).read(window)]
            return Moments.of(images, valid)

        moments = Moments.join(list(scan(collect)))
        return {**match, **self._solve_replacement(moments)}

    def _match_bands(self, lrms_up: LazyImage, match: Mapping[str, Tensor]) -> LazyImage:
        """Matches the bands to the PAN's mean and deviation, and clips them at zero."""

        def read(window: Window) -> Tensor:
            e = lrms_up.read(window)
            return (match['scale'].to(e) * e + match['offset'].to(e)).clamp(min=0)

        return LazyImage(lrms_up.shape, read, lrms_up.area)

    def _lowpass(self, image: LazyImage) -> LazyImage:
        """Applies `imresize` by 1 / ratio, once for the current area of the scene, and back."""
        low = image.derived(
            ('imresize', self.ratio),
            lambda fine: imresized_by(fine, self.ratio).kept(fine.area.reduced(self.ratio), 16),
        )
        return imresized_to(low, self.ratio)

    def _solve_replacement(self, moments: Moments) -> dict[str, Tensor]:
        """Computes the statistics of the mixtures P_k; B are the matched bands."""
        c = self.bands
        found = NamedMoments(moments, E=c, B=c, B_low=c, P=1, P_low=1)
        bands, with_e = found.matrix('B', 'B'), found.matrix('E', 'B')  # (B, C, C)
        weights, _ = found.regression('B', 'P_low')  # (B, C, 1), of the intensity
        share = _correlate(bands, bands, found.variance('B'), weights)  # (B, C, 1, 1)
        local = _correlate(with_e, bands, found.variance('E'), weights)
        # The low pass is linear: the low pass of a mixture is the mixture of the low passes.
        kept = share.flatten(2).transpose(1, 2)  # (B, 1, C)
        with_mixture = kept * found.matrix('B', 'P_low') + (1 - kept) * found.matrix('B', 'B_low')
        low_mean = share * found.mean('P_low') + (1 - share) * found.mean('B_low')
        weights, constant = regress_with_constant(bands, with_mixture, found.mean('B'), low_mean)
        spread = found.deviation('E')
        relative = divide(spread, spread.mean(1, keepdim=True))
        strength = self.strength * _correlate(with_e, bands, found.variance('E'), weights)
        with_intensity = (with_e @ weights).diagonal(dim1=1, dim2=2)[..., None, None]
        variance = (weights * (bands @ weights)).sum(1)[..., None, None]  # (B, C, 1, 1)
        regression = regress_band(with_intensity, variance, found.variance('E'))
        return {
            **solve_damping(*regression),
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
        matched = self._match_bands(lrms_up, statistics).read(window)  # (B, C, h, w)
        mixture = share * pan.read(window) + (1 - share) * matched  # (B, C, h, w)
        intensity = combine(matched, statistics['weights']) + statistics['constant']
        if is_damped(pan.border):
            local = 1 - (1 - statistics['local'] * estimate_gain(e, intensity, statistics)).abs()
        else:
            # For I_k = 0 the quotient is infinite, and so would be the injected detail.
            local = 1 - (1 - statistics['local'] * divide(e, intensity)).abs()
            local = torch.where(intensity == 0, torch.zeros_like(local), local)
        detail = mixture - intensity - statistics['bias']  # (B, C, h, w)
        return e + statistics['gains'] * local * detail


def _correlate(cross: Tensor, bands: Tensor, variance: Tensor, weights: Tensor) -> Tensor:
    """Correlates each image with its weighted sum of bands; 0 for constants.

    Args:
        cross: (B, C, K), covariances of the images with the bands.
        bands: (B, K, K), of the bands.
        variance: (B, C, 1, 1), of the images.
        weights: (B, K, C), or (B, K, 1) for one sum for all images.
    Returns:
        (B, C, 1, 1).
    """
    covariance = cross @ weights  # (B, C, C or 1)
    if weights.shape[2] > 1:
        covariance = covariance.diagonal(dim1=1, dim2=2)[..., None]
    total = (weights * (bands @ weights)).sum(1)[..., None]  # (B, C or 1, 1)
    spread = (variance[..., 0] * total).clamp(min=0).sqrt()  # (B, C, 1)
    return divide(covariance, spread.expand_as(covariance))[..., None]
