"""Resampling of images: the field's 23-tap interpolation and MATLAB's imresize.

Two conventions of where low-resolution sample i lies on the fine grid are in use: `interp23tap`
puts it at ratio * i + ratio / 2, the others at the centre of its ratio x ratio pixels, which is
half a fine pixel less.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from plugins.pansharpening.imaging.block_filters import SeparableFilter
from plugins.pansharpening.imaging.lazy_image import Border, LazyImage

Method = Literal['interp23tap', 'bicubic', 'bilinear', 'nearest']

# The odd taps of the 23-tap half-band filter (Aiazzi et al., IEEE TGRS 40(10), 2002), gain 2, from
# the centre out; its even taps are 0 but for the centre, which is 1.
HALF_BAND = (
    0.610668182370,
    -0.145397186478,
    0.043619155884,
    -0.010385513306,
    0.001615524292,
    -0.000120162964,
)
TAP_REACH = 2 * len(HALF_BAND) - 1


def upsample(
    image: Tensor, ratio: int, method: Method = 'interp23tap', border: Border = 'replicate'
) -> Tensor:
    """Enlarge an image by an integer ratio. Differentiable.

    Args:
        image: (B, C, h, w), floating point.
        ratio: fine pixels per coarse pixel; a power of two for 'interp23tap'.
        method: interpolation; the docstring of the module has the positions of the samples.
        border: how the image is continued; 'wrap' and 'mirror' count for 'interp23tap' alone, the
            others replicate the border instead.
    Returns:
        (B, C, ratio h, ratio w).
    Raises:
        ValueError: an unknown method, or a ratio that it cannot do.
    """
    chosen = _choose_upsampler(ratio, method, border)
    return image if chosen is None else chosen.filter_whole(image)


def upsampled(
    field: LazyImage, ratio: int, method: Method = 'interp23tap', border: Border = 'replicate'
) -> LazyImage:
    """`upsample` of a field: any window of it holds the same bits as the whole.

    Raises:
        ValueError: an unknown method, or a ratio that it cannot do.
    """
    chosen = _choose_upsampler(ratio, method, border)
    return field if chosen is None else chosen.of(field)


def interp23tap(image: Tensor, ratio: int) -> Tensor:
    """Interpolate by doublings with the 23-tap half-band filter; borders wrap around.

    Sample i goes to ratio * i + ratio / 2, as the toolbox's function of this name has it.

    Args:
        image: (B, C, h, w), floating point.
        ratio: a power of two.
    Returns:
        (B, C, ratio h, ratio w).
    Raises:
        ValueError: `ratio` is no power of two.
    """
    return upsample(image, ratio, 'interp23tap', 'wrap')


def decimate(image: Tensor, ratio: int, method: Method = 'interp23tap') -> Tensor:
    """Takes coarse samples of a fine image at the positions that `upsample` assumes.

    Nothing is filtered; a position between pixels takes their mean, as for all methods but
    'interp23tap' at even ratios.

    Args:
        image: (..., H, W), floating point.
        ratio: fine pixels per coarse pixel.
        method: method of upsampling, which defines the positions of samples.
    Returns:
        (..., H // ratio, W // ratio). Differentiable.
    """
    height, width = (extent // ratio for extent in image.shape[-2:])

    def at(row: int, col: int) -> Tensor:
        return image[..., row::ratio, col::ratio][..., :height, :width]

    last = ratio // 2
    first = last - 1 if method != 'interp23tap' and ratio % 2 == 0 else last
    if first == last:
        return at(last, last)
    return (at(first, first) + at(first, last) + at(last, first) + at(last, last)) / 4


def low_pass(image: Tensor, ratio: int) -> Tensor:
    """Applies the filter of a bicubic reduction to each pixel; the border is replicated.

    Args:
        image: (B, C, H, W), floating point.
        ratio: by how much the result could be reduced.
    Returns:
        (B, C, H, W). Differentiable.
    """
    if ratio == 1:
        return image
    return _low_pass(ratio).filter_whole(image)


@functools.cache
def _low_pass(ratio: int) -> SeparableFilter:
    place = np.arange(1 - 2 * ratio, 2 * ratio)
    weight = _cubic(place / ratio)
    return SeparableFilter((weight / weight.sum())[None], 1, int(place[0]), 'replicate', 64)


def _choose_upsampler(ratio: int, method: Method, border: Border) -> SeparableFilter | None:
    """Chooses a filter; None for a ratio of 1."""
    if method not in get_args(Method):
        raise ValueError(
            f'no upsampling is named {method!r}; there are: {", ".join(get_args(Method))}'
        )
    if ratio < 1:
        raise ValueError(f'ratio must be at least 1, found {ratio}')
    return None if ratio == 1 else _upsampler(ratio, method, border)


@functools.cache
def _upsampler(ratio: int, method: Method, border: Border) -> SeparableFilter:
    if method == 'interp23tap':
        return _enlarging(polyphase(ratio), border)
    if method == 'nearest':
        kernel = np.ones((ratio, 1))
    elif method == 'bilinear':
        kernel = _interpolating(_tent, 1, ratio)
    else:
        kernel = _interpolating(functools.partial(_cubic, a=-0.75), 2, ratio)
    return _enlarging(kernel, border if border == 'extrapolate' else 'replicate')


def _enlarging(kernel: np.ndarray, border: Border) -> SeparableFilter:
    """Makes the filter that enlarges by the number of phases of a kernel (phases, taps)."""
    phases, taps = kernel.shape
    steps = max(32 // phases, 8)
    return SeparableFilter(kernel, 1, -(taps // 2), border, steps)


def _interpolating(shape: Callable[[np.ndarray], np.ndarray], reach: int, ratio: int) -> np.ndarray:
    """Computes weights (ratio, taps) of the samples within `reach` for each fine pixel."""
    place = (np.arange(ratio) + 0.5) / ratio - 0.5
    weight = shape(place[:, None] - np.arange(-reach, reach + 1))
    return weight / weight.sum(1, keepdims=True)


@functools.cache
def polyphase(ratio: int) -> np.ndarray:
    """Joins all doublings of `interp23tap` into one filter for each position between samples.

    Returns:
        (ratio, taps) float64: fine pixel ratio * k + p is the sum over t of entry (p, t) times the
        sample k + t - taps // 2.  taps // 2 is how many samples around it a pixel depends on.
    Raises:
        ValueError: `ratio` is no power of two.
    """
    if ratio < 2 or ratio & (ratio - 1):
        raise ValueError(
            f'interp23tap doubles the size some times and cannot enlarge by {ratio}; '
            "use a ratio of 2, 4, 8, ..., or the method 'bicubic'"
        )
    odd = np.array(HALF_BAND)
    half_band = np.zeros(2 * TAP_REACH + 1)
    half_band[TAP_REACH] = 1
    half_band[TAP_REACH + 1 :: 2] = odd
    half_band[TAP_REACH - 1 :: -2] = odd
    response, step = np.ones(1), ratio // 2
    while step:
        spread = np.zeros(2 * TAP_REACH * step + 1)
        spread[::step] = half_band
        response, step = np.convolve(response, spread), step // 2
    centre = len(response) // 2
    reach = -(-(centre + ratio // 2) // ratio)
    kernel = np.zeros((ratio, 2 * reach + 1))
    for phase in range(ratio):
        for tap in range(2 * reach + 1):
            distance = phase - ratio // 2 - ratio * (tap - reach)
            if abs(distance) <= centre:
                kernel[phase, tap] = response[centre + distance]
    used = np.abs(kernel).any(0).nonzero()[0]
    trim = min(used[0], 2 * reach - used[-1])
    return kernel[:, trim : 2 * reach + 1 - trim].copy()


def imresize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic resize as MATLAB's `imresize` with its antialiasing and mirrored borders.

    Args:
        image: (..., H, W), floating point.
        size: height and width of the result.
    Returns:
        (..., *size). Differentiable.
    """
    for dim, length in ((-2, size[0]), (-1, size[1])):
        if image.shape[dim] != length:
            image = _resize_axis(image, dim, length)
    return image


def imresize_by(image: Tensor, ratio: int) -> Tensor:
    """`imresize` by 1 / ratio; (..., H, W) -> (..., ceil(H / ratio), ceil(W / ratio))."""
    h, w = image.shape[-2:]
    return imresize(image, (-(-h // ratio), -(-w // ratio)))


def imresized_by(field: LazyImage, ratio: int) -> LazyImage:
    """`imresize_by` of a field whose size is a multiple of the ratio, window by window."""
    return field if ratio == 1 else _reducer(ratio).of(field)


def imresized_to(field: LazyImage, ratio: int) -> LazyImage:
    """`imresize` of a field to `ratio` times its size, window by window."""
    return field if ratio == 1 else _enlarger(ratio).of(field)


@functools.cache
def _reducer(ratio: int) -> SeparableFilter:
    # Result 0 lies at (ratio - 1) / 2 and takes what is less than 2 ratio away.
    first = -((3 * ratio + 1) // 2)
    place = np.arange(first, first + 4 * ratio + 2)
    weight = _cubic((place - (ratio - 1) / 2) / ratio)
    return SeparableFilter((weight / weight.sum())[None], ratio, first, 'mirror')


@functools.cache
def _enlarger(ratio: int) -> SeparableFilter:
    return _enlarging(_interpolating(_cubic, 2, ratio), 'mirror')


def _resize_axis(image: Tensor, dim: int, length: int) -> Tensor:
    extent = image.shape[dim]
    scale = length / extent
    stretch = min(scale, 1.0)  # reducing widens the kernel: antialiasing
    support = 4 / stretch
    centre = (np.arange(length) + 0.5) / scale - 0.5
    first = np.floor(centre - support / 2).astype(np.int64)
    taps = np.arange(int(support) + 3)
    index = first[:, None] + taps  # (length, taps)
    weight = stretch * _cubic(stretch * (centre[:, None] - index))
    weight = weight / weight.sum(1, keepdims=True)
    mirrored = index % (2 * extent)  # 0 1 2 2 1 0 0 1 2 ...
    index = np.where(mirrored < extent, mirrored, 2 * extent - 1 - mirrored)
    shape = [-1, 1] if dim == -2 else [-1]
    # Tap by tap: memory of one result, where a (length, taps) gather would need `taps` of them.
    used = [tap for tap in range(len(taps)) if weight[:, tap].any()]
    index = torch.from_numpy(index).to(image.device)
    weight = torch.from_numpy(weight).to(image)
    return sum(
        (weight[:, t].view(shape) * image.index_select(dim, index[:, t]) for t in used[1:]),
        start=weight[:, used[0]].view(shape) * image.index_select(dim, index[:, used[0]]),
    )


def _tent(x: np.ndarray) -> np.ndarray:
    return (1 - np.abs(x)).clip(min=0)


def _cubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    """Keys' cubic convolution kernel: a = -1/2 in MATLAB and GDAL, -3/4 in torch."""
    x = np.abs(x)
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))
