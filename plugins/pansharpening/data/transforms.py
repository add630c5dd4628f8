"""Augmentation: transforms of all images of a patch, each with its own random seed.

A dataset applies them to a sample before it is cut to the patch: `lrms_context` (or `lrms`), and
`pan`, `hrms` and `mask`, which then reach `margin` PAN pixels further on each side, so that what
moves in from there is the scene and no filling. `seed`, in the sample, is the transform's own:
taking one transform out of a config leaves what the others draw as it was.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from toolkit.engine.process import seeding
from toolkit.interfaces import Transform
from toolkit.testing.guards import make_run_error

Sample = dict[str, Any]

COARSE = ('lrms', 'lrms_context')  # at the scale of the MS
FINE = ('pan', 'hrms', 'mask')  # at that of PAN


class PatchTransform(Transform):
    """A transform of patches.

    Attributes:
        margin: PAN pixels around a patch that it moves in or looks at.
        any_device: it transforms images on a GPU to the same bits as on the CPU.
    """

    contract: ClassVar[str] = 'plugins.pansharpening.contracts.PatchTransformContract'
    margin: int = 0
    any_device: bool = False

    def __call__(self, sample: Sample) -> Sample:
        return self.apply(sample, np.random.default_rng(sample['seed']))

    @abstractmethod
    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with other images; all that is random comes from `rng`."""


def margin_of(transforms: Mapping[str, Transform]) -> int:
    """PAN pixels that a patch must reach further for all of these transforms."""
    return sum(getattr(transform, 'margin', 0) for transform in transforms.values())


def transformed(sample: Sample, transforms: Mapping[str, Transform], seed: int) -> Sample:
    """The sample after all transforms, in their order.

    Args:
        sample: images and `meta`.
        transforms: by name; the name is part of each one's seed.
        seed: the sample's.
    """
    for name, transform in transforms.items():
        given = {**sample, 'seed': seeding.derive_seed(seed, 'transform', name)}
        sample = transform(given)
        for key, image in given.items():
            if isinstance(image, Tensor) and _get_shape(sample, key) != image.shape:
                raise make_run_error(
                    transform,
                    f'gives {key!r} {_get_shape(sample, key)} of {tuple(image.shape)}; a transform '
                    'returns all images of the sample, in their size',
                )
    sample.pop('seed', None)
    return sample


def _get_shape(sample: Any, key: str) -> tuple[int, ...] | None:
    return getattr(sample.get(key), 'shape', None) if isinstance(sample, Mapping) else None
