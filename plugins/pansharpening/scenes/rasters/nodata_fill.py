"""Filling of pixels without data from their neighbours, before filters and networks read them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from plugins.pansharpening.scenes.window import Window

# The fill reaches so many PAN pixels from the nearest pixel with data: farther than any filter, and
# any network whose halo is less, looks from there.
FILL_REACH = 64
# Of the four nearest neighbours; of 1, 2 and 4, this gave the least errors along drawn rims.
SIDE_WEIGHT = 4
# Share of a neighbour's value by which a fill may differ from it: light does not become negative.
# Upwards it ends at the full scale, 1.
LARGEST_STEP = np.float32(0.5)


def read_filled(
    read: Callable[[Window], tuple[np.ndarray, np.ndarray | None]],
    window: Window,
    shape: tuple[int, int],
    reach: int,
    slope: float = 0.0,
) -> np.ndarray:
    """Reads a window whose pixels without data are filled by `fill_invalid` from around it.

    Args:
        read: reads a window of the image (C, h, w) and of its mask (h, w); None if all is valid.
        window: inside the image.
        shape: height and width of the image.
        reach: see `fill_invalid`.
        slope: see `fill_invalid`.
    """
    image, valid = read(window)
    if valid is None or valid.all():
        return image
    wide = window.expand(reach + 1, shape)
    image, valid = read(wide)
    assert valid is not None
    return np.ascontiguousarray(
        window.relative_to(wide).cut(fill_invalid(image, valid, reach, slope))
    )


def fill_invalid(
    image: np.ndarray, valid: np.ndarray, reach: int, slope: float = 0.0
) -> np.ndarray:
    """Continues an image into its pixels without data.

    Ring by ring, each pixel becomes the weighted mean of what its up to eight neighbours that hold
    data or are filled already say; those at its sides count SIDE_WEIGHT times. A neighbour says its
    own value, plus `slope` times its difference to the next pixel in the same direction, where that
    is known: at most half of its value, and not beyond 1. A filled pixel depends on no pixel
    farther away than its ring's number and one, so that windows that are read with `reach` + 1
    pixels around them hold the bits of the whole image.

    Args:
        image: (C, h, w), floating point with the full scale 1; zero without data.
        valid: (h, w) bool, pixels with data.
        reach: number of rings, in pixels; pixels beyond stay zero.
        slope: share of each step in the next one, see `scenes.continuation`.
    Returns:
        (C, h, w); the image itself if there is nothing to fill.
    """
    if valid.all() or not valid.any():
        return image
    bands, _, width = image.shape
    # A frame without data, so that every pixel has eight neighbours, and each of these the next.
    filled = np.pad(image, ((0, 0), (2, 2), (2, 2))).reshape(bands, -1)
    known = np.pad(valid, 2).ravel()
    inside = np.pad(np.ones_like(valid), 2).ravel()
    width += 4
    sides, corners = (-width, -1, 1, width), (-width - 1, -width + 1, width - 1, width + 1)
    around = np.array([*sides, *corners])
    weights = [image.dtype.type(SIDE_WEIGHT)] * 4 + [image.dtype.type(1)] * 4
    ring = np.flatnonzero(_touch(known.reshape(-1, width)).ravel() & ~known & inside)
    for _ in range(reach):
        if not ring.size:
            break
        total = np.zeros((bands, ring.size), image.dtype)
        count = np.zeros(ring.size, image.dtype)
        for step, weight in zip(around, weights):
            near = ring + step
            count += weight * known[near]
            total += weight * filled[:, near]  # zero where it is not known yet
            if slope:
                both = known[near] & known[near + step]
                steps = image.dtype.type(slope) * (filled[:, near] - filled[:, near + step])
                limit = LARGEST_STEP * np.abs(filled[:, near])
                room = np.minimum(limit, (1 - filled[:, near]).clip(min=0))
                total += weight * (both * steps.clip(-limit, room))
        filled[:, ring] = total / count
        known[ring] = True
        ring = np.unique((ring[:, None] + around).ravel())
        ring = ring[~known[ring] & inside[ring]]
    return np.ascontiguousarray(filled.reshape(bands, -1, width)[:, 2:-2, 2:-2])


def _touch(known: np.ndarray) -> np.ndarray:
    """Finds the pixels that are known or have a known neighbour."""
    rows = known.copy()
    rows[1:] |= known[:-1]
    rows[:-1] |= known[1:]
    near = rows.copy()
    near[:, 1:] |= rows[:, :-1]
    near[:, :-1] |= rows[:, 1:]
    return near
