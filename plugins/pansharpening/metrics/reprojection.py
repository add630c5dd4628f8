"""Metrics of the sharpened image reprojected to the multispectral scale, against what was given.

They need no reference. Each band is aligned with the PAN by whole PAN pixels first; the kernels are
those of the evaluation tool (variant `grip`) where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from plugins.pansharpening.imaging.mtf import Variant
from plugins.pansharpening.metrics import functional
from plugins.pansharpening.metrics.functional.reprojection import q_extended
from plugins.pansharpening.metrics.metric_inputs import ScoredImage
from plugins.pansharpening.metrics.no_reference import SensorMetric
from toolkit.registry import METRICS


class _ReprojectedMetric(SensorMetric):
    """An index of the reprojected image."""

    default: ClassVar[Variant] = 'grip'

    def _reprojected(self, image: ScoredImage) -> tuple[Tensor, Tensor, Tensor | None]:
        """Image, what was given, and the valid pixels, at the multispectral scale."""
        low, valid = image.reprojected(*self._mtf(image))
        return low, image.lrms, None if valid is None else valid[0, 0]


@METRICS.register(name='R_SAM')
class RSAM(_ReprojectedMetric):
    """Spectral angle in degrees of the reprojected image; 0 is best.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
        variant: of the MTF kernels, 'grip' where None; the other is part of the value's name.
        gains: MTF at Nyquist, one per band; those of the data's sensor where None.
    """

    directions: Mapping[str, bool] = {'R_SAM': False}

    def score(self, image: ScoredImage) -> Tensor:
        low, given, valid = self._reprojected(image)
        return functional.sam(low, given, valid)


@METRICS.register(name='R_ERGAS')
class RERGAS(_ReprojectedMetric):
    """ERGAS of the reprojected image; 0 is best.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
        variant: of the MTF kernels, 'grip' where None; the other is part of the value's name.
        gains: MTF at Nyquist, one per band; those of the data's sensor where None.
    """

    directions: Mapping[str, bool] = {'R_ERGAS': False}

    def score(self, image: ScoredImage) -> Tensor:
        low, given, valid = self._reprojected(image)
        return functional.ergas(low, given, image.ratio, valid)


@METRICS.register(name='R_Q2n')
class RQ2n(_ReprojectedMetric):
    """Q4 or Q8 of the reprojected image, on blocks of 32; 1 is best.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
        variant: of the MTF kernels, 'grip' where None; the other is part of the value's name.
        gains: MTF at Nyquist, one per band; those of the data's sensor where None.
    """

    directions: Mapping[str, bool] = {'R_Q2n': True}

    def score(self, image: ScoredImage) -> Tensor:
        low, given, valid = self._reprojected(image)
        return functional.q2n(low, given, mask=valid, rounded=False)


@METRICS.register(name='R_Q')
class RQ(_ReprojectedMetric):
    """Universal quality index of the reprojected image, windows of 32 pixels; 1 is best.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
        variant: of the MTF kernels, 'grip' where None; the other is part of the value's name.
        gains: MTF at Nyquist, one per band; those of the data's sensor where None.
    """

    directions: Mapping[str, bool] = {'R_Q': True}

    def score(self, image: ScoredImage) -> Tensor:
        low, given, valid = self._reprojected(image)
        return q_extended(low, given, 32, valid)


@METRICS.register(name='D_lambda_align')
class DLambdaAlign(_ReprojectedMetric):
    """Khan's spectral distortion after alignment, 1 - R_Q2n; 0 is best.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
        variant: of the MTF kernels, 'grip' where None; the other is part of the value's name.
        gains: MTF at Nyquist, one per band; those of the data's sensor where None.
    """

    directions: Mapping[str, bool] = {'D_lambda_align': False}

    def score(self, image: ScoredImage) -> Tensor:
        low, given, valid = self._reprojected(image)
        return 1 - functional.q2n(low, given, mask=valid, rounded=False)
