"""Arguments of augmentation, checked where a config gives them."""

from __future__ import annotations

import math

import torch


def chance(name: str, value: float) -> float:
    """A probability.

    Raises:
        ValueError: it is none.
    """
    if not 0 <= value <= 1:
        raise ValueError(f'{name} is a probability from 0 to 1, found {value}')
    return value


def interval(
    name: str, values: tuple[float, float], least: float = 0.0, most: float = math.inf
) -> tuple[float, float]:
    """A range that is drawn from.

    Raises:
        ValueError: not two finite numbers in their order between `least` and `most`.
    """
    found = list(values) if isinstance(values, (list, tuple)) else [values]
    inside = len(found) == 2 and all(math.isfinite(v) for v in found)
    if not inside or not least <= found[0] <= found[1] <= most:
        bounds = f'from {least:g}' + (f' to {most:g}' if most < math.inf else '')
        raise ValueError(f'{name} is a range [low, high] {bounds}, found {found}')
    return found[0], found[1]


def amount(name: str, value: float, most: float = math.inf) -> float:
    """A number of 0 or more.

    Raises:
        ValueError: it is less, or above `most`.
    """
    if not 0 <= value <= most or math.isinf(value):
        bounds = f'from 0 to {most:g}' if most < math.inf else 'of 0 or more'
        raise ValueError(f'{name} is a number {bounds}, found {value}')
    return value


def uniform(low: float, high: float) -> float:
    """A number drawn evenly by torch's global generator."""
    return low + (high - low) * float(torch.rand(()))
