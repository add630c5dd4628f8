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


def read_filled(
    read: Callable[[Window], tuple[np.ndarray, np.ndarray | None]],
    window: Window,
    shape: tuple[int, int],
    reach: int,
) -> np.ndarray:
    """Reads a window whose pixels without data are filled by `fill_invalid` from around it.

    Args:
        read: reads a window of the image (C, h, w) and of its mask (h, w); None if all is valid.
        window: inside the image.
        shape: height and width of the image.
        reach: see `fill_invalid`.
    """
    image, valid = read(window)
    if valid is None or valid.all():
        return image
    wide = window.expand(reach, shape)
    image, valid = read(wide)
    assert valid is not None
    return np.ascontiguousarray(window.relative_to(wide).cut(fill_invalid(image, valid, reach)))


def fill_invalid(image: np.ndarray, valid: np.ndarray, reach: int) -> np.ndarray:
    """Continues an image into its pixels without data.

    Ring by ring, each pixel becomes the weighted mean of its up to eight neighbours that hold data
    or are filled already; those at its sides count SIDE_WEIGHT times. A filled pixel depends on no
    pixel farther away than its ring's number, so that windows that are read with `reach` pixels
    around them hold the bits of the whole image.

    Args:
        image: (C, h, w), floating point; zero without data.
        valid: (h, w) bool, pixels with data.
        reach: number of rings, in pixels; pixels beyond stay zero.
    Returns:
        (C, h, w); the image itself if there is nothing to fill.
    """
    if valid.all() or not valid.any():
        return image
    bands, _, width = image.shape
    # A frame without data, so that every pixel has eight neighbours.
    filled = np.pad(image, ((0, 0), (1, 1), (1, 1))).reshape(bands, -1)
    known = np.pad(valid, 1).ravel()
    inside = np.pad(np.ones_like(valid), 1).ravel()
    width += 2
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
            count += weight * known[ring + step]
            total += weight * filled[:, ring + step]  # zero where it is not known yet
        filled[:, ring] = total / count
        known[ring] = True
        ring = np.unique((ring[:, None] + around).ravel())
        ring = ring[~known[ring] & inside[ring]]
    return np.ascontiguousarray(filled.reshape(bands, -1, width)[:, 1:-1, 1:-1])


def _touch(known: np.ndarray) -> np.ndarray:
    """Finds the pixels that are known or have a known neighbour."""
    rows = known.copy()
    rows[1:] |= known[:-1]
    rows[:-1] |= known[1:]
    near = rows.copy()
    near[:, 1:] |= rows[:, :-1]
    near[:, :-1] |= rows[:, 1:]
    return near
