"""Metrics at full resolution: they need no reference, only the PAN and the multispectral image.

All are computed in digital numbers. `lrms_up` is what `interp23tap` makes of the batch's `lrms`,
whatever the system itself upsamples with. A batch may hold a `mask` (B, 1, H, W) at the PAN's
scale; what filters and interpolation have mixed with an invalid pixel is left out too.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, get_args

from torch import Tensor

from plugins.pansharpening.imaging.mtf import Variant
from plugins.pansharpening.metrics.metric_inputs import ScoredImage, scored_image
from plugins.pansharpening.metrics.reference import ImageMetric
from toolkit.errors import DataError
from toolkit.interfaces import Batch
from toolkit.registry import METRICS


class _FullMetric(ImageMetric):
    """Scores an image by the PAN and the multispectral image alone."""

    def measure(self, outputs: Mapping[str, Any], batch: Batch) -> list[dict[str, Any]]:
        """One row per image.

        Raises:
            DataError: the system does not give the image, or sizes, bands or sensor do not fit.
        """
        images = self._scored(outputs)  # (B, C, H, W)
        rows = []
        for i in range(len(images)):
            try:
                value = self.score(scored_image(images, batch, i, self._mask(batch, i)))
            except ValueError as error:
                raise DataError(f'{self.column}: {error}') from error
            rows.append({self.column: float(value)})
        return rows

    @abstractmethod
    def score(self, image: ScoredImage) -> Tensor:
        """The value of one image."""


class SensorMetric(_FullMetric):
    """An index that sees the image through the sensor's MTF.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
        variant: of the MTF kernels; another than the default is part of the value's name.
        gains: MTF at Nyquist, one per band; the sensor's of the data where None.
    """

    default: ClassVar[Variant] = 'toolbox'

    def __init__(
        self,
        image: str = 'hrms',
        variant: Variant | None = None,
        gains: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__(image)
        if variant is not None and variant not in get_args(Variant):
            raise ValueError(f"variant must be 'toolbox' or 'grip', found {variant!r}")
        if gains is not None and not all(0 < gain < 1 for gain in gains):
            raise ValueError(f'an MTF gain lies between 0 and 1, found {list(gains)}')
        self.variant: Variant = variant or self.default
        self._given = None if gains is None else tuple(gains)
        if self.variant != self.default:
            self.directions = {
                f'{name}_{self.variant}': better for name, better in self.directions.items()
            }

    def _mtf(self, image: ScoredImage) -> tuple[tuple[float, ...], Variant]:
        return image.gains(self._given), self.variant


@METRICS.register(name='D_lambda')
class DLambda(_FullMetric):
    """Spectral distortion between bands, on blocks of 32; 0 is best.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
    """

    directions: Mapping[str, bool] = {'D_lambda': False}

    def score(self, image: ScoredImage) -> Tensor:
        return image.d_lambda()


@METRICS.register(name='D_s')
class DS(_FullMetric):
    """Spatial distortion against the PAN, on blocks of 32; 0 is best.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
    """

    directions: Mapping[str, bool] = {'D_s': False}

    def score(self, image: ScoredImage) -> Tensor:
        return image.d_s()


@METRICS.register
class QNR(_FullMetric):
    """(1 - D_lambda)(1 - D_s); 1 is best. Likes blurred images: read it beside D_rho or D_sR.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
    """

    directions: Mapping[str, bool] = {'QNR': True}

    def score(self, image: ScoredImage) -> Tensor:
        return (1 - image.d_lambda()) * (1 - image.d_s())


@METRICS.register(name='D_lambda_K')
class DLambdaK(SensorMetric):
    """Khan's spectral distortion through the sensor's MTF, on blocks of 32; 0 is best.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
        variant: of the MTF kernels, 'toolbox' where None; the other is part of the value's name.
        gains: MTF at Nyquist, one per band; those of the data's sensor where None.
    """

    directions: Mapping[str, bool] = {'D_lambda_K': False}

    def score(self, image: ScoredImage) -> Tensor:
        return image.d_lambda_k(*self._mtf(image))


@METRICS.register
class HQNR(SensorMetric):
    """(1 - D_lambda_K)(1 - D_s); 1 is best. Read it beside D_rho or D_sR, which see lost detail.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
        variant: of the MTF kernels, 'toolbox' where None; the other is part of the value's name.
        gains: MTF at Nyquist, one per band; those of the data's sensor where None.
    """

    directions: Mapping[str, bool] = {'HQNR': True}

    def score(self, image: ScoredImage) -> Tensor:
        return (1 - image.d_lambda_k(*self._mtf(image))) * (1 - image.d_s())


@METRICS.register(name='D_sR')
class DSR(_FullMetric):
    """Share of the PAN that no mix of the fused bands explains; 0 is best.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
    """

    directions: Mapping[str, bool] = {'D_sR': False}

    def score(self, image: ScoredImage) -> Tensor:
        return image.d_sr()


@METRICS.register
class RQNR(SensorMetric):
    """(1 - D_lambda_K)(1 - D_sR); 1 is best.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
        variant: of the MTF kernels, 'toolbox' where None; the other is part of the value's name.
        gains: MTF at Nyquist, one per band; those of the data's sensor where None.
    """

    directions: Mapping[str, bool] = {'RQNR': True}

    def score(self, image: ScoredImage) -> Tensor:
        return (1 - image.d_lambda_k(*self._mtf(image))) * (1 - image.d_sr())


@METRICS.register(name='D_rho')
class DRho(_FullMetric):
    """Lack of local correlation with the PAN, in windows as wide as the ratio; 0 is best.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
    """

    directions: Mapping[str, bool] = {'D_rho': False}

    def score(self, image: ScoredImage) -> Tensor:
        return image.d_rho()


@METRICS.register(name='HQNR_rho')
class HQNRRho(SensorMetric):
    """(1 - D_lambda_K)(1 - D_s)(1 - D_rho), to choose weights by; 1 is best.

    HQNR alone likes blurred images, and D_rho alone those that are the PAN in every band.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
        variant: of the MTF kernels, 'toolbox' where None; the other is part of the value's name.
        gains: MTF at Nyquist, one per band; those of the data's sensor where None.
    """

    directions: Mapping[str, bool] = {'HQNR_rho': True}

    def score(self, image: ScoredImage) -> Tensor:
        hqnr = (1 - image.d_lambda_k(*self._mtf(image))) * (1 - image.d_s())
        return hqnr * (1 - image.d_rho())
