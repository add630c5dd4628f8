"""Low-pass filters that the classical methods share, on fields.

Each reproduces a border rule of the field's toolbox, which the published figures depend on.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.imaging.lazy_image import FourierFilter, LazyImage, SeparableFilter
from plugins.pansharpening.imaging.mtf import KERNEL_SIZE, mtf_kernel
from plugins.pansharpening.scenes.window import Window

# A gain of 0.3 at Nyquist where the deviation of the Gaussian is laid out over 41 samples and not
# over the 40 steps between them, as the toolbox has it for its sensor-less filter.
LOWPASS_GAIN = 0.3 ** ((40 / 41) ** 2)
# An MTF kernel is taken as a sum of separable ones, as many as leave less than this of any pixel
# (quotients magnify it where they divide by almost nothing), and at most MOST_TERMS.
KERNEL_ERROR = 1e-8
MOST_TERMS = 12


def decimated(image: Tensor, ratio: int) -> Tensor:
    """Every ratio-th pixel from ratio // 2 on, where `interp23tap` puts the samples.

    Shape: (B, C, H, W) -> (B, C, h, w).
    """
    return image[..., ratio // 2 :: ratio, ratio // 2 :: ratio]


def to_multiple(image: Tensor, ratio: int) -> Tensor:
    """Continue an image by its border to sides that are multiples of the ratio.

    Shape: (B, C, H, W) -> (B, C, ratio ceil(H / ratio), ratio ceil(W / ratio)).
    """
    odd = (0, -image.shape[3] % ratio, 0, -image.shape[2] % ratio)
    return F.pad(image, odd, mode='replicate') if any(odd) else image


def lowpass(pan: LazyImage, window: Window, ratio: int) -> Tensor:
    """The PAN as a sensor with a gain of 0.3 would see it; borders are replicated.

    Returns:
        (B, 1, height, width) of the window.
    """
    return _lowpass(ratio)(pan, window)


def smooth(pan: LazyImage, window: Window, ratio: int) -> Tensor:
    """The approximation that an undecimated wavelet transform leaves of an image, in a window.

    For each octave of the ratio the B3-spline filter (1 4 6 4 1) / 16 of the analysis and again
    that of the synthesis. Borders are mirrored before each analysis filter, at the border that the
    one before has moved outwards by two pixels.

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


def smooth_low(pan: LazyImage, window: Window, ratio: int) -> Tensor:
    """`smooth` at the places of `decimated`, (B, 1, h, w)."""
    return decimated(smooth(pan, window, ratio), ratio)


def mtf_decimated(image: LazyImage, gain: float, ratio: int) -> LazyImage:
    """An image as a band with an MTF gain would see it, at the resolution of its samples.

    What `mtf_filter` gives at the places of `decimated`, computed there alone; the image's size is
    a multiple of the ratio.
    """
    return _mtf(gain, ratio, ratio).of(image)


def mtf_filtered(image: LazyImage, gain: float, ratio: int) -> LazyImage:
    """`mtf_filter` of a field, all bands with one gain, as a sum of separable filters."""
    return _mtf(gain, ratio, 1).of(image)


def _spline(image: Tensor, dim: int) -> Tensor:
    """(1 4 6 4 1) / 16 along an axis, without a border: two pixels less on each side."""
    taps = [image.narrow(dim, k, image.shape[dim] - 4) for k in range(5)]
    return (taps[0] + taps[4]) / 16 + (taps[1] + taps[3]) / 4 + taps[2] * 0.375


@functools.cache
def _lowpass(ratio: int) -> FourierFilter:
    return FourierFilter(mtf_kernel(LOWPASS_GAIN, ratio).numpy())


@functools.cache
def _mtf(gain: float, ratio: int, stride: int) -> SeparableFilter:
    vertical, horizontal = _separable(mtf_kernel(gain, ratio).numpy())
    first = stride // 2 - KERNEL_SIZE // 2
    # Few steps multiply by fewer zeros, and are faster with long kernels.
    steps = 8 if stride > 1 else 16
    return SeparableFilter(
        vertical[:, None], horizontal[:, None], stride, first, 'replicate', steps
    )


def _separable(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A symmetric kernel as a sum over r of vertical[r] horizontal[r]^T: (R, taps) each."""
    values, vectors = np.linalg.eigh(kernel)
    order = np.abs(values).argsort()[::-1]
    largest, rest = [], kernel
    while np.abs(rest).sum() > KERNEL_ERROR and len(largest) < MOST_TERMS:
        i = order[len(largest)]
        largest.append(i)
        rest = rest - values[i] * np.outer(vectors[:, i], vectors[:, i])
    # Means are to stay exact.
    values[largest[0]] += rest.sum() / vectors[:, largest[0]].sum() ** 2
    return vectors[:, largest].T, values[largest, None] * vectors[:, largest].T
