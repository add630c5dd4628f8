"""Brovey's transform with given weights, without statistics: what GDAL's pansharpening does."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from plugins.classical.statistics import combine, divide
from plugins.pansharpening.interfaces import GENERATORS, Generator


@GENERATORS.register
class WeightedBrovey(Generator):
    """E_k P / sum_j(w_j E_j), pixel by pixel: nothing of the scene is looked at first.

    As the weights are not fitted and PAN is not matched, colours are only as right as the weights;
    `Brovey` matches the PAN. Where the weighted sum is zero the bands stay as they are.

    Args:
        bands: C.  Injected by the parent.
        weights: one per band, of the PAN that the bands add up to; None for 1 / C each.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Raises:
        ValueError: another number of weights than bands, or weights that are not finite.
    Source: Gillespie, Kahle and Walker, Remote Sensing of Environment 22(3), 1987; weighted as in
        GDAL's pansharpening driver (gdal.org, "gdal_pansharpen").
    """

    halo = 0
    stride = 1

    def __init__(self, bands: int, weights: list[float] | None = None) -> None:
        super().__init__()
        chosen = [1 / bands] * bands if weights is None else [float(w) for w in weights]
        if len(chosen) != bands or not all(math.isfinite(w) for w in chosen):
            raise ValueError(f'weights must be {bands} finite numbers, found {weights}')
        self.weights = chosen

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        weights = torch.tensor(self.weights, device=lrms_up.device)[None, :, None]  # (1, C, 1)
        return lrms_up * divide(pan, combine(lrms_up, weights), otherwise=1.0)  # (B, C, H, W)
