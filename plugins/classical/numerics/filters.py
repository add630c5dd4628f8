"""Low-pass filters of the classical methods, on lazy images.

Each reproduces the border rule of the DLPan toolbox, on which the published figures depend.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.imaging.block_filters import FourierFilter, SeparableFilter
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.mtf import KERNEL_SIZE, mtf_kernel
from plugins.pansharpening.scenes.window import Window

# A gain of 0.3 at Nyquist, for a Gaussian whose deviation is counted over 41 samples instead of the
# 40 steps between them, as in the toolbox's filter without a sensor.
LOWPASS_GAIN = 0.3 ** ((40 / 41) ** 2)
# An MTF kernel is approximated by a sum of at most MOST_TERMS separable kernels, until the sum of
# the remaining taps is below this (quotients with a small denominator magnify the error).
KERNEL_ERROR = 1e-8
MOST_TERMS = 12


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
    return decimate(smooth(pan, window, ratio), ratio)


def decimate_by_mtf(image: LazyImage, gain: float, ratio: int) -> LazyImage:
    """Filters an image by an MTF and decimates it: (B, C, H, W) -> (B, C, h, w).

    Equals `decimate` of `mtf_filter`, computed only at those pixels; the image's size is a multiple
    of the ratio.
    """
    return _mtf(gain, ratio, ratio).of(image)


def filter_by_mtf(image: LazyImage, gain: float, ratio: int) -> LazyImage:
    """Filters all bands of a lazy image by one MTF, as a sum of separable filters."""
    return _mtf(gain, ratio, 1).of(image)


def _spline(image: Tensor, dim: int) -> Tensor:
    """Filters by (1 4 6 4 1) / 16 along an axis; the result is two pixels shorter on each side."""
    taps = [image.narrow(dim, k, image.shape[dim] - 4) for k in range(5)]
    return (taps[0] + taps[4]) / 16 + (taps[1] + taps[3]) / 4 + taps[2] * 0.375


@functools.cache
def _lowpass(ratio: int) -> FourierFilter:
    return FourierFilter(mtf_kernel(LOWPASS_GAIN, ratio).numpy())


@functools.cache
def _mtf(gain: float, ratio: int, stride: int) -> SeparableFilter:
    vertical, horizontal = _separate(mtf_kernel(gain, ratio).numpy())
    first = stride // 2 - KERNEL_SIZE // 2
    # Fewer steps multiply by fewer zeros, and are faster for long kernels.
    steps = 8 if stride > 1 else 16
    return SeparableFilter(
        vertical[:, None], horizontal[:, None], stride, first, 'replicate', steps
    )


def _separate(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Separates a symmetric kernel into a sum of vertical[r] horizontal[r]^T: (R, taps) each."""
    values, vectors = np.linalg.eigh(kernel)
    order = np.abs(values).argsort()[::-1]
    largest, rest = [], kernel
    while np.abs(rest).sum() > KERNEL_ERROR and len(largest) < MOST_TERMS:
        i = order[len(largest)]
        largest.append(i)
        rest = rest - values[i] * np.outer(vectors[:, i], vectors[:, i])
    # The kernel's sum, and so the mean of an image, stays exact.
    values[largest[0]] += rest.sum() / vectors[:, largest[0]].sum() ** 2
    return vectors[:, largest].T, values[largest, None] * vectors[:, largest].T
