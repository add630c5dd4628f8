"""Brovey's transform with fixed weights and without statistics, as in GDAL's pansharpening."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from plugins.classical.numerics.statistics import combine, divide
from plugins.pansharpening.interfaces import GENERATORS, Generator


@GENERATORS.register
class WeightedBrovey(Generator):
    """E_k P / sum_j(w_j E_j), pixel by pixel, without statistics of the scene.

    The weights are not fitted and the PAN is not matched, so that the colours depend on the
    weights; `Brovey` matches the PAN. Pixels with a weighted sum of zero are not changed.

    Args:
        weights: of the bands in the PAN, one per band; None for 1 / C each.
    Raises:
        ValueError: the number of weights is not that of the bands, or a weight is not finite.
    Source: Gillespie, Kahle and Walker, Remote Sensing of Environment 22(3), 1987; weighted as in
        GDAL's pansharpening driver (gdal.org, "gdal_pansharpen").
    """

    halo = 0
    stride = 1

    def __init__(self, bands: int, weights: list[float] | None = None) -> None:
        super().__init__()
        values = [1 / bands] * bands if weights is None else [float(w) for w in weights]
        if len(values) != bands or not all(math.isfinite(w) for w in values):
            raise ValueError(f'weights must be {bands} finite numbers, found {weights}')
        self.weights = values

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        weights = torch.tensor(self.weights, device=lrms_up.device)[None, :, None]  # (1, C, 1)
        return lrms_up * divide(pan, combine(lrms_up, weights), otherwise=1.0)  # (B, C, H, W)
