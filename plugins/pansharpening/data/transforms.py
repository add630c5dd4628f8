"""Augmentation: transforms of all images of a patch, each with its own random seed.

A dataset applies them to a sample before it is cut to the patch: `lrms_context` (or `lrms`), and
`pan`, `hrms` and `mask`, which then reach `margin` PAN pixels further on each side, so that what
moves in from there is the scene and no filling. `seed`, in the sample, is the transform's own:
taking one transform out of a config leaves what the others draw as it was.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plugins.pansharpening.scenes.rasters.raster import Samples
from toolkit.engine.process import seeding
from toolkit.interfaces import Transform
from toolkit.ranges import BelowOne, NonNegativeFloat, Probability
from toolkit.registry import TRANSFORMS
from toolkit.testing.guards import make_run_error

Sample = dict[str, Any]

COARSE = ('lrms', 'lrms_context')  # at the scale of the MS
FINE = ('pan', 'hrms', 'mask')  # at that of PAN

# Digital numbers of 11 bits that noise is stated for.
NOISE_SCALE = 2047


class PatchTransform(Transform):
    """A transform of patches.

    Attributes:
        margin: PAN pixels around a patch that it moves in or looks at.
        any_device: it transforms images on a GPU to the same bits as on the CPU.
    """

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


# -- geometry ------------------------------------------------------------------------------------


@TRANSFORMS.register
class Flip(PatchTransform):
    """Mirrors all images of a patch, so that they stay as exactly on each other as they were.

    Args:
        horizontal: probability that left and right change places.
        vertical: probability that top and bottom do.
        samples: where MS samples are taken to lie in their PAN pixels. 'interp23tap', as that
            upsampling has it: sample i at PAN pixel ratio i + ratio / 2, for even ratios, which is
            off the centre, so that PAN is mirrored about that point and takes in one pixel from
            beyond the patch; 'centre', for the other upsamplings.
    Raises:
        ValueError: a probability that is none, or another place of samples.
    """

    any_device = True

    def __init__(
        self,
        horizontal: Probability = 0.5,
        vertical: Probability = 0.5,
        samples: Samples = 'interp23tap',
    ) -> None:
        self.chances = {-1: _chance('horizontal', horizontal), -2: _chance('vertical', vertical)}
        self.samples, self.margin = samples, _margin(samples)

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        for axis, chance in self.chances.items():
            if rng.random() < chance:
                sample = _mirrored(sample, axis, self.samples)
        return sample


@TRANSFORMS.register
class QuarterTurns(PatchTransform):
    """Turns all images of a patch by 0, 90, 180 or 270 degrees, each as likely as the others.

    Patches that are no squares are turned by 0 or 180 degrees.

    Args:
        samples: where MS samples are taken to lie, see `Flip`.
    Raises:
        ValueError: another place of samples.
    """

    any_device = True

    def __init__(self, samples: Samples = 'interp23tap') -> None:
        self.samples, self.margin = samples, _margin(samples)

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = sample['pan'].shape[-2:]
        turns = int(rng.integers(4)) if height == width else 2 * int(rng.integers(2))
        if turns % 2:
            sample = {
                key: value.transpose(-2, -1).contiguous() if key in (*COARSE, *FINE) else value
                for key, value in sample.items()
            }
        if turns in (1, 2):
            sample = _mirrored(sample, -2, self.samples)
        if turns in (2, 3):
            sample = _mirrored(sample, -1, self.samples)
        return sample


def _mirrored(sample: Sample, axis: int, samples: Samples) -> Sample:
    # MS sample i of n goes to n - 1 - i. Where it lies at PAN pixel r i + r / 2, pixel q must go to
    # r n - q, that is one further than plain mirroring takes it.
    shift = samples == 'interp23tap' and sample['meta']['ratio'] % 2 == 0
    turned = dict(sample)
    for key, image in sample.items():
        if key in COARSE or (key in FINE and not shift):
            turned[key] = image.flip(axis)
        elif key in FINE:
            # What moves in first is from beyond the margin, which later cuts take off.
            flipped = image.flip(axis)
            first = flipped.narrow(axis, 0, 1)
            turned[key] = torch.cat([first, flipped.narrow(axis, 0, image.shape[axis] - 1)], axis)
    return turned


@TRANSFORMS.register
class Misregistration(PatchTransform):
    """Moves PAN against the MS and the reference, as a co-registration that is not exact.

    Args:
        shift: largest shift along each axis in PAN pixels; any up to it is as likely.
        whole: only by whole pixels. Others are interpolated by cubic convolution (Keys, a = -1/2),
            which at half a pixel softens the finest detail.
    Raises:
        ValueError: a negative shift, or one below a pixel where only whole ones are wanted.
    """

    def __init__(self, shift: NonNegativeFloat = 1.0, whole: bool = False) -> None:
        if shift < 0 or not math.isfinite(shift):
            raise ValueError(f'shift must be 0 or more PAN pixels, found {shift}')
        if whole and shift != int(shift):
            raise ValueError(f'shift must be whole where `whole` is true, found {shift}')
        self.shift, self.whole = shift, whole
        self.margin = math.ceil(shift) + (0 if whole else 2)

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        pan = sample['pan']
        for axis in (-2, -1):
            if self.whole:
                distance = float(rng.integers(-int(self.shift), int(self.shift) + 1))
            else:
                distance = float(rng.uniform(-self.shift, self.shift))
            pan = shifted(pan, distance, axis)
        return {**sample, 'pan': pan}


def shifted(image: Tensor, distance: float, axis: int) -> Tensor:
    """Moves an image: pixel q takes the value at q + distance; border pixels are repeated.

    Source: Keys, IEEE TASSP 29(6), 1981: cubic convolution with a = -1/2.
    """
    whole = math.floor(distance)
    t = distance - whole
    length = image.shape[axis]
    if t == 0:
        taps = {whole: 1.0}
    else:
        taps = {
            whole - 1: ((-0.5 * t + 1) * t - 0.5) * t,
            whole: (1.5 * t - 2.5) * t * t + 1,
            whole + 1: ((-1.5 * t + 2) * t + 0.5) * t,
            whole + 2: (0.5 * t - 0.5) * t * t,
        }
    result = torch.zeros_like(image)
    for tap, weight in taps.items():
        index = (torch.arange(length) + tap).clamp(0, length - 1)
        result += weight * image.index_select(image.ndim + axis, index)
    return result


# -- radiometry ----------------------------------------------------------------------------------


@TRANSFORMS.register
class GainOffset(PatchTransform):
    """Brightens or darkens all images of a patch alike; nothing is clipped.

    Args:
        gain: the factor is drawn evenly from 1 - gain to 1 + gain.
        offset: what is added, in units of full scale, from -offset to offset.
    Raises:
        ValueError: a gain outside 0 to 1, or a negative offset.
    """

    def __init__(self, gain: BelowOne = 0.1, offset: NonNegativeFloat = 0.0) -> None:
        self.gain, self.offset = _spread('gain', gain), offset
        if offset < 0 or not math.isfinite(offset):
            raise ValueError(f'offset must be 0 or more, found {offset}')

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        gain = float(rng.uniform(1 - self.gain, 1 + self.gain))
        offset = float(rng.uniform(-self.offset, self.offset))
        images = {key for key in (*COARSE, 'pan', 'hrms') if key in sample}
        return {**sample, **{key: gain * sample[key] + offset for key in images}}


@TRANSFORMS.register
class BandGain(PatchTransform):
    """Multiplies each band of the MS and of the reference by a factor of its own; PAN stays.

    So what PAN sees of each band varies, as from one kind of ground and season to another.

    Args:
        gain: each factor is drawn evenly from 1 - gain to 1 + gain.
    Raises:
        ValueError: a gain outside 0 to 1.
    """

    def __init__(self, gain: BelowOne = 0.1) -> None:
        self.gain = _spread('gain', gain)

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        images = [key for key in (*COARSE, 'hrms') if key in sample]
        bands = sample[images[0]].shape[0]
        gains = torch.from_numpy(rng.uniform(1 - self.gain, 1 + self.gain, bands).astype('f4'))
        return {**sample, **{key: sample[key] * gains[:, None, None] for key in images}}


@TRANSFORMS.register
class SensorNoise(PatchTransform):
    """Adds noise to the MS and to PAN as a sensor would; the reference stays as it is.

    The variance is constant^2 + linear * signal, in digital numbers of 11 bits; sensors of another
    depth get it in proportion.

    Args:
        ms: constant and linear term of the MS.
        pan: the same of PAN.
        sensors: other terms for sensors by name: constant and linear of the MS, then of PAN.
    Raises:
        ValueError: negative terms.
    """

    def __init__(
        self,
        ms: tuple[NonNegativeFloat, NonNegativeFloat] = (0.8, 0.01),
        pan: tuple[NonNegativeFloat, NonNegativeFloat] = (1.2, 0.03),
        sensors: dict[str, tuple[float, float, float, float]] | None = None,
    ) -> None:
        self.terms = (*ms, *pan)
        self.sensors = {name: tuple(terms) for name, terms in (sensors or {}).items()}
        for terms in (self.terms, *self.sensors.values()):
            if len(terms) != 4 or any(term < 0 or not math.isfinite(term) for term in terms):
                raise ValueError(
                    'noise has a constant and a linear term, 0 or more, of the MS and of PAN; '
                    f'found {list(terms)}'
                )

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        terms = self.sensors.get(sample['meta']['sensor'], self.terms)
        ms = {key: _noisy(sample[key], terms[:2], rng) for key in COARSE if key in sample}
        return {**sample, **ms, 'pan': _noisy(sample['pan'], terms[2:], rng)}


def _noisy(image: Tensor, terms: tuple[float, ...], rng: np.random.Generator) -> Tensor:
    constant, linear = terms
    variance = constant**2 + linear * NOISE_SCALE * image.clamp(min=0)
    noise = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
    return image + variance.sqrt() / NOISE_SCALE * noise


# -- arguments -----------------------------------------------------------------------------------


def _chance(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f'{name} is a probability from 0 to 1, found {value}')
    return value


def _spread(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f'{name} must be from 0 to below 1, found {value}')
    return value


def _margin(samples: Samples) -> int:
    if samples not in ('centre', 'interp23tap'):
        raise ValueError(f"samples must be 'centre' or 'interp23tap', found {samples!r}")
    return 1 if samples == 'interp23tap' else 0
