"""BDSD: details are the combination of bands and PAN that fits best at reduced resolution."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from plugins.classical.numerics.filters import decimate_by_mtf, filter_by_mtf
from plugins.classical.numerics.named_moments import NamedMoments
from plugins.classical.numerics.statistics import combine, regress, regress_signed
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.mtf import KERNEL_SIZE
from plugins.pansharpening.imaging.resample import imresized_by
from plugins.pansharpening.imaging.streaming_statistics import Moments
from plugins.pansharpening.imaging.two_pass_generator import TwoPassGenerator
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.sensors import SensorSpec, get_sensor
from plugins.pansharpening.scenes.window import Window


@GENERATORS.register(name='BDSD')
class BDSD(TwoPassGenerator):
    """Band-dependent spatial detail, one estimate for the whole image.

    E_k + sum_j g_kj E_j + g_kP P. The weights g are the least-squares weights that, at reduced
    resolution and with all images low-passed, restore the details that the sensor's MTF removes
    from the bands. The bands at their own resolution are `imresize` of `lrms_up`, not its samples,
    as in the toolbox.

    Args:
        sensor: sensor (see `get_sensor`), for the MTF gains of its bands and its PAN.
    Raises:
        ValueError: no such sensor.
        DataError: the sensor has another number of bands.
    Source: Garzelli, Nencini and Capobianco, "Optimal MMSE pan sharpening of very high resolution
        multispectral images", IEEE TGRS 46(1), 2008.
    """

    margin = 160

    def __init__(self, bands: int, ratio: int, sensor: SensorSpec = 'generic') -> None:
        super().__init__(bands, ratio)
        self.sensor = get_sensor(sensor)
        self.ms_gains, self.pan_gain = self.sensor.gains(bands), self.sensor.pan_gain

    def measure(self, lrms_up: LazyImage, pan: LazyImage, window: Window) -> dict[str, Tensor]:
        coarse = lrms_up.derived(('bdsd', id(self)), lambda e: self._reduce(e, pan))
        return {'low': coarse.read(window.reduced(self.ratio))}

    def _reduce(self, lrms_up: LazyImage, pan: LazyImage) -> LazyImage:
        """Reduces the images: blurred bands, blurred PAN, and the bands minus the blurred ones.

        Computed once for the current area of the scene.
        """
        area = lrms_up.area.reduced(self.ratio)
        low = imresized_by(lrms_up, self.ratio).kept(area, KERNEL_SIZE)

        def read(window: Window) -> Tensor:
            bands = low.read(window)  # (B, C, h, w)
            blurred = torch.empty_like(bands)
            for gain in dict.fromkeys(self.ms_gains):
                same = [k for k, g in enumerate(self.ms_gains) if g == gain]
                chosen = LazyImage(low.shape, lambda part, same=same: low.read(part)[:, same])
                blurred[:, same] = filter_by_mtf(chosen, gain, self.ratio).read(window)
            pan_low = decimate_by_mtf(pan, [self.pan_gain], self.ratio).read(window)
            return torch.cat([blurred, pan_low, bands - blurred], 1)  # (B, 2 C + 1, h, w)

        return LazyImage(low.shape, read).kept(area, 0)

    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        found = NamedMoments(moments['low'], images=self.bands + 1, detail=self.bands)
        gram, cross = found.raw('images', 'images'), found.raw('images', 'detail')
        return {'weights': self._regress(gram, cross)}  # (B, C + 1, C)

    def fuse(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        e = lrms_up.read(window)  # (B, C, h, w)
        return e + combine(torch.cat([e, pan.read(window)], 1), statistics['weights'])

    def _regress(self, gram: Tensor, cross: Tensor) -> Tensor:
        return regress(gram, cross)


@GENERATORS.register(name='BDSD-PC')
class BDSDPC(BDSD):
    """BDSD with physical constraints: the weight of the PAN is >= 0, those of the bands <= 0.

    Source: Vivone, "Robust band-dependent spatial-detail approaches for panchromatic sharpening",
        IEEE TGRS 57(9), 2019.
    """

    def _regress(self, gram: Tensor, cross: Tensor) -> Tensor:
        signs = -torch.ones(gram.shape[1], device=gram.device)
        signs[-1] = 1
        return regress_signed(gram, cross, signs)
