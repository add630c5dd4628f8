"""Radiometric transforms of patches: gain, offset, noise of the sensor."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from plugins.pansharpening.data.transforms import COARSE, PatchTransform, Sample
from toolkit.ranges import BelowOne, NonNegativeFloat
from toolkit.registry import TRANSFORMS

# Digital numbers of 11 bits that noise is stated for.
NOISE_SCALE = 2047


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


def _spread(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f'{name} must be from 0 to below 1, found {value}')
    return value
