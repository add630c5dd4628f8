"""Pipeline of fixed and random transforms from the pixels of a file to an image.

Its steps are transforms of the whole image, resizing to a square, and transforms of the square.
Random transforms depend only on a seed, so an augmentation can be repeated.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from plugins.classification.image_record import Box
from toolkit.engine.process import seeding
from toolkit.interfaces import Transform
from toolkit.testing.guards import make_run_error
from toolkit.testing.observe import describe_changed

Sample = dict[str, Any]
Fit = Literal['squash', 'pad', 'crop']
FITS = ('squash', 'pad', 'crop')


class ImageTransform(Transform):
    """Base class of transforms of an image (C, H, W), float32 in [0, 1].

    The result is in [0, 1] too. Gray images have one channel; a dataset with three channels repeats
    it after the last transform.

    A transform gets and returns a sample with `image`, `labels` (class numbers by task, -1 if
    missing) and, before the image is resized, `boxes` in pixels. It does not change images in
    place. Random numbers come from torch's global generator, which gets a separate seed for each
    transform, so that removing one from a config does not change the others.

    The public attributes define the transform: they are part of a dataset's `image_fingerprint`.

    Attributes:
        random: it uses random numbers.
        native: it works on the whole image, before resizing.
        uses_labels: its result depends on labels, so that images that are kept with its result
            belong to their labels too.
    """

    contract: ClassVar[str] = 'plugins.classification.contracts.ImageTransformContract'
    random: bool = True
    native: bool = False
    uses_labels: bool = True

    def use_counts(self, counts: Mapping[str, Tensor]) -> None:
        """Sets the number of images of each class in the subset that the
        dataset holds, (K,) by task."""


class PixelTransform(ImageTransform):
    """Base class of transforms that use only the pixels."""

    uses_labels = False

    def __call__(self, sample: Sample) -> Sample:
        return {**sample, 'image': self.apply(sample['image']).clamp(0, 1)}

    @abstractmethod
    def apply(self, image: Tensor) -> Tensor:
        """Transforms an image (C, H, W); the result may leave [0, 1] and is clipped."""


class ResizeToSquare(PixelTransform):
    """Resizes, pads or crops an image to a square.

    Args:
        size: height and width of the square.
        fit: 'squash' resizes the whole image without keeping its aspect ratio; 'pad' keeps the
            ratio and adds black borders; 'crop' takes the largest square in the middle.
    """

    random = False

    def __init__(self, size: int, fit: Fit = 'squash') -> None:
        if size < 1:
            raise ValueError(f'size must be at least 1, found {size}')
        if fit not in FITS:
            raise ValueError(f'fit must be one of {", ".join(FITS)}, found {fit!r}')
        self.size, self.fit = size, fit

    def __call__(self, sample: Sample) -> Sample:
        resized = super().__call__(sample)
        resized.pop('boxes', None)  # they are in pixels of the whole image
        return resized

    def apply(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if self.fit == 'crop':
            image = F.center_crop(image, [min(height, width)] * 2)
        elif self.fit == 'pad':
            longest = max(height, width)
            height = max(1, round(height * self.size / longest))
            width = max(1, round(width * self.size / longest))
            top, left = (self.size - height) // 2, (self.size - width) // 2
            image = _resize(image, height, width)
            return F.pad(image, [left, top, self.size - width - left, self.size - height - top])
        return _resize(image, self.size, self.size)


def _resize(image: Tensor, height: int, width: int) -> Tensor:
    if image.shape[-2:] == (height, width):
        return image
    return F.resize(image, [height, width], antialias=True)


class TransformPipeline:
    """All steps from pixels to an image: first fixed, then random transforms.

    Args:
        size: see `ResizeToSquare`.
        fit: see `ResizeToSquare`.
        transforms: by name, in the order of the config; native ones come before resizing.
    Attributes:
        fixed: steps before the first random one, by name.
        random: the first random step and all later steps, by name.
    Raises:
        ValueError: a transform is not an `ImageTransform`, or has the name 'fit'.
    """

    def __init__(self, size: int, fit: Fit, transforms: Mapping[str, Transform]) -> None:
        for name, transform in transforms.items():
            if not isinstance(transform, ImageTransform):
                raise ValueError(
                    f'transforms.{name}: expected a transform of images with labels, a subclass of '
                    f'{__name__}.ImageTransform (docs/guides/component_kinds.md), found '
                    f'{type(transform).__name__}'
                )
        if 'fit' in transforms:
            raise ValueError(
                "transforms.fit: the name 'fit' is reserved for resizing; use another name"
            )
        steps: dict[str, ImageTransform] = {
            **{name: t for name, t in transforms.items() if t.native},
            'fit': ResizeToSquare(size, fit),
            **{name: t for name, t in transforms.items() if not t.native},
        }
        names = list(steps)
        random = [i for i, step in enumerate(steps.values()) if step.random]
        first = random[0] if random else len(names)
        self.fixed = {name: steps[name] for name in names[:first]}
        self.random = {name: steps[name] for name in names[first:]}
        self._seeds: seeding.SampleSeeds | None = None
        self._checked: set[str] = set()

    @property
    def uses_labels(self) -> bool:
        """True if a step uses labels."""
        return any(step.uses_labels for step in (*self.fixed.values(), *self.random.values()))

    def use_counts(self, counts: Mapping[str, Tensor]) -> None:
        """Sets the class counts of all steps, see `ImageTransform`."""
        for step in (*self.fixed.values(), *self.random.values()):
            step.use_counts(counts)

    def apply_fixed(
        self, image: Tensor, boxes: tuple[Box, ...], labels: Mapping[str, int]
    ) -> Sample:
        """Applies the steps that are the same for every augmentation; returns a sample."""
        sample: Sample = {'image': image, 'boxes': boxes, 'labels': labels}
        for name, step in self.fixed.items():
            sample = self._apply(name, step, sample)
        return sample

    def apply_random(self, sample: Sample, seed: int) -> Tensor:
        """Applies the random steps to a sample of `apply_fixed`.

        Returns:
            The image (C, size, size), the same for the same seed.
        """
        if not self.random:
            return sample['image']
        self._seeds = self._seeds or seeding.SampleSeeds()
        with self._seeds as seeds:
            for name, step in self.random.items():
                seeds.seed(seeding.derive_seed(seed, 'transform', name))
                sample = self._apply(name, step, sample)
        return sample['image']

    def _apply(self, name: str, step: ImageTransform, sample: Sample) -> Sample:
        """Applies a step; its first result is held to what a transform promises.

        Raises:
            ComponentRunError: the step changed the image in place, which a cache may hold, or gives
                an image of another size or range.
        """
        image = sample['image']
        version, first = image._version, name not in self._checked
        copy = image.clone() if first else image
        result = step(sample)
        if image._version != version or (first and not torch.equal(copy, image)):
            raise make_run_error(step, describe_changed('image'))
        if first:
            self._checked.add(name)
            for message in find_transform_faults(step, image, result):
                raise make_run_error(step, message)
        return result

    def key(self) -> str:
        """Returns a text that describes the steps and is the same in every process."""
        return json.dumps(
            [[name, describe(step)] for name, step in {**self.fixed, **self.random}.items()]
        )


def find_transform_faults(step: ImageTransform, image: Tensor, result: Any) -> Iterator[str]:
    """Finds faults of the sample that a transform gave of an image (C, H, W)."""
    if not isinstance(result, Mapping) or not isinstance(result.get('image'), Tensor):
        yield "gives no sample with 'image'; return {**sample, 'image': ...}"
        return
    made = result['image']
    resizes = step.native or isinstance(step, ResizeToSquare)
    if made.ndim != 3 or (not resizes and made.shape != image.shape):
        yield (
            f'gives an image {tuple(made.shape)} of {tuple(image.shape)}; a transform keeps the '
            'size, or sets `native = True` to come before resizing'
        )
    elif made.dtype != torch.float32:
        yield f'gives {str(made.dtype).removeprefix("torch.")}; an image is float32 in [0, 1]'
    elif made.numel() and not (made.min() >= 0 and made.max() <= 1):
        yield (
            f'gives values from {float(made.min()):g} to {float(made.max()):g}; an image is in '
            '[0, 1]: end with .clamp(0, 1)'
        )


def describe(value: Any) -> Any:
    """Describes a component by its public attributes, as plain values."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): describe(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [describe(inner) for inner in value]
    if isinstance(value, (Tensor, np.ndarray)):
        array = np.ascontiguousarray(torch.as_tensor(value).numpy())
        return hashlib.sha256(
            repr((array.dtype, array.shape)).encode() + array.tobytes()
        ).hexdigest()
    public = {k: v for k, v in getattr(value, '__dict__', {}).items() if not k.startswith('_')}
    return [type(value).__qualname__, describe(public)] if public else type(value).__qualname__
