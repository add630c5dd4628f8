"""Shifts of an image by a fraction of its pixels."""

from __future__ import annotations

import functools

import numpy as np

from plugins.pansharpening.scenes.window import Read, Window, read_around

# Pixels on each side of a pixel that its shifted value is interpolated from.
SHIFT_REACH = 6
KAISER_BETA = 5.0


def read_shifted(
    read: Read,
    window: Window,
    shape: tuple[int, int],
    offset: tuple[float, float],
    slope: float = 0.0,
) -> np.ndarray:
    """Reads a window of an image whose samples are taken at other places.

    Result pixel (i, j) is the image at (i + rows, j + columns), interpolated by a sinc under a
    Kaiser window; beyond its border the image is continued. Windows hold the bits of the whole one.

    Args:
        read: reads a window of the image, (C, h, w), floating point.
        window: inside the image.
        shape: height and width of the image.
        offset: rows and columns, in pixels of the image.
        slope: of the continuation, see `pad_image`; 0 repeats the border.
    """
    whole = [round(distance) for distance in offset]
    rest = [distance - steps for distance, steps in zip(offset, whole)]
    margin = SHIFT_REACH + max(abs(steps) for steps in whole)
    image = read_around(read, window, margin, shape, slope)
    for axis, (steps, distance, extent) in enumerate(zip(whole, rest, window.shape), start=1):
        image = _interpolate(image, axis, margin + steps, extent, distance)
    return np.ascontiguousarray(image)


def _interpolate(
    image: np.ndarray, axis: int, start: int, extent: int, distance: float
) -> np.ndarray:
    """Interpolates `extent` pixels from `start` on along an axis, `distance` pixels further."""

    def take(first: int) -> np.ndarray:
        place: list[slice] = [slice(None)] * image.ndim
        place[axis] = slice(first, first + extent)
        return image[tuple(place)]

    if not distance:
        return take(start)
    # Tap by tap, so that a pixel's sum has one order whatever the window is.
    result: np.ndarray | None = None
    for tap, weight in zip(range(-SHIFT_REACH + 1, SHIFT_REACH + 1), _weights(distance)):
        term = image.dtype.type(weight) * take(start + tap - (distance < 0))
        result = term if result is None else result + term
    assert result is not None
    return result


@functools.lru_cache(16)
def _weights(distance: float) -> np.ndarray:
    """Computes the weights of the pixels around a place between two pixels; their sum is 1."""
    place = np.arange(-SHIFT_REACH + 1, SHIFT_REACH + 1) - distance % 1
    window = np.i0(KAISER_BETA * np.sqrt((1 - (place / SHIFT_REACH) ** 2).clip(min=0)))
    weights = np.sinc(place) * window
    return weights / weights.sum()
