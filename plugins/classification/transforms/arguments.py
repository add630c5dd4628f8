"""Validation of the arguments of transforms, and random numbers for them."""

from __future__ import annotations

import math

import torch


def validate_probability(name: str, value: float) -> float:
    """Returns `value` if it is a probability.

    Args:
        name: name of the argument, for the error message.
        value: the value to validate.
    Raises:
        ValueError: the value is not in [0, 1].
    """
    if not 0 <= value <= 1:
        raise ValueError(f'{name} must be a probability from 0 to 1, found {value}')
    return value


def validate_range(
    name: str, values: tuple[float, float], least: float = 0.0, most: float = math.inf
) -> tuple[float, float]:
    """Returns `values` if they are a range [low, high].

    Args:
        name: name of the argument, for the error message.
        values: low and high.
        least: lower limit of low.
        most: upper limit of high.
    Raises:
        ValueError: the values are not two finite numbers with least <= low <= high <= most.
    """
    found = list(values) if isinstance(values, (list, tuple)) else [values]
    is_pair = len(found) == 2 and all(math.isfinite(v) for v in found)
    if not is_pair or not least <= found[0] <= found[1] <= most:
        bounds = f'from {least:g}' + (f' to {most:g}' if most < math.inf else '')
        raise ValueError(f'{name} must be a range [low, high] {bounds}, found {found}')
    return found[0], found[1]


def validate_amount(name: str, value: float, most: float = math.inf) -> float:
    """Returns `value` if it is a finite number from 0 to `most`.

    Args:
        name: name of the argument, for the error message.
        value: the value to validate.
        most: upper limit.
    Raises:
        ValueError: the value is below 0, above `most` or infinite.
    """
    if not 0 <= value <= most or math.isinf(value):
        bounds = f'from 0 to {most:g}' if most < math.inf else 'of 0 or more'
        raise ValueError(f'{name} must be a number {bounds}, found {value}')
    return value


def sample_uniform(low: float, high: float) -> float:
    """Samples a number uniformly with torch's global generator."""
    return low + (high - low) * float(torch.rand(()))
