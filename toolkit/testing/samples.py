"""Checks of samples: values of images."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from toolkit.errors import DataError

# Filters overshoot [0, 1] at edges; digital numbers of 8 bits and more are far beyond.
LOWEST, HIGHEST = -1.0, 2.0


def check_unit_range(name: str, image: Any) -> None:
    """Checks that an image is of floats in or about [0, 1].

    Raises:
        DataError: it is not.
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        found = str(image.dtype) if isinstance(image, Tensor) else type(image).__name__
        raise DataError(f'{name!r} is {found}; a dataset gives float32 in [0, 1]')
    if not image.numel():
        return
    low, high = (float(value) for value in torch.aminmax(image))
    if math.isnan(low):
        raise DataError(f'{name!r} has NaN; fill pixels without data, and say so in a mask')
    if low < LOWEST or high > HIGHEST:
        raise DataError(
            f'{name!r} has values from {low:g} to {high:g}; a dataset gives [0, 1]: divide by the '
            'largest value of its bit depth (255 for 8 bits, 2047 for 11, 65535 for 16)'
        )
