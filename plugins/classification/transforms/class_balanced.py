"""Augmentation that rarer classes get more often."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from plugins.classification.transforms.arguments import amount, interval
from plugins.classification.transforms.pipeline import ImageTransform, Sample
from toolkit.interfaces import Transform
from toolkit.registry import TRANSFORMS


@TRANSFORMS.register
class ClassBalanced(ImageTransform):
    """Applies transforms the more often, the rarer an image's class is.

    A class with n images gets them with probability high (m / n)**power, where m is the number of
    the rarest class, and never less than low; so does an image without a label get them with low.
    The numbers are those of the whole data set, so that an image's views are the same in every
    fold.

    Args:
        task: whose classes are counted.
        transforms: by name, applied one after the other.
        chance: low and high.
        power: 1 makes up for the numbers, 0 treats all classes alike.
    Raises:
        ValueError: a number out of range; no transform, or some of the whole image beside some of
            the fitted one.
    """

    def __init__(
        self,
        task: str,
        transforms: dict[str, Transform],
        chance: tuple[float, float] = (0.2, 1.0),
        power: float = 0.5,
    ) -> None:
        self.task, self.transforms = task, dict(transforms)
        self.chance, self.power = interval('chance', chance, 0, 1), amount('power', power)
        if not transforms:
            raise ValueError('transforms is empty; name at least one')
        for name, transform in transforms.items():
            if not isinstance(transform, ImageTransform):
                raise ValueError(f'transforms.{name} is no transform of images')
        native = {transform.native for transform in self.transforms.values()}
        if len(native) > 1:
            raise ValueError(
                'some transforms are of the whole image and some of the fitted one; give each kind '
                'a ClassBalanced of its own'
            )
        self.native = native.pop()
        self.chances: list[float] = []

    def use_counts(self, counts: Mapping[str, Tensor]) -> None:
        """Take in the classes' numbers.

        Raises:
            ValueError: there is no such task.
        """
        if self.task not in counts:
            raise ValueError(
                f'ClassBalanced: there is no task {self.task!r}; there are: {", ".join(counts)}'
            )
        number = counts[self.task].double()
        rarest = number[number > 0].min() if (number > 0).any() else torch.tensor(1.0)
        low, high = self.chance
        chances = high * (rarest / number.clamp(min=1)) ** self.power
        self.chances = chances.clamp(low, high).tolist()
        for transform in self.transforms.values():
            transform.use_counts(counts)

    def __call__(self, sample: Sample) -> Sample:
        label = sample['labels'][self.task]
        chance = self.chances[label] if label >= 0 else self.chance[0]
        if float(torch.rand(())) >= chance:
            return sample
        for transform in self.transforms.values():
            sample = transform(sample)
        return sample
