"""BDSD: the detail is the combination of bands and PAN that is best at reduced resolution."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from plugins.classical.filters import mtf_decimate
from plugins.classical.method import ClassicalMethod
from plugins.classical.statistics import combine, regress, regress_signed
from plugins.pansharpening.mtf import mtf_filter
from plugins.pansharpening.resample import imresize_by
from plugins.pansharpening.sensors import sensor as sensor_by_name
from toolkit.registry import GENERATORS


@GENERATORS.register(name='BDSD')
class BDSD(ClassicalMethod):
    """Band-dependent spatial detail, one estimate for the whole image.

    E_k + sum_j g_kj E_j + g_kP P. The weights g are those that at reduced resolution restore what
    the sensor's MTF takes from the bands, by least squares, with all images low-passed. The bands
    at their own resolution are `imresize` of `lrms_up`, not its samples, as in the toolbox.

    Args:
        bands: C.  Wired by the parent.
        ratio: PAN pixels per multispectral pixel.  Wired by the parent.
        sensor: name of the sensor, for the MTF gains of its bands and its PAN.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Raises:
        ValueError: no such sensor.
        DataError: a sensor with another number of bands.
    Source: Garzelli, Nencini and Capobianco, "Optimal MMSE pan sharpening of very high resolution
        multispectral images", IEEE TGRS 46(1), 2008.
    """

    def __init__(self, bands: int, ratio: int, sensor: str = 'generic') -> None:
        super().__init__(bands, ratio)
        taken = sensor_by_name(sensor)
        self.ms_gains, self.pan_gain = taken.gains(bands), taken.pan_gain

    def _statistics(self, lrms_up: Tensor, pan: Tensor) -> dict[str, Tensor]:
        low = imresize_by(lrms_up, self.ratio)  # (B, C, h, w)
        blurred = mtf_filter(low, self.ms_gains, self.ratio)  # (B, C, h, w)
        pan_low = mtf_decimate(pan, (self.pan_gain,), self.ratio)  # (B, 1, h, w)
        regressors = torch.cat([blurred, pan_low], 1)
        return {'weights': self._regress(regressors, low - blurred)}  # (B, C + 1, C)

    def _fuse(self, lrms_up: Tensor, pan: Tensor, statistics: Mapping[str, Tensor]) -> Tensor:
        detail = combine(torch.cat([lrms_up, pan], 1), statistics['weights'])
        return lrms_up + detail  # (B, C, H, W)

    def _regress(self, regressors: Tensor, details: Tensor) -> Tensor:
        return regress(regressors, details)


@GENERATORS.register(name='BDSD-PC')
class BDSDPC(BDSD):
    """BDSD with physical constraints: PAN weighs zero or more, the bands zero or less.

    Args:
        bands: C.  Wired by the parent.
        ratio: PAN pixels per multispectral pixel.  Wired by the parent.
        sensor: name of the sensor, for the MTF gains of its bands and its PAN.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Raises:
        ValueError: no such sensor.
        DataError: a sensor with another number of bands.
    Source: Vivone, "Robust band-dependent spatial-detail approaches for panchromatic sharpening",
        IEEE TGRS 57(9), 2019.
    """

    def _regress(self, regressors: Tensor, details: Tensor) -> Tensor:
        signs = -torch.ones(regressors.shape[1], device=regressors.device)
        signs[-1] = 1
        return regress_signed(regressors, details, signs)
