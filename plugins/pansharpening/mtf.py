"""Sensors' modulation transfer functions as filters, and the degradation of Wald's protocol.

The kernels are those of the toolbox (variant `toolbox`): a Gaussian in frequency that has the
sensor's gain at the Nyquist frequency of the coarse grid, as a 41 x 41 kernel by the window method
with a Kaiser window (beta 0.5) rotated about its centre. They do not sum to exactly one.

Source: Aiazzi et al., "MTF-tailored multiscale fusion of high-resolution MS and Pan imagery",
PE&RS 72(5), 2006; Vivone et al., IEEE TGRS 53(5), 2015.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.sensors import Sensor

KERNEL_SIZE = 41
KAISER_BETA = 0.5


@functools.lru_cache(maxsize=128)
def mtf_kernel(gain: float, ratio: int, size: int = KERNEL_SIZE) -> Tensor:
    """The filter of one band.

    Args:
        gain: amplitude at the Nyquist frequency of the coarse grid, between 0 and 1.
        ratio: fine pixels per coarse pixel.
        size: taps along each axis, odd.
    Returns:
        (size, size) float64; shared, not to be changed in place.
    Raises:
        ValueError: a gain or size out of range.
    """
    if not 0 < gain < 1:
        raise ValueError(f'an MTF gain lies between 0 and 1, found {gain}')
    if size < 3 or size % 2 == 0:
        raise ValueError(f'the size of an MTF kernel is odd and at least 3, found {size}')
    reach = size // 2
    alpha = np.sqrt(((size - 1) / (2 * ratio)) ** 2 / (-2 * np.log(gain)))
    offset = np.arange(-reach, reach + 1)
    squared = offset[:, None] ** 2 + offset[None, :] ** 2
    response = np.exp(-squared / (2 * alpha**2))  # over frequency, 1 at zero
    impulse = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(response))).real
    radius = np.sqrt(squared) / reach
    window = np.interp(radius, offset / reach, np.kaiser(size, KAISER_BETA), right=0.0)
    return torch.from_numpy(impulse * window)


def mtf_filter(image: Tensor, gains: tuple[float, ...], ratio: int) -> Tensor:
    """Blur each band with its MTF; borders are replicated.

    Args:
        image: (..., C, H, W), floating point.
        gains: one per band, at the Nyquist frequency of a grid `ratio` times coarser.
        ratio: fine pixels per coarse pixel.
    Returns:
        (..., C, H, W).
    """
    *lead, bands, height, width = image.shape
    if len(gains) != bands:
        raise ValueError(f'{len(gains)} MTF gains for an image of {bands} bands')
    reach = KERNEL_SIZE // 2
    flat = image.reshape(-1, bands, height, width)
    padded = F.pad(flat, (reach,) * 4, mode='replicate')
    # Through Fourier: with 1681 taps some 15 times faster than a direct convolution.
    shape = padded.shape[-2:]
    kernels = torch.stack([mtf_kernel(gain, ratio) for gain in gains]).to(image)  # (C, 41, 41)
    # A symmetric kernel: convolution and correlation are the same.
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels, s=shape)
    blurred = torch.fft.irfft2(spectrum, s=shape)[..., 2 * reach :, 2 * reach :]
    return blurred.reshape(*lead, bands, height, width)


def mtf_degrade(image: Tensor, gains: tuple[float, ...], ratio: int) -> Tensor:
    """Bring an image down as the sensor would see it `ratio` times coarser (Wald's protocol).

    Args:
        image: (..., C, H, W), floating point.
        gains: one per band; `Sensor.gains`.
        ratio: fine pixels per coarse pixel.
    Returns:
        (..., C, H // ratio, W // ratio): every ratio-th pixel of the blurred image, from
        ratio // 2 on.
    """
    *_, height, width = image.shape
    start = ratio // 2
    low = mtf_filter(image, gains, ratio)[..., start::ratio, start::ratio]
    return low[..., : height // ratio, : width // ratio]


def sensor_degrade(image: Tensor, sensor: Sensor, ratio: int) -> Tensor:
    """`mtf_degrade` of a multispectral image (..., C, H, W) with its sensor's gains."""
    return mtf_degrade(image, sensor.gains(image.shape[-3]), ratio)
