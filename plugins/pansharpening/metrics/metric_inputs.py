"""Inputs of the metrics without a reference, made once per image and shared by all of them."""

from __future__ import annotations

import functools

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from plugins.pansharpening.imaging.masks import blank, coarse, valid_pixels
from plugins.pansharpening.metrics.functional.cache import Cache
from plugins.pansharpening.metrics.functional.upsampling import upsample_lrms
from plugins.pansharpening.scenes.sensors import get_sensor
from toolkit.interfaces import Batch

KEYS = ('lrms', 'pan')

# Inputs by scored batch of images, until that is deleted.
_INPUTS: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


class MetricInputs:
    """One scored image with its MS, PAN and mask, in digital numbers.

    Args:
        fused: (C, H, W), the scored image.
        batch: with `lrms`, `pan` and `meta`.
        index: of the image in the batch.
        mask: valid pixels at PAN scale, or None.

    Attributes:
        cache: intermediate results of the indices, see `functional.cache`.
    """

    def __init__(self, fused: Tensor, batch: Batch, index: int, mask: Tensor | None) -> None:
        self.meta = batch['meta'][index]
        scale = float(self.meta['scale'])
        self.ratio = int(self.meta['ratio'])
        self.lrms, self.pan = (batch[key][index].detach().double() * scale for key in KEYS)
        self.fused = fused.detach().double() * scale
        self.mask = valid_pixels(mask, self.fused[None])  # (1, 1, H, W)
        # Interpolation must not spread the values of nodata pixels, which may be NaN.
        self.lrms = blank(self.lrms[None], coarse(self.mask, self.ratio))[0]
        self.cache: Cache = {}

    @functools.cached_property
    def lrms_up(self) -> Tensor:
        """(C, H, W), interpolated as `functional.no_reference` expects it."""
        return upsample_lrms(self.lrms[None], self.ratio)[0]

    def sensor_gains(self) -> tuple[float, ...]:
        """MTF at Nyquist of the sensor that the batch names, one per band.

        Raises:
            ValueError: no such sensor.
            DataError: the sensor has another number of bands.
        """
        return get_sensor(str(self.meta.get('sensor'))).gains(self.lrms.shape[0])


def get_metric_inputs(fused: Tensor, batch: Batch, index: int, mask: Tensor | None) -> MetricInputs:
    """Returns the `MetricInputs` of one image of a batch, the same for all metrics that score it.

    Args:
        fused: (B, C, H, W), the system's output itself, which is not changed afterwards.
        batch: with `lrms`, `pan` and `meta`.
        index: of the image in the batch.
        mask: valid pixels at PAN scale, or None.
    """
    source = tuple(batch.get(key) for key in (*KEYS, 'mask'))
    known = _INPUTS.get(fused)
    if known is None or any(a is not b for a, b in zip(known[0], source)):
        known = (source, {})
        _INPUTS[fused] = known
    if index not in known[1]:
        known[1][index] = MetricInputs(fused[index], batch, index, mask)
    return known[1][index]
