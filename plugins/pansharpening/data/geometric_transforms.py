"""Geometric transforms of patches: flips, quarter turns, misregistration."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from plugins.pansharpening.data.transforms import COARSE, FINE, PatchTransform, Sample
from plugins.pansharpening.scenes.rasters.raster_layout import Samples
from toolkit.ranges import NonNegativeFloat, Probability
from toolkit.registry import TRANSFORMS


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
        self.chances = {
            -1: _chance('horizontal', horizontal),
            -2: _chance('vertical', vertical),
        }
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


def _chance(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f'{name} is a probability from 0 to 1, found {value}')
    return value


def _margin(samples: Samples) -> int:
    if samples not in ('centre', 'interp23tap'):
        raise ValueError(f"samples must be 'centre' or 'interp23tap', found {samples!r}")
    return 1 if samples == 'interp23tap' else 0
