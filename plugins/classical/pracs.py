"""PRACS: each band has a partly replaced component of its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from plugins.classical.method import Measured
from plugins.classical.statistics import combine, divide, regress_with_constant
from plugins.pansharpening.fields import Field
from plugins.pansharpening.globalmethod import GlobalMethod
from plugins.pansharpening.moments import Moments
from plugins.pansharpening.resample import imresized_by, imresized_to
from plugins.pansharpening.scene import Window
from toolkit.registry import GENERATORS


@GENERATORS.register(name='PRACS')
class PRACS(GlobalMethod):
    """Partial replacement adaptive component substitution.

    Of each band, matched to the PAN's mean and deviation, and the PAN a mixture is made,
    P_k = r_k P + (1 - r_k) E'_k, r_k the correlation of E_k with the intensity I, which is the
    regression of the low-passed PAN on the bands. The detail P_k - I_k, where I_k is the regression
    of the low-passed P_k on the bands, is injected with
    strength corr(I_k, E_k) std(E_k) / mean_j(std(E_j)) (1 - |1 - r_k E_k / I_k|).
    Low-passing here is `imresize` by 1 / ratio and back. Pixels where I_k is zero are left alone.

    Args:
        bands: C.  Wired by the parent.
        ratio: PAN pixels per multispectral pixel.  Wired by the parent.
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

    def measure(self, lrms_up: Field, pan: Field, window: Window) -> dict[str, Tensor]:
        images = []
        for image in (lrms_up, pan):
            images += [image.read(window), self._lowpass(image).read(window)]
        return {'full': torch.cat(images, 1)}

    def _lowpass(self, image: Field) -> Field:
        """`imresize` by 1 / ratio, once for the area that is worked on, and back."""
        low = image.derived(
            ('imresize', self.ratio),
            lambda fine: imresized_by(fine, self.ratio).kept(fine.area.reduced(self.ratio), 16),
        )
        return imresized_to(low, self.ratio)

    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        c = self.bands
        found = Measured(moments['full'], E=c, E_low=c, P=1, P_low=1)
        bands = found.matrix('E', 'E')  # (B, C, C)
        scale = divide(found.deviation('P'), found.deviation('E'))  # (B, C, 1, 1)
        offset = found.mean('P') - scale * found.mean('E')
        weights, _ = found.regression('E', 'P_low')  # (B, C, 1), of the intensity
        share = _correlation(bands, weights)  # (B, C, 1, 1)
        # Low-passing is linear and keeps constants: that of a mixture is one of the low-passed.
        own = ((1 - share) * scale).flatten(2).transpose(1, 2)  # (B, 1, C), of each band's mixture
        kept = share.flatten(2).transpose(1, 2)  # (B, 1, C)
        with_mixture = kept * found.matrix('E', 'P_low') + own * found.matrix('E', 'E_low')
        mixture_mean = share * found.mean('P_low') + (1 - share) * (
            scale * found.mean('E_low') + offset
        )  # (B, C, 1, 1)
        weights, constant = regress_with_constant(
            bands, with_mixture, found.mean('E'), mixture_mean
        )  # (B, C, C), (B, C, 1, 1)
        spread = found.deviation('E')
        relative = divide(spread, spread.mean(1, keepdim=True))
        return {
            'scale': scale,
            'offset': offset,
            'share': share,
            'weights': weights,
            'constant': constant,
            'gains': self.strength * _correlation(bands, weights) * relative,
        }

    def fuse(
        self, lrms_up: Field, pan: Field, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        e, share = lrms_up.read(window), statistics['share']
        matched = statistics['scale'] * e + statistics['offset']  # (B, C, h, w)
        mixture = share * pan.read(window) + (1 - share) * matched  # (B, C, h, w)
        intensity = combine(e, statistics['weights']) + statistics['constant']  # (B, C, h, w)
        # Where I_k is 0 the quotient counts as infinite, which would inject without bounds.
        local = 1 - (1 - share * divide(e, intensity)).abs()
        local = torch.where(intensity == 0, torch.zeros_like(local), local)
        return e + statistics['gains'] * local * (mixture - intensity)  # (B, C, h, w)


def _correlation(bands: Tensor, weights: Tensor) -> Tensor:
    """Of each band with its weighted sum of the bands, or with the only one; 0 where constant.

    Shape: bands (B, C, C) covariances, weights (B, C, C or 1) -> (B, C, 1, 1).
    """
    own = bands @ weights  # (B, C, C or 1)
    variance = (weights * own).sum(1, keepdim=True)  # (B, 1, C or 1)
    covariance = own if weights.shape[2] == 1 else own.diagonal(dim1=1, dim2=2)[..., None]
    spread = (bands.diagonal(dim1=1, dim2=2)[..., None] * variance.transpose(1, 2)).clamp(min=0)
    return divide(covariance, spread.sqrt())[..., None]
