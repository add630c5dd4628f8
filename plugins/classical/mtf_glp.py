"""Multiresolution analysis: details of the PAN beyond what the multispectral sensor resolves.

Generalized Laplacian pyramid with MTF-matched filters: the PAN is low-passed by the MTF of each
band, decimated and brought up again like the multispectral image, so that it has P and P_k as the
bands have E_k at full resolution and E_k.

Source: Aiazzi et al., "MTF-tailored multiscale fusion of high-resolution MS and Pan imagery", PE&RS
72(5), 2006; notation and variants as in Vivone et al., IEEE GRSM 9(1), 2021.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from plugins.classical.component_substitution import haze
from plugins.classical.filters import lowpass, mtf_decimate
from plugins.classical.method import GlobalMethod, is_flat
from plugins.classical.statistics import (
    combine,
    covariance,
    deviation,
    divide,
    mean,
    regress,
    with_ones,
)
from plugins.pansharpening.mtf import KERNEL_SIZE, mtf_kernel
from plugins.pansharpening.precision import without_autocast
from plugins.pansharpening.resample import interp23tap, polyphase
from plugins.pansharpening.sensors import sensor as sensor_by_name
from toolkit.registry import GENERATORS


class Pyramid(GlobalMethod):
    """A method that takes details from P - P_k or P / P_k.

    Upsampling wraps around, so that P_k within `fuse_halo` of an image's border depends on the
    opposite one. Who fuses windows at the border of an image makes `pan_at_ms_resolution` of the
    whole, upsamples it there by `resample.upsample_window`, and hands that over as `pan_low`.

    Args:
        bands: C.  Wired by the parent.
        ratio: PAN pixels per multispectral pixel, a power of two.  Wired by the parent.
        sensor: name of the sensor, for the MTF gains of its bands.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Raises:
        ValueError: no such sensor, or a ratio that is no power of two.
        DataError: a sensor with another number of bands.
    """

    def __init__(self, bands: int, ratio: int, sensor: str = 'generic') -> None:
        super().__init__(bands, ratio)
        self.gains = sensor_by_name(sensor).gains(bands)
        reach = polyphase(ratio).shape[1] // 2 if ratio > 1 else 0  # samples on each side
        self.fuse_halo = ratio * (reach + 1) + -(-(KERNEL_SIZE // 2) // ratio) * ratio
        self.stride = ratio

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        low = self.pan_low(pan)  # (B, C, H, W)
        return self.fuse(lrms_up, pan, self.statistics(lrms_up, pan, low), low)

    def pan_at_ms_resolution(self, pan: Tensor) -> Tensor:
        """The PAN as each band of the sensor would see it, float64.

        Shape: (B, 1, H, W) -> (B, C, ceil(H / ratio), ceil(W / ratio)).
        """
        with without_autocast(pan):
            return mtf_decimate(pan.double(), self.gains, self.ratio)

    def pan_low(self, pan: Tensor) -> Tensor:
        """P_k: `pan_at_ms_resolution` brought up again, (B, 1, H, W) -> (B, C, H, W) float64."""
        with without_autocast(pan):
            low = interp23tap(self.pan_at_ms_resolution(pan), self.ratio)
            return low[..., : pan.shape[2], : pan.shape[3]]

    @torch.no_grad()
    def statistics(
        self, lrms_up: Tensor, pan: Tensor, pan_low: Tensor | None = None
    ) -> dict[str, Tensor]:
        """What `fuse` needs to know of the whole images.

        Args:
            lrms_up: (B, C, H, W).
            pan: (B, 1, H, W).
            pan_low: (B, C, H, W), where the caller has it.
        Returns:
            float64 tensors by name, small, their first axis B.
        """
        low = self.pan_low(pan) if pan_low is None else pan_low.double()
        with without_autocast(pan):
            found = self._measure(lrms_up.double(), pan.double(), low)
            return {'flat': is_flat(pan), **found}

    def fuse(
        self,
        lrms_up: Tensor,
        pan: Tensor,
        statistics: Mapping[str, Tensor],
        pan_low: Tensor | None = None,
    ) -> Tensor:
        """Fuse images or windows of them with the statistics of the whole.

        Args:
            lrms_up: (B, C, H, W).
            pan: (B, 1, H, W).
            statistics: of the whole image.
            pan_low: (B, C, H, W), where the caller has it.
        Returns:
            (B, C, H, W).
        """
        low = self.pan_low(pan) if pan_low is None else pan_low.double()
        with without_autocast(pan):
            fused = self._inject(lrms_up.double(), pan.double(), low, statistics)
            return torch.where(statistics['flat'], lrms_up, fused.to(lrms_up.dtype))

    @abstractmethod
    def _measure(self, lrms_up: Tensor, pan: Tensor, pan_low: Tensor) -> dict[str, Tensor]: ...

    @abstractmethod
    def _inject(
        self, lrms_up: Tensor, pan: Tensor, pan_low: Tensor, statistics: Mapping[str, Tensor]
    ) -> Tensor: ...


class AdditivePyramid(Pyramid):
    """E_k + g_k (P - P_k) + b_k."""

    def _inject(
        self, lrms_up: Tensor, pan: Tensor, pan_low: Tensor, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        detail = statistics['gains'] * (pan - pan_low) + statistics['bias']
        return lrms_up + detail  # (B, C, H, W)


class RatioPyramid(Pyramid):
    """High-pass modulation: E_k (s_k P + a_k) / (s_k P_k + b_k), E_k where that divides by zero."""

    def _inject(
        self, lrms_up: Tensor, pan: Tensor, pan_low: Tensor, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        sharp = statistics['scale'] * pan + statistics['offset']
        low = statistics['scale'] * pan_low + statistics['offset_low']
        return lrms_up * divide(sharp, low, otherwise=1.0)  # (B, C, H, W)


@GENERATORS.register(name='MTF-GLP')
class MTFGLP(AdditivePyramid):
    """E_k + P - P_k, with a PAN that is matched to each band.

    Args:
        bands: C.  Wired by the parent.
        ratio: PAN pixels per multispectral pixel, a power of two.  Wired by the parent.
        sensor: name of the sensor, for the MTF gains of its bands.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Raises:
        ValueError: no such sensor, or a ratio that is no power of two.
        DataError: a sensor with another number of bands.
    Source: Aiazzi et al., PE&RS 72(5), 2006.
    """

    def _measure(self, lrms_up: Tensor, pan: Tensor, pan_low: Tensor) -> dict[str, Tensor]:
        scale, offset, offset_low = _matched(self, lrms_up, pan)
        return {'gains': scale, 'bias': offset - offset_low}


@GENERATORS.register(name='MTF-GLP-FS')
class MTFGLPFS(AdditivePyramid):
    """E_k + g_k (P - P_k), g_k = cov(E_k, P) / cov(P_k, P): regression at full scale.

    Args:
        bands: C.  Wired by the parent.
        ratio: PAN pixels per multispectral pixel, a power of two.  Wired by the parent.
        sensor: name of the sensor, for the MTF gains of its bands.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Raises:
        ValueError: no such sensor, or a ratio that is no power of two.
        DataError: a sensor with another number of bands.
    Source: Vivone, Restaino and Chanussot, "Full scale regression-based injection coefficients for
        panchromatic sharpening", IEEE TIP 27(7), 2018.
    """

    def _measure(self, lrms_up: Tensor, pan: Tensor, pan_low: Tensor) -> dict[str, Tensor]:
        gains = divide(covariance(lrms_up, pan), covariance(pan_low, pan))
        return {'gains': gains, 'bias': torch.zeros_like(gains)}


@GENERATORS.register(name='MTF-GLP-CBD')
class MTFGLPCBD(AdditivePyramid):
    """E_k + g_k (P - P_k), g_k = cov(E_k, P_k) / var(P_k), over the whole image.

    Args:
        bands: C.  Wired by the parent.
        ratio: PAN pixels per multispectral pixel, a power of two.  Wired by the parent.
        sensor: name of the sensor, for the MTF gains of its bands.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Raises:
        ValueError: no such sensor, or a ratio that is no power of two.
        DataError: a sensor with another number of bands.
    Source: Aiazzi et al., PE&RS 72(5), 2006; Alparone et al., IEEE TGRS 45(10), 2007.
    """

    def _measure(self, lrms_up: Tensor, pan: Tensor, pan_low: Tensor) -> dict[str, Tensor]:
        gains = _regression(lrms_up, pan_low)
        return {'gains': gains, 'bias': torch.zeros_like(gains)}


@GENERATORS.register(name='MTF-GLP-HPM')
class MTFGLPHPM(RatioPyramid):
    """E_k P / P_k, with a PAN that is matched to each band.

    Args:
        bands: C.  Wired by the parent.
        ratio: PAN pixels per multispectral pixel, a power of two.  Wired by the parent.
        sensor: name of the sensor, for the MTF gains of its bands.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Raises:
        ValueError: no such sensor, or a ratio that is no power of two.
        DataError: a sensor with another number of bands.
    Source: Aiazzi et al., "An MTF-based spectral distortion minimizing model for pan-sharpening of
        very high resolution multispectral images of urban areas", URBAN 2003.
    """

    def _measure(self, lrms_up: Tensor, pan: Tensor, pan_low: Tensor) -> dict[str, Tensor]:
        scale, offset, offset_low = _matched(self, lrms_up, pan)
        return {'scale': scale, 'offset': offset, 'offset_low': offset_low}


@GENERATORS.register(name='MTF-GLP-HPM-R')
class MTFGLPHPMR(RatioPyramid):
    """E_k (g_k P + a_k) / (g_k P_k + a_k), where that is the regression of E_k on P_k.

    Args:
        bands: C.  Wired by the parent.
        ratio: PAN pixels per multispectral pixel, a power of two.  Wired by the parent.
        sensor: name of the sensor, for the MTF gains of its bands.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Raises:
        ValueError: no such sensor, or a ratio that is no power of two.
        DataError: a sensor with another number of bands.
    Source: Vivone, Restaino and Chanussot, "A regression-based high-pass modulation pansharpening
        approach", IEEE TGRS 56(2), 2018.
    """

    def _measure(self, lrms_up: Tensor, pan: Tensor, pan_low: Tensor) -> dict[str, Tensor]:
        scale = _regression(lrms_up, pan_low)
        offset = mean(lrms_up) - scale * mean(pan)
        return {'scale': scale, 'offset': offset, 'offset_low': offset}


@GENERATORS.register(name='MTF-GLP-HPM-H')
class MTFGLPHPMH(Pyramid):
    """High-pass modulation with haze correction: h_k + (E_k - h_k) (P - H) / (P_k - H).

    H is what the PAN shows of the bands' haze h (see `haze`), by the regression of the low-passed
    PAN on the bands.

    Args:
        bands: C.  Wired by the parent.
        ratio: PAN pixels per multispectral pixel, a power of two.  Wired by the parent.
        sensor: name of the sensor, for the MTF gains of its bands.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Raises:
        ValueError: no such sensor, or a ratio that is no power of two.
        DataError: a sensor with another number of bands.
    Source: Lolli et al., "Haze correction for contrast-based multispectral pansharpening", IEEE
        GRSL 14(12), 2017.
    """

    def _measure(self, lrms_up: Tensor, pan: Tensor, pan_low: Tensor) -> dict[str, Tensor]:
        weights = regress(with_ones(lrms_up), lowpass(pan, self.ratio))  # (B, C + 1, 1)
        dark = haze(lrms_up)  # (B, C, 1, 1)
        return {'haze': dark, 'pan_haze': combine(dark, weights)}

    def _inject(
        self, lrms_up: Tensor, pan: Tensor, pan_low: Tensor, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        dark, pan_dark = statistics['haze'], statistics['pan_haze']
        ratio = divide(pan - pan_dark, pan_low - pan_dark, otherwise=1.0)
        return dark + (lrms_up - dark) * ratio  # (B, C, H, W)


def _matched(method: Pyramid, lrms_up: Tensor, pan: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scale and offset that match the PAN to each band: its mean, and the spread of its low pass.

    The third is the offset behind the MTF filter, whose kernel does not sum to exactly one.
    """
    scale = divide(deviation(lrms_up), deviation(lowpass(pan, method.ratio)))
    offset = mean(lrms_up) - scale * mean(pan)
    total = [float(mtf_kernel(gain, method.ratio).sum()) for gain in method.gains]
    total = torch.tensor(total, dtype=offset.dtype, device=offset.device)
    return scale, offset, offset * total[:, None, None]


def _regression(lrms_up: Tensor, pan_low: Tensor) -> Tensor:
    """cov(E_k, P_k) / var(P_k)."""
    return divide(covariance(lrms_up, pan_low), covariance(pan_low, pan_low))
