"""What the metrics of one image share: it is computed once, whichever of them asks first."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from plugins.pansharpening.imaging.masks import blank, coarse, shrink, valid_pixels
from plugins.pansharpening.imaging.mtf import Variant
from plugins.pansharpening.metrics import functional
from plugins.pansharpening.metrics.functional.no_reference import interpolation_reach, upsampled
from plugins.pansharpening.scenes.sensors import sensor
from toolkit.interfaces import Batch

KEYS = ('lrms', 'pan')

# What has been computed of each scored image, for the other metrics; goes when the image does.
_IMAGES: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


class ScoredImage:
    """One image of a batch in digital numbers; what several indices share is computed once.

    Args:
        fused: (C, H, W), the scored image.
        batch: with `lrms`, `pan` and `meta`.
        index: which of the batch's items.
        mask: valid pixels at PAN scale, or None.
    """

    def __init__(self, fused: Tensor, batch: Batch, index: int, mask: Tensor | None) -> None:
        self.meta = batch['meta'][index]
        scale = float(self.meta['scale'])
        self.ratio = int(self.meta['ratio'])
        self.lrms, self.pan = (batch[key][index].detach().double() * scale for key in KEYS)
        self.fused = fused.detach().double() * scale
        self.mask = valid_pixels(mask, self.fused[None])  # (1, 1, H, W)
        # What nodata hold, NaN perhaps, is not to be spread by the interpolation.
        self.lrms = blank(self.lrms[None], coarse(self.mask, self.ratio))[0]
        self._values: dict[Any, Any] = {}

    @functools.cached_property
    def lrms_up(self) -> Tensor:
        return upsampled(self.lrms[None], self.ratio)[0]  # (C, H, W)

    @functools.cached_property
    def mask_up(self) -> Tensor | None:
        """The mask without what the interpolation has mixed with invalid pixels."""
        return shrink(self.mask, interpolation_reach(self.ratio) * self.ratio)

    def gains(self, given: tuple[float, ...] | None) -> tuple[float, ...]:
        """The MTF gains that a metric was given, or the sensor's own."""
        if given is not None:
            return given
        return sensor(str(self.meta.get('sensor'))).gains(self.lrms.shape[0])

    def once(self, key: Any, compute: Callable[[], Any]) -> Any:
        """The value of that key, computed on first use."""
        if key not in self._values:
            self._values[key] = compute()
        return self._values[key]

    def d_lambda(self) -> Tensor:
        return self.once(
            'D_lambda',
            lambda: functional.d_lambda(self.fused, self.lrms_up, mask=self._flat(self.mask_up)),
        )

    def d_s(self) -> Tensor:
        return self.once(
            'D_s',
            lambda: functional.d_s(
                self.fused, self.lrms_up, self.pan, self.ratio, mask=self._flat(self.mask)
            ),
        )

    def d_lambda_k(self, gains: tuple[float, ...], variant: Variant) -> Tensor:
        return self.once(
            ('D_lambda_K', gains, variant),
            lambda: functional.d_lambda_k(
                self.fused, self.lrms_up, gains, self.ratio, variant, mask=self._flat(self.mask_up)
            ),
        )

    def d_sr(self) -> Tensor:
        return self.once(
            'D_sR', lambda: functional.d_sr(self.fused, self.pan, mask=self._flat(self.mask))
        )

    def d_rho(self) -> Tensor:
        return functional.d_rho(self.fused, self.pan, self.ratio, mask=self._flat(self.mask))

    def reprojected(
        self, gains: tuple[float, ...], variant: Variant
    ) -> tuple[Tensor, Tensor | None]:
        """(C, h, w) in digital numbers, and its valid pixels."""
        return self.once(
            ('reprojected', gains, variant),
            lambda: functional.reproject(
                self.fused, self.lrms, self.pan, gains, self.ratio, variant, self._flat(self.mask)
            ),
        )

    @staticmethod
    def _flat(mask: Tensor | None) -> Tensor | None:
        return None if mask is None else mask[0, 0]


def scored_image(fused: Tensor, batch: Batch, index: int, mask: Tensor | None) -> ScoredImage:
    """The `ScoredImage` of one image of a batch, the same for all metrics that score it.

    Args:
        fused: (B, C, H, W), the system's output itself, which is not changed afterwards.
    """
    source = tuple(batch.get(key) for key in (*KEYS, 'mask'))
    known = _IMAGES.get(fused)
    if known is None or any(a is not b for a, b in zip(known[0], source)):
        known = (source, {})
        _IMAGES[fused] = known
    if index not in known[1]:
        known[1][index] = ScoredImage(fused[index], batch, index, mask)
    return known[1][index]
