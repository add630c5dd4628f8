"""Low-pass filters of the classical methods, on lazy images.

Each reproduces the border rule of the DLPan toolbox, on which the published figures depend.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.imaging.block_filters import FourierFilter, SeparableFilter
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.low_rank_filter import LowRankFilter
from plugins.pansharpening.imaging.mtf import mtf_kernel
from plugins.pansharpening.scenes.window import Window

# A gain of 0.3 at Nyquist, for a Gaussian whose deviation is counted over 41 samples instead of the
# 40 steps between them, as in the toolbox's filter without a sensor.
LOWPASS_GAIN = 0.3 ** ((40 / 41) ** 2)


def decimate(image: Tensor, ratio: int) -> Tensor:
    """Takes every ratio-th pixel from ratio // 2 on, the positions of samples in `interp23tap`.

    Shape: (B, C, H, W) -> (B, C, h, w).
    """
    return image[..., ratio // 2 :: ratio, ratio // 2 :: ratio]


def pad_to_multiple(image: Tensor, ratio: int) -> Tensor:
    """Pads an image by replicating its border to sides that are multiples of the ratio.

    Shape: (B, C, H, W) -> (B, C, ratio ceil(H / ratio), ratio ceil(W / ratio)).
    """
    odd = (0, -image.shape[3] % ratio, 0, -image.shape[2] % ratio)
    return F.pad(image, odd, mode='replicate') if any(odd) else image


def lowpass(pan: LazyImage, window: Window, ratio: int) -> Tensor:
    """Filters the PAN by the MTF of a sensor with a gain of 0.3; borders are replicated.

    Returns:
        (B, 1, height, width) of the window.
    """
    return _lowpass(ratio)(pan, window)


def smooth(pan: LazyImage, window: Window, ratio: int) -> Tensor:
    """Computes the approximation image of an undecimated wavelet transform in a window.

    For each octave of the ratio, the B3-spline filter (1 4 6 4 1) / 16 is applied for the analysis
    and again for the synthesis. The image is mirrored before each analysis filter, at the border
    that the filter before has moved outwards by two pixels.

    Shape: (B, 1, H, W) -> (B, 1, height, width). Reach: 4 ceil(log2(ratio)) pixels.
    Source: Starck and Murtagh, "Image restoration with noise suppression using the wavelet
        transform", A&A 288, 1994; in pansharpening, Nunez et al., IEEE TGRS 37(3), 1999.
    """
    octaves = math.ceil(math.log2(ratio))
    image, inside = pan.around(window, 4 * octaves)
    for step in range(2 * octaves):
        if step < octaves:
            places = (range(-4, extent + 4) for extent in image.shape[-2:])
            image = LazyImage.of(image).continued(*places, 'mirror')
        image = _spline(_spline(image, -2), -1)
    return image[(..., *inside)]


def smooth_and_decimate(pan: LazyImage, window: Window, ratio: int) -> Tensor:
    """Computes `smooth` at the pixels of `decimate`, (B, 1, h, w)."""
    # Far from the border one filter does the same at the pixels that are kept.
    low = _spline_reducer(ratio)(pan, window.reduced(ratio))
    side = ratio * -(-4 * math.ceil(math.log2(ratio)) // ratio)  # that the border changes
    height, width = pan.shape
    for strip in (
        Window(0, 0, side, width),
        Window(0, 0, height, side),
        Window(height - side, 0, side, width),
        Window(0, width - side, height, side),
    ):
        near = strip.intersect(window)
        if near.pixels:
            place = near.relative_to(window).reduced(ratio)
            place.cut(low).copy_(decimate(smooth(pan, near, ratio), ratio))
    return low


def decimate_by_mtf(
    image: LazyImage, gains: Sequence[float], ratio: int, wide: bool = True
) -> LazyImage:
    """Filters an image by MTFs and decimates it.

    Equals `decimate` of `mtf_filter`, computed only at those pixels; the image's size is a multiple
    of the ratio. `wide` computes in float64, which takes several times as long.

    Shape: (B, 1, H, W) -> (B, number of gains, h, w), or (B, C, H, W) -> (B, C, h, w) for one gain.
    """
    made = _wide_mtf(tuple(gains), ratio, ratio) if wide else _mtf(tuple(gains), ratio)
    return made.of(image)


def filter_by_mtf(image: LazyImage, gain: float, ratio: int) -> LazyImage:
    """Filters all bands of a lazy image by one MTF."""
    return _wide_mtf((gain,), ratio, 1).of(image)


def _spline(image: Tensor, dim: int) -> Tensor:
    """Filters by (1 4 6 4 1) / 16 along an axis; the result is two pixels shorter on each side."""
    taps = [image.narrow(dim, k, image.shape[dim] - 4) for k in range(5)]
    return (taps[0] + taps[4]) / 16 + (taps[1] + taps[3]) / 4 + taps[2] * 0.375


@functools.cache
def _spline_reducer(ratio: int) -> SeparableFilter:
    kernel = np.ones(1)
    for _ in range(2 * math.ceil(math.log2(ratio))):
        kernel = np.convolve(kernel, np.array([1, 4, 6, 4, 1]) / 16)
    first = ratio // 2 - len(kernel) // 2
    return SeparableFilter(kernel[None], ratio, first, 'replicate')


@functools.cache
def _lowpass(ratio: int) -> FourierFilter:
    return FourierFilter(mtf_kernel(LOWPASS_GAIN, ratio).numpy()[None])


@functools.cache
def _wide_mtf(gains: tuple[float, ...], ratio: int, stride: int) -> FourierFilter:
    return FourierFilter(_kernels(gains, ratio), stride, 256 if stride == 1 else 64, wide=True)


@functools.cache
def _mtf(gains: tuple[float, ...], ratio: int) -> LowRankFilter:
    return LowRankFilter(_kernels(gains, ratio), ratio)


def _kernels(gains: tuple[float, ...], ratio: int) -> np.ndarray:
    return np.stack([mtf_kernel(gain, ratio).numpy() for gain in gains])
