"""Metrics of sharpened images; those against a reference follow the toolbox's definitions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from plugins.pansharpening import indices
from toolkit.errors import DataError
from toolkit.interfaces import Batch, Metric
from toolkit.registry import METRICS


class _ImageMetric(Metric):
    """Scores one of the system's images.

    Args:
        image: which of the system's outputs: 'hrms', the sharpened image, or 'lrms_up', the plain
            upsampling that it is to be better than.
    """

    def __init__(self, image: str = 'hrms') -> None:
        self.image = image

    def _scored(self, outputs: Mapping[str, Any]) -> Tensor:
        if self.image not in outputs:
            raise DataError(
                f'{type(self).__name__} scores {self.image!r}, which the system does not give; '
                f'it gives: {", ".join(outputs)}'
            )
        return outputs[self.image].detach()


class _ReferenceMetric(_ImageMetric):
    """Compares with the batch's `hrms`, image by image."""

    def measure(self, outputs: Mapping[str, Any], batch: Batch) -> list[dict[str, Any]]:
        """One row per image.

        Raises:
            DataError: the system does not give the image, or the batch has no reference.
        """
        name = type(self).__name__
        images = self._scored(outputs)  # (B, C, H, W)
        if 'hrms' not in batch:
            raise DataError(
                f'{name} compares with a reference, which these data have not; test with '
                "WholeScene(protocol='reduced'), or on a simulated scene"
            )
        references = batch['hrms']
        if references.shape != images.shape:
            raise DataError(
                f'{name}: found {self.image} of shape {tuple(images.shape)} and a reference of '
                f'shape {tuple(references.shape)}; expected the same'
            )
        return [
            {name: float(self.score(image, reference, meta))}
            for image, reference, meta in zip(images, references, batch['meta'])
        ]

    @abstractmethod
    def score(self, image: Tensor, reference: Tensor, meta: Mapping[str, Any]) -> Tensor:
        """The value of one image (C, H, W), scaled as the reference is."""


@METRICS.register
class SAM(_ReferenceMetric):
    """Spectral angle mapper in degrees; 0 is best.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
    """

    directions: ClassVar[Mapping[str, bool]] = {'SAM': False}

    def score(self, image: Tensor, reference: Tensor, meta: Mapping[str, Any]) -> Tensor:
        return indices.sam(image, reference)


@METRICS.register
class ERGAS(_ReferenceMetric):
    """Relative dimensionless global error of synthesis; 0 is best.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
    """

    directions: ClassVar[Mapping[str, bool]] = {'ERGAS': False}

    def score(self, image: Tensor, reference: Tensor, meta: Mapping[str, Any]) -> Tensor:
        return indices.ergas(image, reference, int(meta['ratio']))


@METRICS.register
class Q2n(_ReferenceMetric):
    """Q4 or Q8, the hypercomplex quality index on blocks of 32, in digital numbers; 1 is best.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
    """

    directions: ClassVar[Mapping[str, bool]] = {'Q2n': True}

    def score(self, image: Tensor, reference: Tensor, meta: Mapping[str, Any]) -> Tensor:
        scale = float(meta['scale'])
        return indices.q2n(image.double() * scale, reference.double() * scale)


@METRICS.register
class ZeroFraction(_ImageMetric):
    """Share of values that are exactly zero: a network that ends in a ReLU may collapse to them.

    Needs no reference.

    Args:
        image: output that is scored, 'hrms' or 'lrms_up'.
    """

    directions: ClassVar[Mapping[str, bool]] = {'ZeroFraction': False}

    def measure(self, outputs: Mapping[str, Any], batch: Batch) -> list[dict[str, Any]]:
        """One row per image."""
        images = self._scored(outputs)  # (B, C, H, W)
        return [{'ZeroFraction': float((image == 0).double().mean())} for image in images]
