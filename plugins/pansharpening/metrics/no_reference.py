"""Metrics at full resolution, from the PAN and the multispectral image alone.

All are computed in digital numbers. `lrms_up` is the batch's `lrms` upsampled by `interp23tap`,
however the system itself upsamples. A batch may hold a `mask` (B, 1, H, W) at the PAN's scale;
pixels that filters or interpolation have mixed with an invalid one are left out too.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from torch import Tensor

from plugins.pansharpening.imaging.mtf import Variant
from plugins.pansharpening.metrics import functional
from plugins.pansharpening.metrics.functional.cache import use_cache
from plugins.pansharpening.metrics.functional.upsampling import get_upsampled_mask
from plugins.pansharpening.metrics.metric_inputs import MetricInputs, get_metric_inputs
from plugins.pansharpening.metrics.reference import ImageMetric
from toolkit.errors import DataError
from toolkit.interfaces import Batch
from toolkit.ranges import Gt, Lt
from toolkit.registry import METRICS


class NoReferenceMetric(ImageMetric):
    """Scores an image by the PAN and the multispectral image alone."""

    def measure(self, outputs: Mapping[str, Any], batch: Batch) -> list[dict[str, Any]]:
        """Scores each image of a batch.

        Raises:
            DataError: the system does not give the image, or sizes, bands or sensor do not fit.
        """
        images = self._scored_images(outputs)  # (B, C, H, W)
        rows = []
        for i in range(len(images)):
            try:
                inputs = get_metric_inputs(images, batch, i, self._mask(batch, i))
                with use_cache(inputs.cache):
                    value = self.score(inputs)
            except ValueError as error:
                raise DataError(f'{self.column}: {error}') from error
            rows.append({self.column: float(value)})
        return rows

    @abstractmethod
    def score(self, inputs: MetricInputs) -> Tensor:
        """Computes the value of one image."""


class SensorMetric(NoReferenceMetric):
    """An index that sees the image through the sensor's MTF.

    Args:
        image: the scored output, 'hrms' or 'lrms_up'.
        variant: of the MTF kernels, 'toolbox' or 'grip'; None for the index's own. Another one than
            its own is part of the value's name.
        gains: MTF at Nyquist, one per band; None for those of the data's sensor.
    Attributes:
        default: variant of the MTF kernels that the index uses unless another is given.
        index: function of `functional` that computes it of image, MS, PAN, gains, ratio,
            variant and mask.
        ms: the MS that it takes, `lrms_up` or `lrms`.
    Raises:
        ValueError: an unknown variant, or gains that are not between 0 and 1.
    """

    default: ClassVar[Variant] = 'toolbox'
    index: ClassVar[Callable[..., Tensor]]
    ms: ClassVar[Literal['lrms_up', 'lrms']] = 'lrms_up'

    def __init__(
        self,
        image: str = 'hrms',
        variant: Variant | None = None,
        gains: tuple[Annotated[float, Gt(0), Lt(1)], ...] | None = None,
    ) -> None:
        super().__init__(image)
        if variant is not None and variant not in get_args(Variant):
            raise ValueError(f"variant must be 'toolbox' or 'grip', found {variant!r}")
        if gains is not None and not all(0 < gain < 1 for gain in gains):
            raise ValueError(f'MTF gains must be between 0 and 1, found {list(gains)}')
        self.variant: Variant = variant or self.default
        self.gains = None if gains is None else tuple(gains)
        if self.variant != self.default:
            self.directions = {
                f'{name}_{self.variant}': better for name, better in self.directions.items()
            }

    def score(self, inputs: MetricInputs) -> Tensor:
        x = inputs
        ms = getattr(x, self.ms)
        return self.index(x.fused, ms, x.pan, self._gains(x), x.ratio, self.variant, mask=x.mask)

    def _gains(self, inputs: MetricInputs) -> tuple[float, ...]:
        return inputs.sensor_gains() if self.gains is None else self.gains


@METRICS.register(name='D_lambda')
class DLambda(NoReferenceMetric):
    """Spectral distortion between bands, on blocks of 32; 0 is best."""

    directions: Mapping[str, bool] = {'D_lambda': False}

    def score(self, inputs: MetricInputs) -> Tensor:
        x = inputs
        mask = get_upsampled_mask(x.mask, x.fused, x.ratio)
        return functional.d_lambda(x.fused, x.lrms_up, mask=mask)


@METRICS.register(name='D_s')
class DS(NoReferenceMetric):
    """Spatial distortion against the PAN, on blocks of 32; 0 is best."""

    directions: Mapping[str, bool] = {'D_s': False}

    def score(self, inputs: MetricInputs) -> Tensor:
        x = inputs
        return functional.d_s(x.fused, x.lrms_up, x.pan, x.ratio, mask=x.mask)


@METRICS.register
class QNR(NoReferenceMetric):
    """(1 - D_lambda)(1 - D_s); 1 is best. Favours blurred images: read it beside D_rho or D_sR."""

    directions: Mapping[str, bool] = {'QNR': True}

    def score(self, inputs: MetricInputs) -> Tensor:
        x = inputs
        return functional.qnr(x.fused, x.lrms_up, x.pan, x.ratio, mask=x.mask)


@METRICS.register(name='D_lambda_K')
class DLambdaK(SensorMetric):
    """Khan's spectral distortion through the sensor's MTF, on blocks of 32; 0 is best."""

    directions: Mapping[str, bool] = {'D_lambda_K': False}

    def score(self, inputs: MetricInputs) -> Tensor:
        x = inputs
        mask = get_upsampled_mask(x.mask, x.fused, x.ratio)
        return functional.d_lambda_k(
            x.fused, x.lrms_up, self._gains(x), x.ratio, self.variant, mask=mask
        )


@METRICS.register
class HQNR(SensorMetric):
    """(1 - D_lambda_K)(1 - D_s); 1 is best. Read it beside D_rho or D_sR, which see lost detail."""

    directions: Mapping[str, bool] = {'HQNR': True}
    index = staticmethod(functional.hqnr)


@METRICS.register(name='D_sR')
class DSR(NoReferenceMetric):
    """Share of the PAN's variance that no weighted sum of the fused bands explains; 0 is best."""

    directions: Mapping[str, bool] = {'D_sR': False}

    def score(self, inputs: MetricInputs) -> Tensor:
        return functional.d_sr(inputs.fused, inputs.pan, mask=inputs.mask)


@METRICS.register
class RQNR(SensorMetric):
    """(1 - D_lambda_K)(1 - D_sR); 1 is best."""

    directions: Mapping[str, bool] = {'RQNR': True}
    index = staticmethod(functional.rqnr)


@METRICS.register(name='D_rho')
class DRho(NoReferenceMetric):
    """Lack of local correlation with the PAN, in windows as wide as the ratio; 0 is best."""

    directions: Mapping[str, bool] = {'D_rho': False}

    def score(self, inputs: MetricInputs) -> Tensor:
        return functional.d_rho(inputs.fused, inputs.pan, inputs.ratio, mask=inputs.mask)


@METRICS.register(name='HQNR_rho')
class HQNRRho(SensorMetric):
    """(1 - D_lambda_K)(1 - D_s)(1 - D_rho), to choose weights by; 1 is best.

    HQNR alone favours blurred images, and D_rho alone images with the PAN in every band.
    """

    directions: Mapping[str, bool] = {'HQNR_rho': True}
    index = staticmethod(functional.hqnr_rho)


@METRICS.register(name='offset')
class Offset(SensorMetric):
    """Misregistration in PAN pixels: the image's offset from the PAN plus that from the MS."""

    directions: Mapping[str, bool] = {'offset': False}
    index = staticmethod(functional.offset)


@METRICS.register(name='D_reg')
class DReg(SensorMetric):
    """Loss of detail to misregistration, which no shift of the PAN can lower; 0 is best."""

    directions: Mapping[str, bool] = {'D_reg': False}
    index = staticmethod(functional.d_reg)


@METRICS.register(name='HQNR_reg')
class HQNRReg(SensorMetric):
    """HQNR (1 - D_reg): HQNR that a misregistered PAN cannot raise; 1 is best."""

    directions: Mapping[str, bool] = {'HQNR_reg': True}
    index = staticmethod(functional.hqnr_reg)
