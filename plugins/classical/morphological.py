"""Modulation by a low-pass image that a pyramid of morphological filters makes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.classical.high_pass import SFIM
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.window import Window

# Units of the coarsest level around a window: what the filters and the interpolation look at.
REACH = 4


@GENERATORS.register(name='MF')
class MF(SFIM):
    """Morphological half gradients: E_k P_k / low(P_k), where low is a nonlinear pyramid.

    Each level replaces a pixel by the mean of the largest and the smallest of itself and its four
    neighbours, which is the pixel less half the difference of its two gradients, and takes every
    second pixel: from the second on in the first level, from the first on in the others. There are
    as many levels as octaves in the ratio, and bilinear interpolation brings the last back to PAN's
    pixels. Of each four pixels in a row (ratio 4) the second is taken; the toolbox interpolates it
    as if it lay in their middle, half a pixel further, which is done where its tables are
    reproduced (`border: wrap`) and nowhere else. A match by a positive gain and an offset goes
    through all of this, so one pyramid serves all bands. Images whose sides are no multiple of the
    coarsest pixel are continued by their last row and column. Damped where the divisor nears zero,
    by `numerics.modulation`.

    Source: Restaino, Vivone, Dalla Mura and Chanussot, "Fusion of multispectral and panchromatic
        images based on morphological operators", IEEE TIP 25(6), 2016; match and places of the
        samples as in the toolbox of Vivone et al., IEEE GRSM 9(1), 2021.
    """

    def _lowpass(self, pan: LazyImage, window: Window) -> Tensor:
        levels = math.ceil(math.log2(self.ratio)) if self.ratio > 1 else 0
        return filter_by_pyramid(pan, window, levels)


def filter_by_pyramid(pan: LazyImage, window: Window, levels: int) -> Tensor:
    """Filters the PAN by the pyramid of `MF`: (B, 1, height, width) of the window."""
    unit = 2**levels
    height, width = pan.shape[-2:]
    # The pyramid begins at the same pixels for any window.
    row, col = (max(start // unit - REACH, 0) * unit for start in (window.row, window.col))
    bottom, right = (
        min((-(-end // unit) + REACH) * unit, side)
        for end, side in ((window.bottom, height), (window.right, width))
    )
    around = Window.between(row, col, bottom, right)
    image = pan.read(around)
    odd = (0, -around.width % unit, 0, -around.height % unit)
    image = F.pad(image, odd, mode='replicate') if any(odd) else image
    for level in range(levels):
        first = 1 if level == 0 else 0
        image = _average_extremes(image)[..., first::2, first::2]
    for level in reversed(range(levels)):
        first = None if pan.border == 'wrap' else 1 if level == 0 else 0
        image = _double(_double(image, -2, first), -1, first)
    return window.relative_to(around).cut(image)


def _average_extremes(image: Tensor) -> Tensor:
    """Averages the largest and the smallest of each pixel and its four neighbours."""
    wide = F.pad(image, (1, 1, 1, 1), mode='replicate')
    above, below = wide[..., :-2, 1:-1], wide[..., 2:, 1:-1]
    left, right = wide[..., 1:-1, :-2], wide[..., 1:-1, 2:]
    largest = smallest = image
    for neighbour in (above, below, left, right):
        largest, smallest = largest.maximum(neighbour), smallest.minimum(neighbour)
    return (largest + smallest) / 2


def _double(image: Tensor, dim: int, first: int | None) -> Tensor:
    """Doubles an axis by bilinear interpolation; the border is replicated.

    Pixels were taken from pixel `first` of each two; None for the middle between both.
    """
    length = image.shape[dim]
    ends = (image.narrow(dim, 0, 1), image, image.narrow(dim, length - 1, 1))
    wide = torch.cat(ends, dim)
    before, after = wide.narrow(dim, 0, length), wide.narrow(dim, 2, length)
    if first is None:
        pair = [(before + 3 * image) / 4, (3 * image + after) / 4]
    else:
        pair = [image, (image + after) / 2] if first == 0 else [(before + image) / 2, image]
    return torch.stack(pair, dim).flatten(dim - 1, dim)
