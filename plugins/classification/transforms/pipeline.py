"""From a file's pixels to an image: transforms of the whole image, fitting to size, transforms of
what was fitted; and views, which are draws of the random ones that can be repeated."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from plugins.classification.image_record import Box
from toolkit.engine import seeding
from toolkit.interfaces import Transform

Sample = dict[str, Any]
Fit = Literal['squash', 'pad', 'crop']
FITS = ('squash', 'pad', 'crop')


class ImageTransform(Transform):
    """A transform of an image (C, H, W), float32 in [0, 1], which it leaves in that range. Grey is
    one channel, and repeated after the last transform where a data set gives three.

    It gets and returns a sample with `image`, `labels` (class numbers by task, -1 where missing)
    and, where the image is not fitted to its size yet, `boxes` in pixels. Images are not changed in
    place. What is random comes from torch's global generator, which is seeded for each transform of
    its own, so that taking one out of a config leaves what the others draw as it was.

    Its public attributes are what it does: they are part of a data set's `image_fingerprint`.

    Attributes:
        random: whether it draws anything.
        native: whether it works on the whole image, before it is fitted to its size.
    """

    random: bool = True
    native: bool = False

    def use_counts(self, counts: Mapping[str, Tensor]) -> None:
        """Take in how many images each class (K,) of each task has in the whole data set."""


class PixelTransform(ImageTransform):
    """One that looks at the pixels alone."""

    def __call__(self, sample: Sample) -> Sample:
        return {**sample, 'image': self.apply(sample['image']).clamp(0, 1)}

    @abstractmethod
    def apply(self, image: Tensor) -> Tensor:
        """The image after it (C, H, W), which may leave [0, 1]."""


class Fitted(PixelTransform):
    """Brings an image to a square.

    Args:
        size: its height and width.
        fit: 'squash' for the whole image, sides stretched as needed; 'pad' for the whole image with
            black around it; 'crop' for the largest square in its middle.
    """

    random = False

    def __init__(self, size: int, fit: Fit = 'squash') -> None:
        if size < 1:
            raise ValueError(f'size must be at least 1, found {size}')
        if fit not in FITS:
            raise ValueError(f'fit must be one of {", ".join(FITS)}, found {fit!r}')
        self.size, self.fit = size, fit

    def __call__(self, sample: Sample) -> Sample:
        fitted = super().__call__(sample)
        fitted.pop('boxes', None)  # they were of the whole image
        return fitted

    def apply(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if self.fit == 'crop':
            image = F.center_crop(image, [min(height, width)] * 2)
        elif self.fit == 'pad':
            longest = max(height, width)
            height = max(1, round(height * self.size / longest))
            width = max(1, round(width * self.size / longest))
            top, left = (self.size - height) // 2, (self.size - width) // 2
            image = _resized(image, height, width)
            return F.pad(image, [left, top, self.size - width - left, self.size - height - top])
        return _resized(image, self.size, self.size)


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    if image.shape[-2:] == (height, width):
        return image
    return F.resize(image, [height, width], antialias=True)


class Views:
    """All steps from pixels to an image, the fixed ones apart from those that are drawn.

    Args:
        size: see `Fitted`.
        fit: see `Fitted`.
        transforms: by name, each in its place: those of the whole image come first.
    Raises:
        ValueError: a transform of other things than images, or of the name 'fit'.
    """

    def __init__(self, size: int, fit: Fit, transforms: Mapping[str, Transform]) -> None:
        for name, transform in transforms.items():
            if not isinstance(transform, ImageTransform):
                raise ValueError(
                    f'transforms.{name}: {type(transform).__name__} is none of images with labels'
                )
        if 'fit' in transforms:
            raise ValueError("transforms.fit: 'fit' is the name of bringing images to size")
        steps: dict[str, ImageTransform] = {
            **{name: t for name, t in transforms.items() if t.native},
            'fit': Fitted(size, fit),
            **{name: t for name, t in transforms.items() if not t.native},
        }
        names = list(steps)
        drawn = [i for i, step in enumerate(steps.values()) if step.random]
        first = drawn[0] if drawn else len(names)
        self.fixed = {name: steps[name] for name in names[:first]}
        self.drawn = {name: steps[name] for name in names[first:]}
        self._seeds: seeding.SampleSeeds | None = None

    def use_counts(self, counts: Mapping[str, Tensor]) -> None:
        """See `ImageTransform`."""
        for step in (*self.fixed.values(), *self.drawn.values()):
            step.use_counts(counts)

    def start(self, image: Tensor, boxes: tuple[Box, ...], labels: Mapping[str, int]) -> Sample:
        """A sample after the steps that are the same at every draw."""
        sample: Sample = {'image': image, 'boxes': boxes, 'labels': labels}
        for step in self.fixed.values():
            sample = step(sample)
        return sample

    def draw(self, sample: Sample, seed: int) -> Tensor:
        """An image (C, size, size) of what `start` gave; the same for the same seed."""
        if not self.drawn:
            return sample['image']
        self._seeds = self._seeds or seeding.SampleSeeds()
        with self._seeds as seeds:
            for name, step in self.drawn.items():
                seeds.seed(seeding.derive_seed(seed, 'transform', name))
                sample = step(sample)
        return sample['image']

    def key(self) -> str:
        """Describes the steps as text that is the same in every process."""
        return json.dumps(
            [[name, describe(step)] for name, step in {**self.fixed, **self.drawn}.items()]
        )


def describe(value: Any) -> Any:
    """A part by its public attributes, as plain values."""
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
