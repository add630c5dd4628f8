"""Augmentation of any images by torchvision's transforms, and crops around what is marked."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms import v2

from plugins.classification.transforms.arguments import amount, chance, interval
from plugins.classification.transforms.pipeline import ImageTransform, PixelTransform, Sample
from toolkit.errors import DataError
from toolkit.registry import TRANSFORMS

# -- geometry ------------------------------------------------------------------------------------


@TRANSFORMS.register
class RandomFlip(PixelTransform):
    """Mirrors an image.

    Args:
        horizontal: probability that left and right change places.
        vertical: probability that top and bottom do, which puts the skin at the bottom of a scan.
    Raises:
        ValueError: a probability that is none.
    """

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.0) -> None:
        self.horizontal = chance('horizontal', horizontal)
        self.vertical = chance('vertical', vertical)

    def apply(self, image: Tensor) -> Tensor:
        across, down = torch.rand(2).tolist()
        axes = [-1] * (across < self.horizontal) + [-2] * (down < self.vertical)
        return image.flip(axes) if axes else image


@TRANSFORMS.register
class RandomAffine(PixelTransform):
    """Turns, moves, scales and shears an image; what comes in from outside is black.

    Args:
        degrees: it is turned by up to so many either way.
        translate: moved along each axis by up to this part of it.
        scale: factors to draw from.
        shear: sheared by up to so many degrees either way.
    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self,
        degrees: float = 10.0,
        translate: float = 0.05,
        scale: tuple[float, float] = (0.9, 1.1),
        shear: float = 0.0,
    ) -> None:
        self.degrees = amount('degrees', degrees, 180)
        self.translate = amount('translate', translate, 1)
        self.scale = interval('scale', scale, 0.01)
        self.shear = amount('shear', shear, 89)
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
    """A part of an image, resized to the whole's size.

    Args:
        scale: parts of the area to draw from.
        ratio: width by height of the part, to draw from.
    Raises:
        ValueError: a range that is none, or beyond the image.
    """

    def __init__(
        self, scale: tuple[float, float] = (0.6, 1.0), ratio: tuple[float, float] = (0.75, 1.333)
    ) -> None:
        self.scale = interval('scale', scale, 0.01, 1)
        self.ratio = interval('ratio', ratio, 0.01)

    def apply(self, image: Tensor) -> Tensor:
        size = list(image.shape[-2:])
        return v2.RandomResizedCrop(size, self.scale, self.ratio, antialias=True)(image)


@TRANSFORMS.register
class BoxCrop(ImageTransform):
    """Crops an image to its boxes with a margin; nothing is random.

    Images without a box would be told apart from those with one by the crop alone, whatever they
    show: `missing: whole` is for data in which that says nothing of the class.

    Args:
        margin: added on each side, in parts of the box's longer side.
        boxes: 'all' for what holds all boxes of an image, 'largest' for one.
        square: widen the shorter side to the longer, as far as the image goes.
        missing: what becomes of an image without a box: 'error', or 'whole'.
    Raises:
        ValueError: a margin below 0.
        DataError: an image without a box, or with one outside of it.
    """

    random = False
    native = True

    def __init__(
        self,
        margin: float = 0.25,
        boxes: Literal['all', 'largest'] = 'all',
        square: bool = True,
        missing: Literal['error', 'whole'] = 'error',
    ) -> None:
        self.margin = amount('margin', margin)
        self.boxes, self.square, self.missing = boxes, square, missing

    def __call__(self, sample: Sample) -> Sample:
        boxes = sample['boxes']
        if not boxes:
            if self.missing == 'whole':
                return sample
            raise DataError(
                'it has no box to crop to; leave it out, or take it whole with `missing: whole`'
            )
        height, width = sample['image'].shape[-2:]
        cut = [(a, b, min(c, width), min(d, height)) for a, b, c, d in boxes]
        inside = tuple(box for box in cut if box[0] < box[2] and box[1] < box[3])
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
            # Moved into the image before it is cut by its edge.
            start = max(0.0, min(start, extent - length))
            spans.append((round(start), min(extent, round(start + length))))
        return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


# -- intensity -----------------------------------------------------------------------------------


@TRANSFORMS.register
class ColorJitter(PixelTransform):
    """Changes brightness and contrast, and of colour images saturation and hue.

    Args:
        brightness: a factor from 1 - brightness to 1 + brightness.
        contrast: the same around the image's mean.
        saturation: the same of the distance from grey.
        hue: moved by up to this part of the circle, at most 0.5.
    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self,
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.0,
        hue: float = 0.0,
    ) -> None:
        self.brightness = amount('brightness', brightness)
        self.contrast = amount('contrast', contrast)
        self.saturation = amount('saturation', saturation)
        self.hue = amount('hue', hue, 0.5)
        self._transform = v2.ColorJitter(brightness, contrast, saturation or None, hue or None)

    def apply(self, image: Tensor) -> Tensor:
        return self._transform(image)


@TRANSFORMS.register
class RandomErasing(PixelTransform):
    """Fills a rectangle with black.

    Args:
        probability: that it is done.
        scale: parts of the area to draw from.
        ratio: width by height of the rectangle, to draw from.
    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self,
        probability: float = 0.25,
        scale: tuple[float, float] = (0.02, 0.2),
        ratio: tuple[float, float] = (0.3, 3.3),
    ) -> None:
        self.probability = chance('probability', probability)
        self.scale = interval('scale', scale, 0, 1)
        self.ratio = interval('ratio', ratio, 0.01)
        self._transform = v2.RandomErasing(probability, self.scale, self.ratio)

    def apply(self, image: Tensor) -> Tensor:
        return self._transform(image)


# -- policies ------------------------------------------------------------------------------------


@TRANSFORMS.register
class RandAugment(PixelTransform):
    """Several operations drawn from torchvision's list, all of one strength.

    Args:
        operations: how many.
        magnitude: from 0 to 30.
    Raises:
        ValueError: a number out of range.

    Source: Cubuk et al., NeurIPS 2020, arXiv 1909.13719.
    """

    def __init__(self, operations: int = 2, magnitude: int = 9) -> None:
        if operations < 1:
            raise ValueError(f'operations must be at least 1, found {operations}')
        self.operations, self.magnitude = operations, int(amount('magnitude', magnitude, 30))
        self._transform = v2.RandAugment(operations, self.magnitude)

    def apply(self, image: Tensor) -> Tensor:
        return self._transform(image)


@TRANSFORMS.register
class TrivialAugment(PixelTransform):
    """One operation drawn from torchvision's list, of any strength.

    Source: Mueller and Hutter, ICCV 2021, arXiv 2103.10158.
    """

    def __init__(self) -> None:
        self._transform = v2.TrivialAugmentWide()

    def apply(self, image: Tensor) -> Tensor:
        return self._transform(image)
