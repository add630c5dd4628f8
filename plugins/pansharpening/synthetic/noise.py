"""Random fields, and random numbers that depend on a place alone."""

from __future__ import annotations

import numpy as np
from scipy import fft


def noise(rng: np.random.Generator, size: int, exponent: float, finest: float = 0.0) -> np.ndarray:
    """Zero-mean, unit-variance random field with power falling as frequency**-exponent.

    Args:
        rng: source of randomness.
        size: height and width.
        exponent: of the amplitude spectrum.
        finest: standard deviation in pixels of a Gaussian that smooths it.
    """
    # Scales are in pixels whatever the size, so that larger scenes hold more, not larger, things.
    spectrum = fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    squared = (fy * fy + fx * fx).astype(np.float32)
    gain = (squared + (1 / 400) ** 2) ** (-exponent / 2)
    gain *= np.exp(-2 * (np.pi * finest) ** 2 * squared)
    gain[0, 0] = 0
    field = fft.irfft2(spectrum * gain, s=(size, size))
    return (field / field.std()).astype(np.float32)


def mix(keys: np.ndarray) -> np.ndarray:
    """Integers scattered over 62 bits (the finaliser of splitmix64): random numbers by position."""
    x = np.asarray(keys).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(2)).astype(np.int64)


def unit(keys: np.ndarray, salt: int) -> np.ndarray:
    """Uniform in [0, 1) float32, one independent number per key and salt."""
    factor = (2 * salt + 1) * 0xD6E8FEB86659FD93 % (1 << 64)
    mixed = np.asarray(keys).astype(np.uint64) * np.uint64(factor)
    return (mixed >> np.uint64(40)).astype(np.float32) * np.float32(1 / (1 << 24))
