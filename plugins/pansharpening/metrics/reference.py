"""Metrics against a reference, as the toolbox defines them, and the base class of all metrics.

A batch may hold a `mask` (B, 1, H, W) at the PAN's scale, True for valid pixels; the others do not
count.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, get_args

from torch import Tensor

from plugins.pansharpening.metrics import functional
from plugins.pansharpening.metrics.functional.reference import Average, Border, Peak
from toolkit.errors import DataError
from toolkit.interfaces import Batch, Metric
from toolkit.registry import METRICS


class ImageMetric(Metric):
    """Scores one image of the system's outputs.

    Args:
        image: the scored output: 'hrms', the sharpened image, or 'lrms_up', the upsampled MS, which
            the sharpened image should surpass.
    """

    def __init__(self, image: str = 'hrms') -> None:
        self.image = image

    @property
    def column(self) -> str:
        """Name of the value in the rows."""
        return next(iter(self.directions))

    def _scored_images(self, outputs: Mapping[str, Any]) -> Tensor:
        if self.image not in outputs:
            raise DataError(
                f'{self.column} scores {self.image!r}, which the system does not give; '
                f'it gives: {", ".join(outputs)}'
            )
        return outputs[self.image]

    @staticmethod
    def _mask(batch: Batch, item: int) -> Tensor | None:
        """Returns the valid pixels of one image, (1, H, W) or (H, W), or None for all."""
        mask = batch.get('mask')
        return None if mask is None else mask[item]


class ReferenceMetric(ImageMetric):
    """Compares each image with the batch's `hrms`."""

    def measure(self, outputs: Mapping[str, Any], batch: Batch) -> list[dict[str, Any]]:
        """Scores each image of a batch.

        Raises:
            DataError: the system does not give the image, or the batch has no reference.
        """
        name = self.column
        images = self._scored_images(outputs).detach()  # (B, C, H, W)
        if 'hrms' not in batch:
            raise DataError(
                f'{name} compares with a reference, and these data have none; test with '
                "WholeScene(protocol='reduced'), or on a simulated scene"
            )
        references = batch['hrms']
        if references.shape != images.shape:
            raise DataError(
                f'{name}: found {self.image} of shape {tuple(images.shape)} and a reference of '
                f'shape {tuple(references.shape)}; expected the same'
            )
        rows = []
        for i, (image, reference, meta) in enumerate(zip(images, references, batch['meta'])):
            try:
                value = self.score(image, reference, meta, self._mask(batch, i))
            except ValueError as error:  # the size of a mask or an image does not suit the index
                raise DataError(f'{name}: {error}') from error
            rows.append({self.column: float(value)})
        return rows

    @abstractmethod
    def score(
        self, image: Tensor, reference: Tensor, meta: Mapping[str, Any], mask: Tensor | None
    ) -> Tensor:
        """Computes the value of one image (C, H, W), scaled as the reference is."""


@METRICS.register
class SAM(ReferenceMetric):
    """Spectral angle mapper in degrees; 0 is best."""

    directions: ClassVar[Mapping[str, bool]] = {'SAM': False}

    def score(
        self, image: Tensor, reference: Tensor, meta: Mapping[str, Any], mask: Tensor | None
    ) -> Tensor:
        return functional.sam(image, reference, mask)


@METRICS.register
class ERGAS(ReferenceMetric):
    """Relative dimensionless global error of synthesis; 0 is best."""

    directions: ClassVar[Mapping[str, bool]] = {'ERGAS': False}

    def score(
        self, image: Tensor, reference: Tensor, meta: Mapping[str, Any], mask: Tensor | None
    ) -> Tensor:
        return functional.ergas(image, reference, int(meta['ratio']), mask)


@METRICS.register
class Q2n(ReferenceMetric):
    """Q4 or Q8, the hypercomplex quality index on blocks of 32, in digital numbers; 1 is best."""

    directions: ClassVar[Mapping[str, bool]] = {'Q2n': True}

    def score(
        self, image: Tensor, reference: Tensor, meta: Mapping[str, Any], mask: Tensor | None
    ) -> Tensor:
        scale = float(meta['scale'])
        return functional.q2n(image.double() * scale, reference.double() * scale, mask=mask)


@METRICS.register
class Q(ReferenceMetric):
    """Universal quality index of Wang and Bovik in windows of 32, mean over bands; 1 is best."""

    directions: ClassVar[Mapping[str, bool]] = {'Q': True}

    def score(
        self, image: Tensor, reference: Tensor, meta: Mapping[str, Any], mask: Tensor | None
    ) -> Tensor:
        return functional.q(image, reference, mask=mask)


@METRICS.register
class PSNR(ReferenceMetric):
    """Peak signal-to-noise ratio in decibels, peak at full scale; higher is better.

    Args:
        average: 'image' takes the error of all bands together; 'bands' averages the bands' ratios
            and names the value `PSNR_bands`.
        peak: 'scale' is the largest digital number; 'reference' is the largest of the reference,
            and names the value `PSNR_peak`.
    """

    directions: Mapping[str, bool] = {'PSNR': True}

    def __init__(
        self, image: str = 'hrms', average: Average = 'image', peak: Peak = 'scale'
    ) -> None:
        super().__init__(image)
        for name, value, known in (('average', average, Average), ('peak', peak, Peak)):
            if value not in get_args(known):
                raise ValueError(f'{name} must be {" or ".join(get_args(known))}, found {value!r}')
        self.average: Average = average
        self.peak: Peak = peak
        suffix = '_bands' * (average == 'bands') + '_peak' * (peak == 'reference')
        self.directions = {f'PSNR{suffix}': True}

    def score(
        self, image: Tensor, reference: Tensor, meta: Mapping[str, Any], mask: Tensor | None
    ) -> Tensor:
        peak = 1.0 if self.peak == 'scale' else None
        return functional.psnr(image, reference, peak, mask, self.average)


@METRICS.register
class SSIM(ReferenceMetric):
    """Structural similarity, Gaussian windows, mean over bands, full scale as range; 1 is best."""

    directions: ClassVar[Mapping[str, bool]] = {'SSIM': True}

    def score(
        self, image: Tensor, reference: Tensor, meta: Mapping[str, Any], mask: Tensor | None
    ) -> Tensor:
        return functional.ssim(image, reference, 1.0, mask)


@METRICS.register
class RMSE(ReferenceMetric):
    """Root mean squared error over pixels and bands, in digital numbers; 0 is best."""

    directions: ClassVar[Mapping[str, bool]] = {'RMSE': False}

    def score(
        self, image: Tensor, reference: Tensor, meta: Mapping[str, Any], mask: Tensor | None
    ) -> Tensor:
        return float(meta['scale']) * functional.rmse(image, reference, mask)


@METRICS.register
class SCC(ReferenceMetric):
    """Spatial correlation of Sobel gradients; 1 is best.

    Args:
        border: 'zero' as in the toolbox, or 'interior', which leaves the biased border out and
            names the value `SCC_interior`.
    """

    directions: Mapping[str, bool] = {'SCC': True}

    def __init__(self, image: str = 'hrms', border: Border = 'zero') -> None:
        super().__init__(image)
        if border not in get_args(Border):
            raise ValueError(f"border must be 'zero' or 'interior', found {border!r}")
        self.border: Border = border
        self.directions = {'SCC' if border == 'zero' else 'SCC_interior': True}

    def score(
        self, image: Tensor, reference: Tensor, meta: Mapping[str, Any], mask: Tensor | None
    ) -> Tensor:
        return functional.scc(image, reference, self.border, mask)


@METRICS.register
class ZeroFraction(ImageMetric):
    """Share of values that are exactly zero, to which a network that ends in a ReLU may collapse.

    Needs no reference.
    """

    directions: ClassVar[Mapping[str, bool]] = {'ZeroFraction': False}

    def measure(self, outputs: Mapping[str, Any], batch: Batch) -> list[dict[str, Any]]:
        """Scores each image of a batch."""
        images = self._scored_images(outputs)  # (B, C, H, W)
        return [{'ZeroFraction': float((image == 0).double().mean())} for image in images]
