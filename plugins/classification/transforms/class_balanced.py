"""Augmentation that is more frequent for rarer classes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from plugins.classification.transforms.arguments import validate_amount, validate_range
from plugins.classification.transforms.pipeline import ImageTransform, Sample
from toolkit.interfaces import Transform
from toolkit.ranges import NonNegativeFloat, Probability
from toolkit.registry import TRANSFORMS


@TRANSFORMS.register
class ClassBalanced(ImageTransform):
    """Applies transforms more often to images of rarer classes.

    The probability for a class with n images is high (m / n)**power, where m is the number of
    images of the rarest class, but at least low. For an image without a label it is low. The
    numbers are those of the subset that the dataset holds, so that no label of a test counts.

    Args:
        task: task whose classes are counted.
        transforms: by name, applied in this order.
        chance: low and high, the limits of the probability.
        power: 1 compensates for the class counts, 0 treats all classes equally.
    Raises:
        ValueError: a number is out of range, there are no transforms, or some transforms are for
            the whole image and others for the resized one.
    """

    def __init__(
        self,
        task: str,
        transforms: dict[str, Transform],
        chance: tuple[Probability, Probability] = (0.2, 1.0),
        power: NonNegativeFloat = 0.5,
    ) -> None:
        self.task, self.transforms = task, dict(transforms)
        self.chance, self.power = (
            validate_range('chance', chance, 0, 1),
            validate_amount('power', power),
        )
        if not transforms:
            raise ValueError('transforms is empty; name at least one')
        for name, transform in transforms.items():
            if not isinstance(transform, ImageTransform):
                raise ValueError(
                    f'transforms.{name} must be a transform of images, '
                    f'found {type(transform).__name__}'
                )
        native = {transform.native for transform in self.transforms.values()}
        if len(native) > 1:
            raise ValueError(
                'some transforms are for the whole image and some for the resized one; use a '
                'separate ClassBalanced for each of the two'
            )
        self.native = native.pop()
        self.chances: list[float] = []

    def use_counts(self, counts: Mapping[str, Tensor]) -> None:
        """Sets the number of images of each class.

        Raises:
            ValueError: the dataset has no such task.
        """
        if self.task not in counts:
            raise ValueError(
                f'ClassBalanced: there is no task {self.task!r}; there are: {", ".join(counts)}'
            )
        numbers = counts[self.task].double()
        rarest = numbers[numbers > 0].min() if (numbers > 0).any() else torch.tensor(1.0)
        low, high = self.chance
        chances = high * (rarest / numbers.clamp(min=1)) ** self.power
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
