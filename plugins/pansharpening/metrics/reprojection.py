"""Metrics of the sharpened image reprojected to the multispectral scale, against the given image.

They need no reference. Each band is aligned with the PAN by whole PAN pixels first; the kernels are
those of the evaluation tool (variant `grip`) unless stated otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from plugins.pansharpening.imaging.mtf import Variant
from plugins.pansharpening.metrics import functional
from plugins.pansharpening.metrics.no_reference import SensorMetric
from toolkit.registry import METRICS


class ReprojectedMetric(SensorMetric):
    """An index of the reprojected image."""

    default: ClassVar[Variant] = 'grip'
    ms: ClassVar[Literal['lrms_up', 'lrms']] = 'lrms'


@METRICS.register(name='R_SAM')
class RSAM(ReprojectedMetric):
    """Spectral angle in degrees of the reprojected image; 0 is best."""

    directions: Mapping[str, bool] = {'R_SAM': False}
    index = staticmethod(functional.r_sam)


@METRICS.register(name='R_ERGAS')
class RERGAS(ReprojectedMetric):
    """ERGAS of the reprojected image; 0 is best."""

    directions: Mapping[str, bool] = {'R_ERGAS': False}
    index = staticmethod(functional.r_ergas)


@METRICS.register(name='R_Q2n')
class RQ2n(ReprojectedMetric):
    """Q4 or Q8 of the reprojected image, on blocks of 32; 1 is best."""

    directions: Mapping[str, bool] = {'R_Q2n': True}
    index = staticmethod(functional.r_q2n)


@METRICS.register(name='R_Q')
class RQ(ReprojectedMetric):
    """Universal quality index of the reprojected image, windows of 32 pixels; 1 is best."""

    directions: Mapping[str, bool] = {'R_Q': True}
    index = staticmethod(functional.r_q)


@METRICS.register(name='D_lambda_align')
class DLambdaAlign(ReprojectedMetric):
    """Khan's spectral distortion after alignment, 1 - R_Q2n; 0 is best."""

    directions: Mapping[str, bool] = {'D_lambda_align': False}
    index = staticmethod(functional.d_lambda_align)
