"""Checks that a scene can be trained on: value range, saturation, valid area."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from plugins.pansharpening.data.patches import ScenePatches
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError

# MS pixels: side of the blocks in which a scene is read.
BLOCK = 512
# PAN pixels: the indices' blocks, below which nothing can be scored.
LEAST_SIDE = 32
# MS pixels: below it a patch is mostly border.
LEAST_PATCH = 8
# Shares of PAN's pixels at its largest number: what is said, and what is refused.
NOTABLE, TOO_MUCH = 0.05, 0.5
# Whole numbers below this hold no image.
LEAST_NUMBER = 2.0


class SceneStatistics(NamedTuple):
    """Value range, saturation and valid area of a scene.

    Attributes:
        largest: largest digital number of MS and PAN.
        pan: smallest and largest digital number of the PAN.
        saturated: share of the PAN's pixels at its largest number.
        valid: share of the scene's pixels with data.
    """

    largest: float
    pan: tuple[float, float]
    saturated: float
    valid: float

    @property
    def bit_depth(self) -> int:
        """Smallest bit depth for all digital numbers."""
        return max(1, int(round(self.largest))).bit_length()


def survey(scene: Scene) -> SceneStatistics:
    """Computes the statistics of a scene, block by block.

    Raises:
        DataError: it cannot be read, or holds NaN or numbers beyond its bit depth.
    """
    largest, low, high, at_high, valid = -math.inf, math.inf, -math.inf, 0, 0
    for window in Window.whole(scene.ms_shape).tiles(BLOCK):
        fine = window.enlarged(scene.ratio)
        ms, pan = scene.read_ms(window), scene.read_pan(fine)[0]  # (C, h, w), (H, W)
        mask = scene.read_mask(fine)
        if mask is not None:
            coarse = mask.reshape(window.height, scene.ratio, window.width, scene.ratio)
            ms, pan = ms[:, coarse.any((1, 3))], pan[mask]
        if not pan.size:
            continue
        valid += pan.size
        top = float(pan.max())
        if top > high:
            high, at_high = top, 0
        at_high += int(np.count_nonzero(pan == high))
        low = min(low, float(pan.min()))
        largest = max(largest, top, float(ms.max()))
    scale = scene.scale
    share = at_high / max(valid, 1)
    return SceneStatistics(
        largest * scale, (low * scale, high * scale), share, valid / math.prod(scene.pan_shape)
    )


def check(scene: Scene, found: SceneStatistics) -> str | None:
    """Refuses a scene that cannot be trained on.

    Args:
        scene: scene to check.
        found: its statistics.
    Returns:
        A warning for the user; None for none.
    Raises:
        DataError: a PAN that is no finer, constant or saturated, a scene that is too small or
            holds no digital numbers.
    """
    height, width = scene.pan_shape
    name = scene.name
    if scene.ratio < 2:
        raise DataError(
            f'{name}: found a PAN with pixels as large as those of the MS; expected one that is at '
            'least 2 times finer'
        )
    if min(height, width) < LEAST_SIDE or min(scene.ms_shape) < LEAST_PATCH:
        least = max(LEAST_SIDE, LEAST_PATCH * scene.ratio)
        raise DataError(
            f'{name}: found {height} x {width} PAN pixels that both images cover; expected at '
            f'least {least} x {least} to learn from'
        )
    low, high = found.pan
    if low == high:
        raise DataError(
            f'{name}: found the number {high:g} in all pixels of the PAN; expected an image with '
            'detail to sharpen with'
        )
    if found.largest < LEAST_NUMBER and scene.dtype.kind != 'f':
        raise DataError(
            f'{name}: found no number above {found.largest:.3g}; expected digital numbers '
            'or, as floats, reflectances'
        )
    if found.saturated > TOO_MUCH:
        raise DataError(
            f'{name}: found {found.saturated:.0%} of the pixels of the PAN at its largest number '
            f'{high:.0f}, saturated; expected an image with detail there, or a declared nodata'
        )
    if found.saturated <= NOTABLE:
        return None
    return (
        f'{found.saturated:.0%} of the pixels of the PAN are at its largest number {high:.0f}: '
        'saturated pixels have no detail'
    )


def patch_size(scene: Scene, wanted: int) -> int:
    """Finds the side of the patches that a scene can be trained on, in PAN pixels.

    Args:
        scene: scene to train on.
        wanted: largest side.
    Returns:
        A multiple of the ratio, even where that is possible; the largest of `wanted`, its half and
        so on of which the scene holds one that is filled with data.
    Raises:
        DataError: not even the smallest.
    """
    step, side = math.lcm(scene.ratio, 2), min(wanted, *scene.pan_shape)
    least = LEAST_PATCH * scene.ratio
    while side >= least:
        size = side // step * step
        try:
            ScenePatches(scene, size)
        except ValueError:  # larger than the scene, or than any part of it without nodata
            side //= 2
            continue
        return size
    raise DataError(
        f'{scene.name}: found no piece of {least} x {least} PAN pixels that is filled with data; '
        'expected some to learn from, so check the nodata values and masks of both images'
    )


def central(scene: Scene, side: int) -> Window:
    """Finds a window with data on whole MS pixels: the middle, or the one with most valid pixels.

    Args:
        scene: scene.
        side: side in PAN pixels; less if the scene is smaller.
    Returns:
        The window in PAN pixels.
    """
    ratio = scene.ratio
    rows, cols = (min(max(side // ratio, 1), extent) for extent in scene.ms_shape)
    height, width = scene.ms_shape
    middle = Window((height - rows) // 2, (width - cols) // 2, rows, cols).enlarged(ratio)
    if not scene.masked or bool(_full(scene, middle) == 1):
        return middle
    places = [
        Window(row, col, rows, cols).enlarged(ratio)
        for row in range(0, height - rows + 1, rows)
        for col in range(0, width - cols + 1, cols)
    ]
    return max([middle, *places], key=lambda window: _full(scene, window))


def _full(scene: Scene, window: Window) -> float:
    mask = scene.read_mask(window)
    return 1.0 if mask is None else float(mask.mean())
