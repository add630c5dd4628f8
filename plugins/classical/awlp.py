"""AWLP: details of an undecimated wavelet transform, in proportion to the bands."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from plugins.classical.filters import smooth
from plugins.classical.method import ClassicalMethod
from plugins.classical.statistics import deviation, divide
from plugins.pansharpening.resample import imresize, imresize_by
from toolkit.registry import GENERATORS


@GENERATORS.register(name='AWLP')
class AWLP(ClassicalMethod):
    """Additive wavelet luminance proportional: E_k + E_k / I a_k (P - smooth(P)).

    I is the mean of the bands, smooth(P) the approximation that remains of the PAN (see
    `filters.smooth`), and a_k matches the PAN, brought down and up by `imresize`, to the deviation
    of E_k. Pixels whose bands are all zero stay so.

    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Source: Otazu et al., "Introduction of sensor spectral response into image fusion methods.
        Application to wavelet-based methods", IEEE TGRS 43(10), 2005; with a match per band, Vivone
        et al., "Fast reproducible pansharpening based on instrument and acquisition modeling: AWLP
        revisited", Remote Sensing 11(19), 2019.
    """

    def __init__(self, bands: int, ratio: int) -> None:
        super().__init__(bands, ratio)
        self.fuse_halo = 4 * math.ceil(math.log2(ratio))

    def _statistics(self, lrms_up: Tensor, pan: Tensor) -> dict[str, Tensor]:
        low = imresize(imresize_by(pan, self.ratio), (pan.shape[2], pan.shape[3]))
        return {'gains': divide(deviation(lrms_up), deviation(low))}  # (B, C, 1, 1)

    def _fuse(self, lrms_up: Tensor, pan: Tensor, statistics: Mapping[str, Tensor]) -> Tensor:
        detail = pan - smooth(pan, self.ratio)  # (B, 1, H, W)
        share = divide(lrms_up, lrms_up.mean(1, keepdim=True))  # (B, C, H, W)
        return lrms_up + share * statistics['gains'] * detail  # (B, C, H, W)
