"""Changing the resolution of images: the field's 23-tap interpolation and MATLAB's imresize.

Two conventions of where low-resolution sample i lies on the fine grid are in use: `interp23tap`
puts it at ratio * i + ratio / 2, the others at the centre of its ratio x ratio pixels, which is
half a fine pixel less.
"""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

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


def upsample(image: Tensor, ratio: int, method: Method = 'interp23tap') -> Tensor:
    """Enlarge an image by an integer ratio. Differentiable.

    Args:
        image: (B, C, h, w), floating point.
        ratio: fine pixels per coarse pixel; a power of two for 'interp23tap'.
        method: see the module's docstring for where each puts the samples.
    Returns:
        (B, C, ratio h, ratio w).
    Raises:
        ValueError: an unknown method, or a ratio that it cannot do.
    """
    if ratio < 1:
        raise ValueError(f'ratio must be at least 1, found {ratio}')
    if method == 'interp23tap':
        return interp23tap(image, ratio)
    if method == 'nearest':
        return F.interpolate(image, scale_factor=ratio, mode='nearest')
    if method in ('bicubic', 'bilinear'):
        return F.interpolate(image, scale_factor=ratio, mode=method, align_corners=False)
    raise ValueError(
        f'no upsampling is named {method!r}; there are: interp23tap, bicubic, bilinear, nearest'
    )


def upsample_window(
    image: Tensor, ratio: int, window: tuple[int, int, int, int], method: Method = 'interp23tap'
) -> Tensor:
    """What `upsample` gives in a window, computed from the samples around it alone.

    Args:
        image: (B, C, h, w), the whole image.
        ratio: as for `upsample`.
        window: row, column, height and width in pixels of `image`, inside it.
        method: as for `upsample`.
    Returns:
        (B, C, ratio height, ratio width).
    """
    if method == 'interp23tap':
        reach = polyphase(ratio).shape[1] // 2 if ratio > 1 else 0
    else:
        reach = 3  # bicubic takes two samples on each side
    before = []
    for dim, start, length in ((2, window[0], window[2]), (3, window[1], window[3])):
        extent = image.shape[dim]
        index = torch.arange(start - reach, start + length + reach, device=image.device)
        if method == 'interp23tap':
            index = index.remainder(extent)  # its borders wrap around
        else:
            index = index[(index >= 0) & (index < extent)]
        before.append(reach if method == 'interp23tap' else min(reach, start))
        image = image.index_select(dim, index)
    top, left = (ratio * count for count in before)
    fine = upsample(image, ratio, method)
    return fine[..., top : top + ratio * window[2], left : left + ratio * window[3]]


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
    if ratio == 1:
        return image
    kernel = polyphase(ratio).to(image)  # (ratio, taps)
    reach = kernel.shape[1] // 2
    b, c, h, w = image.shape
    rows = _wrapped(h, reach, image.device)
    cols = _wrapped(w, reach, image.device)
    x = image.reshape(b * c, 1, h, w).index_select(2, rows)
    x = F.conv2d(x, kernel[:, None, :, None])  # (B C, ratio, h, w): the phases of each row
    x = x.transpose(1, 2).reshape(b * c, 1, ratio * h, w).index_select(3, cols)
    x = F.conv2d(x, kernel[:, None, None, :])  # (B C, ratio, ratio h, w)
    return x.permute(0, 2, 3, 1).reshape(b, c, ratio * h, ratio * w)


@torch.compiler.assume_constant_result  # torch.compile is not to trace what happens in numpy
def polyphase(ratio: int) -> Tensor:
    """What all doublings of `interp23tap` come to, as one filter for each position between samples.

    Returns:
        (ratio, taps) float64: fine pixel ratio * k + p is the sum over t of entry (p, t) times the
        sample k + t - taps // 2.  taps // 2 is how many samples around it a pixel depends on.
    Raises:
        ValueError: `ratio` is no power of two.
    """
    return _polyphase(ratio)


@functools.cache
def _polyphase(ratio: int) -> Tensor:
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
    return torch.from_numpy(kernel[:, trim : 2 * reach + 1 - trim].copy())


def _wrapped(extent: int, reach: int, device: torch.device) -> Tensor:
    # Indices, since circular padding may not exceed the image's own size.
    return torch.arange(-reach, extent + reach, device=device).remainder(extent)


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


def _resize_axis(image: Tensor, dim: int, length: int) -> Tensor:
    extent = image.shape[dim]
    scale = length / extent
    stretch = min(scale, 1.0)  # reducing widens the kernel: antialiasing
    support = 4 / stretch
    # On the CPU wherever the image is, so that reading the weights below never waits for a device
    # (nor fails on the meta device, on which shapes are worked out).
    place = torch.arange(length, dtype=torch.float64, device='cpu')
    centre = (place + 0.5) / scale - 0.5
    first = torch.floor(centre - support / 2).long()
    taps = torch.arange(int(support) + 3, device='cpu')
    index = first[:, None] + taps  # (length, taps)
    weight = stretch * _cubic(stretch * (centre[:, None] - index))
    weight = weight / weight.sum(1, keepdim=True)
    mirrored = index.remainder(2 * extent)  # 0 1 2 2 1 0 0 1 2 ...
    index = torch.where(mirrored < extent, mirrored, 2 * extent - 1 - mirrored).to(image.device)
    shape = [-1, 1] if dim == -2 else [-1]
    # Tap by tap: memory of one result, where a (length, taps) gather would need `taps` of them.
    used = [tap for tap in range(len(taps)) if bool(weight[:, tap].any())]
    weight = weight.to(image)
    return sum(
        (weight[:, t].view(shape) * image.index_select(dim, index[:, t]) for t in used[1:]),
        start=weight[:, used[0]].view(shape) * image.index_select(dim, index[:, used[0]]),
    )


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -1/2."""
    x = x.abs()
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, inner, torch.where(x <= 2, outer, torch.zeros_like(x)))
