"""Laplacian pyramids: methods that inject the details of the PAN that the MS does not resolve.

Generalized Laplacian pyramid with MTF-matched filters: the PAN P is low-passed by the MTF of each
band k, decimated, and upsampled like the multispectral image E_k; the result is P_k.

Source: Aiazzi et al., "MTF-tailored multiscale fusion of high-resolution MS and Pan imagery", PE&RS
72(5), 2006; notation and variants as in Vivone et al., IEEE GRSM 9(1), 2021.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from plugins.classical.numerics.filters import decimate_by_mtf, lowpass
from plugins.classical.numerics.modulation import is_damped, modulate
from plugins.classical.numerics.named_moments import NamedMoments
from plugins.classical.numerics.statistics import divide
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.mtf import mtf_kernel
from plugins.pansharpening.imaging.resample import polyphase, upsampled
from plugins.pansharpening.imaging.streaming_statistics import Images, Moments
from plugins.pansharpening.imaging.two_pass_generator import TwoPassGenerator
from plugins.pansharpening.scenes.sensors import SensorSpec, get_sensor
from plugins.pansharpening.scenes.window import Window

# MS pixels around a pixel that its interpolation looks at.
REACH = 8
# PAN pixels: width of the frame around a PAN, in whole blocks of the interpolation.
FRAME = 64


class Pyramid(TwoPassGenerator):
    """A method with the details P - P_k or P / P_k.

    Args:
        ratio: PAN pixels per multispectral pixel, a power of two. Injected by the parent.
        sensor: sensor (see `get_sensor`), for the MTF gains of its bands.
    Raises:
        ValueError: no such sensor, or the ratio is not a power of two.
        DataError: the sensor has another number of bands.

    Attributes:
        low_image: the image whose moments `solve` needs beside those of E and P: P filtered by
            `lowpass` ('low'), or P_k ('pan_low', once for each distinct gain).
    """

    low_image: ClassVar[Literal['low', 'pan_low']] = 'low'
    margin = 256

    def __init__(self, bands: int, ratio: int, sensor: SensorSpec = 'generic') -> None:
        super().__init__(bands, ratio)
        self.sensor = get_sensor(sensor)
        gains = self.sensor.gains(bands)
        self.gains = tuple(dict.fromkeys(gains))  # distinct
        self.gain_of_band = [self.gains.index(gain) for gain in gains]
        if ratio > 1:
            polyphase(ratio)  # raises an error for ratios that are not a power of two

    def _lowpass_pan(self, pan: LazyImage, window: Window) -> Tensor:
        """Computes P_k for each distinct gain, (B, G, h, w)."""
        moved = window.shift(*[self._frame(pan)] * 2)
        low = pan.derived(('mtf', self.gains, self.ratio), self._reduce_pan)
        return upsampled(low, self.ratio, border=pan.border).read(moved)

    def _reduce_pan(self, pan: LazyImage) -> LazyImage:
        """Filters and decimates the PAN by the MTFs, once for the current area of the scene."""
        pan = pan.framed(self._frame(pan))
        return decimate_by_mtf(pan, self.gains, self.ratio, wide=False).kept(
            pan.area.reduced(self.ratio), REACH
        )

    def _frame(self, pan: LazyImage) -> int:
        """Returns the width of the frame in which the PAN is filtered.

        P_k beyond the border is that of a PAN that goes on there, not its own outermost sample,
        which mixes pixels from farther inside. The toolbox interpolates around the border.
        """
        return 0 if pan.border == 'wrap' else FRAME * math.ceil(REACH * self.ratio / FRAME)

    def measure(self, lrms_up: LazyImage, pan: LazyImage, window: Window) -> Mapping[str, Images]:
        images = [lrms_up.read(window), pan.read(window)]
        if self.low_image == 'low':
            images.append(lowpass(pan, window, self.ratio))
        else:
            images.append(self._lowpass_pan(pan, window))
        return {'full': images}

    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        extra = {'low': 1} if self.low_image == 'low' else {'pan_low': len(self.gains)}
        return self._solve(NamedMoments(moments['full'], E=self.bands, P=1, **extra), percentile)

    def fuse(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        e, p, low = lrms_up.read(window), pan.read(window), self._lowpass_pan(pan, window)
        # Band by band, which stays in the cache from one operation to the next.
        bands = []
        for k, gain in enumerate(self.gain_of_band):
            own = {
                name: value[:, k : k + 1] if value.shape[1] == self.bands else value
                for name, value in statistics.items()
            }
            images = e[:, k : k + 1], p, low[:, gain : gain + 1]
            bands.append(self._inject(*images, own, is_damped(pan.border)))
        return torch.cat(bands, 1)

    @abstractmethod
    def _solve(self, found: NamedMoments, percentile: Tensor | None) -> dict[str, Tensor]: ...

    @abstractmethod
    def _inject(
        self,
        e: Tensor,
        pan: Tensor,
        pan_low: Tensor,
        statistics: Mapping[str, Tensor],
        damped: bool,
    ) -> Tensor:
        """Injects details into one band: (B, 1, h, w) of E_k, P and P_k -> (B, 1, h, w).

        `damped`: divisions are those of `modulation`, not the toolbox's.
        """

    def _match_pan(self, found: NamedMoments) -> tuple[Tensor, Tensor, Tensor]:
        """Matches the PAN to the mean of each band, and its low pass to the band's deviation.

        Returns:
            Scale, offset, and the offset after the MTF filter, whose kernel does not sum to one.
        """
        scale = divide(found.deviation('E'), found.deviation('low'))
        offset = found.mean('E') - scale * found.mean('P')
        total = [float(mtf_kernel(gain, self.ratio).sum()) for gain in self.gains]
        total = offset.new_tensor([total[g] for g in self.gain_of_band])
        return scale, offset, offset * total[:, None, None]

    def _expand_to_bands(self, statistic: Tensor) -> Tensor:
        """Repeats a statistic of each distinct gain: (B, G, ...) -> (B, C, ...)."""
        return statistic[:, self.gain_of_band]

    def _regress_on_low(self, found: NamedMoments) -> Tensor:
        """Computes cov(E_k, P_k) / var(P_k), (B, C, 1, 1)."""
        with_low = found.matrix('E', 'pan_low')  # (B, C, G)
        own = torch.stack([with_low[:, k, g] for k, g in enumerate(self.gain_of_band)], 1)
        return divide(own[..., None, None], self._expand_to_bands(found.variance('pan_low')))


class AdditivePyramid(Pyramid):
    """E_k + g_k (P - P_k) + b_k."""

    def _inject(
        self,
        e: Tensor,
        pan: Tensor,
        pan_low: Tensor,
        statistics: Mapping[str, Tensor],
        damped: bool,
    ) -> Tensor:
        detail = statistics['gains'] * (pan - pan_low)
        return e + detail.add_(statistics['bias'])


class RatioPyramid(Pyramid):
    """High-pass modulation: E_k (s_k P + a_k) / (s_k P_k + b_k), damped where that nears zero.

    The damping is that of `numerics.modulation`: s_k P_k + b_k follows E_k with a slope of 1.
    """

    def _inject(
        self,
        e: Tensor,
        pan: Tensor,
        pan_low: Tensor,
        statistics: Mapping[str, Tensor],
        damped: bool,
    ) -> Tensor:
        # Not `addcmul`, which is slow for two arguments of one value.
        sharp = (statistics['scale'] * pan).add_(statistics['offset'])
        low = (statistics['scale'] * pan_low).add_(statistics['offset_low'])
        return modulate(e, sharp, low, statistics, damped)
