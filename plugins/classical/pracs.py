"""PRACS: each band has a partly replaced component of its own."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from plugins.classical.method import ClassicalMethod
from plugins.classical.statistics import (
    combine,
    correlation,
    deviation,
    divide,
    mean,
    regress,
    with_ones,
)
from plugins.pansharpening.resample import imresize, imresize_by
from toolkit.registry import GENERATORS


@GENERATORS.register(name='PRACS')
class PRACS(ClassicalMethod):
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

    def __init__(self, bands: int, ratio: int, strength: float = 0.95) -> None:
        super().__init__(bands, ratio)
        if not 0 < strength < float('inf'):
            raise ValueError(f'strength must be above 0, found {strength}')
        self.strength = strength

    def _statistics(self, lrms_up: Tensor, pan: Tensor) -> dict[str, Tensor]:
        size = (pan.shape[2], pan.shape[3])
        low = imresize(imresize_by(pan, self.ratio), size)  # (B, 1, H, W)
        scale = divide(deviation(pan), deviation(lrms_up))  # (B, C, 1, 1)
        offset = mean(pan) - scale * mean(lrms_up)
        matched = scale * lrms_up + offset  # (B, C, H, W)
        regressors = with_ones(lrms_up)
        intensity = combine(lrms_up, regress(regressors, low))  # (B, 1, H, W)
        share = correlation(intensity, lrms_up)  # (B, C, 1, 1)
        mixture = share * pan + (1 - share) * matched  # (B, C, H, W)
        mixture = imresize(imresize_by(mixture, self.ratio), size)
        weights = regress(regressors, mixture)  # (B, C + 1, C)
        spread = deviation(lrms_up)
        relative = divide(spread, spread.mean(1, keepdim=True))
        gains = self.strength * correlation(combine(lrms_up, weights), lrms_up) * relative
        return {
            'scale': scale,
            'offset': offset,
            'share': share,
            'weights': weights,
            'gains': gains,
        }

    def _fuse(self, lrms_up: Tensor, pan: Tensor, statistics: Mapping[str, Tensor]) -> Tensor:
        share = statistics['share']
        matched = statistics['scale'] * lrms_up + statistics['offset']  # (B, C, H, W)
        mixture = share * pan + (1 - share) * matched  # (B, C, H, W)
        intensity = combine(lrms_up, statistics['weights'])  # (B, C, H, W)
        # Where I_k is 0 the quotient counts as infinite, which would inject without bounds.
        local = 1 - (1 - share * divide(lrms_up, intensity)).abs()
        local = torch.where(intensity == 0, torch.zeros_like(local), local)
        return lrms_up + statistics['gains'] * local * (mixture - intensity)  # (B, C, H, W)
