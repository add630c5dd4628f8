"""Augmentation with transforms of torchvision, and crops around boxes."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor
from torchvision.transforms import v2

from plugins.classification.transforms.arguments import (
    validate_amount,
    validate_probability,
    validate_range,
)
from plugins.classification.transforms.pipeline import ImageTransform, PixelTransform, Sample
from toolkit.errors import DataError
from toolkit.ranges import Ge, Le, NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from toolkit.registry import TRANSFORMS

# -- geometry ------------------------------------------------------------------------------------


@TRANSFORMS.register
class RandomFlip(PixelTransform):
    """Flips an image at random.

    Args:
        horizontal: probability of a left-right flip.
        vertical: probability of a top-bottom flip, which moves the skin to the bottom of a scan.
    Raises:
        ValueError: a probability is not in [0, 1].
    """

    def __init__(self, horizontal: Probability = 0.5, vertical: Probability = 0.0) -> None:
        self.horizontal = validate_probability('horizontal', horizontal)
        self.vertical = validate_probability('vertical', vertical)

    def apply(self, image: Tensor) -> Tensor:
        across, down = torch.rand(2).tolist()
        axes = [-1] * (across < self.horizontal) + [-2] * (down < self.vertical)
        return image.flip(axes) if axes else image


@TRANSFORMS.register
class RandomAffine(PixelTransform):
    """Rotates, translates, scales and shears an image; pixels from outside the image are black.

    Args:
        degrees: largest rotation in either direction.
        translate: largest translation along each axis, relative to the side.
        scale: range of the factor.
        shear: largest shear in degrees in either direction.
    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        degrees: NonNegativeFloat = 10.0,
        translate: Probability = 0.05,
        scale: tuple[PositiveFloat, PositiveFloat] = (0.9, 1.1),
        shear: NonNegativeFloat = 0.0,
    ) -> None:
        self.degrees = validate_amount('degrees', degrees, 180)
        self.translate = validate_amount('translate', translate, 1)
        self.scale = validate_range('scale', scale, 0.01)
        self.shear = validate_amount('shear', shear, 89)
        self._transform = v2.RandomAffine(
            degrees,
            translate=(translate, translate),
            scale=self.scale,
            shear=shear or None,
            interpolation=v2.InterpolationMode.BILINEAR,
        )

    def apply(self, image: Tensor) -> Tensor:
        return self._transform(image)


@TRANSFORMS.register
class RandomResizedCrop(PixelTransform):
    """Crops a random part of an image and resizes it to the size of the image.

    Args:
        scale: range of the area of the crop, relative to the image.
        ratio: range of width by height of the crop.
    Raises:
        ValueError: a range is not valid.
    """

    def __init__(
        self,
        scale: tuple[PositiveFloat, PositiveFloat] = (0.6, 1.0),
        ratio: tuple[PositiveFloat, PositiveFloat] = (0.75, 1.333),
    ) -> None:
        self.scale = validate_range('scale', scale, 0.01, 1)
        self.ratio = validate_range('ratio', ratio, 0.01)

    def apply(self, image: Tensor) -> Tensor:
        size = list(image.shape[-2:])
        return v2.RandomResizedCrop(size, self.scale, self.ratio, antialias=True)(image)


@TRANSFORMS.register
class BoxCrop(ImageTransform):
    """Crops an image to its boxes with a margin. It is not random.

    A network can see from the crop alone whether an image had a box. Use `missing: whole` only for
    data in which the existence of a box does not depend on the class.

    Args:
        margin: margin on each side, relative to the longer side of the box.
        boxes: 'all' to include all boxes of an image, 'largest' for one box.
        square: extend the shorter side to the longer one, within the image.
        missing: 'error' for images without a box, or 'whole' to keep the whole image.
    Raises:
        ValueError: margin is below 0.
        DataError: an image has no box, or its boxes are outside of the image.
    """

    random = False
    native = True
    uses_labels = False

    def __init__(
        self,
        margin: NonNegativeFloat = 0.25,
        boxes: Literal['all', 'largest'] = 'all',
        square: bool = True,
        missing: Literal['error', 'whole'] = 'error',
    ) -> None:
        self.margin = validate_amount('margin', margin)
        self.boxes, self.square, self.missing = boxes, square, missing

    def __call__(self, sample: Sample) -> Sample:
        boxes = sample['boxes']
        if not boxes:
            if self.missing == 'whole':
                return sample
            raise DataError(
                'it has no box to crop to; remove it, or keep the whole image with `missing: whole`'
            )
        height, width = sample['image'].shape[-2:]
        clipped = [(a, b, min(c, width), min(d, height)) for a, b, c, d in boxes]
        inside = tuple(box for box in clipped if box[0] < box[2] and box[1] < box[3])
        if not inside:
            raise DataError(f'its box {boxes[0]} lies outside of its {width} x {height} pixels')
        x0, y0, x1, y1 = self._around(inside, height, width)
        moved = tuple((a - x0, b - y0, c - x0, d - y0) for a, b, c, d in boxes)
        return {**sample, 'image': sample['image'][:, y0:y1, x0:x1], 'boxes': moved}

    def _around(
        self, boxes: tuple[tuple[float, float, float, float], ...], height: int, width: int
    ) -> tuple[int, int, int, int]:
        if self.boxes == 'largest':
            boxes = (max(boxes, key=lambda b: (b[2] - b[0]) * (b[3] - b[1])),)
        x0, y0 = min(b[0] for b in boxes), min(b[1] for b in boxes)
        x1, y1 = max(b[2] for b in boxes), max(b[3] for b in boxes)
        longer = max(x1 - x0, y1 - y0)
        spans = []
        for low, high, extent in ((x0, x1, width), (y0, y1, height)):
            length = (longer if self.square else high - low) + 2 * self.margin * longer
            start = (low + high - length) / 2
            # Shift the crop into the image before clipping it at the edge.
            start = max(0.0, min(start, extent - length))
            spans.append((round(start), min(extent, round(start + length))))
        return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


# -- intensity -----------------------------------------------------------------------------------


@TRANSFORMS.register
class ColorJitter(PixelTransform):
    """Changes brightness and contrast, and for colour images saturation and hue.

    Args:
        brightness: the factor is in 1 - brightness to 1 + brightness.
        contrast: like brightness, for the distance from the image's mean.
        saturation: like brightness, for the distance from gray.
        hue: largest shift as a part of the colour circle, at most 0.5.
    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        brightness: NonNegativeFloat = 0.2,
        contrast: NonNegativeFloat = 0.2,
        saturation: NonNegativeFloat = 0.0,
        hue: Annotated[float, Ge(0), Le(0.5)] = 0.0,
    ) -> None:
        self.brightness = validate_amount('brightness', brightness)
        self.contrast = validate_amount('contrast', contrast)
        self.saturation = validate_amount('saturation', saturation)
        self.hue = validate_amount('hue', hue, 0.5)
        self._transform = v2.ColorJitter(brightness, contrast, saturation or None, hue or None)

    def apply(self, image: Tensor) -> Tensor:
        return self._transform(image)


@TRANSFORMS.register
class RandomErasing(PixelTransform):
    """Fills a random rectangle with black.

    Args:
        probability: probability of the transform.
        scale: range of the area of the rectangle, relative to the image.
        ratio: range of width by height of the rectangle.
    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        probability: Probability = 0.25,
        scale: tuple[PositiveFloat, PositiveFloat] = (0.02, 0.2),
        ratio: tuple[PositiveFloat, PositiveFloat] = (0.3, 3.3),
    ) -> None:
        self.probability = validate_probability('probability', probability)
        self.scale = validate_range('scale', scale, 0, 1)
        self.ratio = validate_range('ratio', ratio, 0.01)
        self._transform = v2.RandomErasing(probability, self.scale, self.ratio)

    def apply(self, image: Tensor) -> Tensor:
        return self._transform(image)


# -- policies ------------------------------------------------------------------------------------


@TRANSFORMS.register
class RandAugment(PixelTransform):
    """Applies several random operations of torchvision's list, all with the same strength.

    Args:
        operations: number of operations.
        magnitude: strength, from 0 to 30.
    Raises:
        ValueError: a number is out of range.

    Source: Cubuk et al., NeurIPS 2020, arXiv 1909.13719.
    """

    def __init__(
        self, operations: PositiveInt = 2, magnitude: Annotated[int, Ge(0), Le(30)] = 9
    ) -> None:
        if operations < 1:
            raise ValueError(f'operations must be at least 1, found {operations}')
        self.operations, self.magnitude = (
            operations,
            int(validate_amount('magnitude', magnitude, 30)),
        )
        self._transform = v2.RandAugment(operations, self.magnitude)

    def apply(self, image: Tensor) -> Tensor:
        return self._transform(image)


@TRANSFORMS.register
class TrivialAugment(PixelTransform):
    """Applies one random operation of torchvision's list with a random strength.

    Source: Mueller and Hutter, ICCV 2021, arXiv 2103.10158.
    """

    def __init__(self) -> None:
        self._transform = v2.TrivialAugmentWide()

    def apply(self, image: Tensor) -> Tensor:
        return self._transform(image)
