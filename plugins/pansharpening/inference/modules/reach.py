"""Measures how far a network looks, and at which places its windows may start."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from toolkit.errors import ToolkitError

# Fuses lrms_up (1, C, H, W) and pan (1, 1, H, W).
Fuse = Callable[[Tensor, Tensor], Tensor]

# The edge of what is made unknown lies here, a multiple of the strides of common networks.
EDGE = 192
# Width of the strips in pixels, and their lengths: what reaches across the longest is 'global'.
WIDTH = 64
LENGTHS = (EDGE + 64, EDGE + 320, EDGE + 1088)
# Places where windows may start, from the densest.
STRIDES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 192)
# Difference of two results, by their largest value, that is more than rounding in float32, and on
# other devices than the CPU, which may multiply by fewer bits (TF32).
ROUNDING, ROUNDING_ELSEWHERE = 1e-5, 1e-4


class Reach(NamedTuple):
    """The surroundings that a network must see of a window.

    Attributes:
        halo: PAN pixels around a window that its result depends on; 'global' for all of them.
        stride: windows start at multiples of this number of PAN pixels.
    """

    halo: int | Literal['global']
    stride: int


def measure_reach(fuse: Fuse, bands: int, ratio: int, device: torch.device) -> Reach:
    """Measures the halo and the stride of a network.

    One half of a strip of random pixels is replaced by NaN, which passes through convolutions,
    activations and pooling alike, even where a unit is dead; all results that depend on it become
    NaN, and for some algorithms of convolution a few more, so the halo may be larger than it must.
    Then windows that start elsewhere are compared with the whole strip.

    Args:
        fuse: the network in evaluation mode, on `device`.
        bands: C.
        ratio: PAN pixels per multispectral pixel; the stride is a multiple of it.
        device: to compute on.
    Raises:
        ToolkitError: the network fails, gives an image of another shape or not the same image
            twice, or starts at no multiple of up to 192 pixels.
    """
    halo: int | Literal['global'] = 'global'
    for length in LENGTHS:
        found = [
            _measure_side(fuse, bands, length, axis, after, device)
            for axis in (2, 3)
            for after in (False, True)
        ]
        if None not in found:
            halo = max(side for side in found if side is not None)
            break
    if halo == 'global':
        return Reach(halo, ratio)
    for stride in dict.fromkeys(math.lcm(stride, ratio) for stride in STRIDES):
        if stride <= EDGE and all(
            _may_start(fuse, bands, int(halo), stride, axis, device) for axis in (2, 3)
        ):
            return Reach(halo, stride)
    raise ToolkitError(
        f'the network lets NaN pass {halo} PAN pixels far, but windows that start at a multiple of '
        f'{ratio} up to {EDGE} have other values: it replaces NaN, or is not the same twice; '
        'give halo (and stride), or halo="global" to run it on the whole scene'
    )


def _measure_side(
    fuse: Fuse, bands: int, length: int, axis: int, after: bool, device: torch.device
) -> int | None:
    """Measures how far unknown pixels before (or after) the edge reach; None for the whole strip.

    Args:
        fuse: the network.
        bands: C.
        length: of the strip.
        axis: along which it lies.
        after: the pixels after the edge are unknown.
        device: to compute on.
    """
    images = _make_strip(bands, length, axis, device)
    edge = length - EDGE if after else EDGE
    for image in images:
        image.narrow(axis, edge if after else 0, EDGE).fill_(torch.nan)
    unknown = fuse(*images).isnan().any(1)[0].any(3 - axis)  # (length,)
    reached = (unknown[:edge].flip(0) if after else unknown[edge:]).nonzero()
    halo = int(reached.max()) + 1 if len(reached) else 0
    return None if halo >= length - EDGE else halo


def _may_start(
    fuse: Fuse, bands: int, halo: int, stride: int, axis: int, device: torch.device
) -> bool:
    """Tells whether a window that starts one stride later has the same values inside its halo."""
    side = -(-(2 * halo + 64) // 64) * 64
    images = _make_strip(bands, side + EDGE, axis, device)
    inside = (halo, side - 2 * halo)
    whole = fuse(*images).narrow(axis, stride + halo, inside[1])
    moved = [image.narrow(axis, stride, side).contiguous() for image in images]
    return is_equal(fuse(*moved).narrow(axis, *inside), whole)


def is_equal(found: Tensor, expected: Tensor) -> bool:
    """Tells whether two results differ by no more than rounding."""
    rounding = ROUNDING if found.device.type == 'cpu' else ROUNDING_ELSEWHERE
    largest = max(1.0, float(expected.abs().max()))
    return float((found.float() - expected.float()).abs().max()) <= rounding * largest


def _make_strip(bands: int, length: int, axis: int, device: torch.device) -> tuple[Tensor, Tensor]:
    size = (length, WIDTH) if axis == 2 else (WIDTH, length)
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(1, count, *size, generator=generator) for count in (bands, 1))
    lrms_up, pan = (image.to(device) for image in images)
    return lrms_up, pan
