"""Convolutions by the fastest algorithm for each device, equal to torch's up to rounding."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor, nn

from plugins.pansharpening.imaging.autocast import without_autocast

Method = Literal['auto', 'direct', 'fft']
Border = Literal['zeros', 'replicate']

# Numbers that a CPU multiplies at a time. Fewer output channels leave some of them idle.
CPU_LANES = 16
# Neighbouring pixels computed as channels of one pixel. More of them multiply by more zeros.
MAX_PIXELS_AT_A_TIME = 4
# Tensor cores need channels in multiples of this number.
CHANNEL_MULTIPLE = 8
# For smaller kernels the direct convolution is as fast as the FFT, forward and backward.
MIN_FFT_KERNEL = 7


class Convolution(nn.Conv2d):
    """A convolution that gives its weights the memory format of its image.

    With another format torch chooses other algorithms for small images than for large ones. Their
    rounding differs, so that a window would not have the same bits as the whole image.
    """

    def forward(self, image: Tensor) -> Tensor:
        return self._conv_forward(image, match_memory_format(self.weight, image), self.bias)


def match_memory_format(weight: Tensor, image: Tensor) -> Tensor:
    """Converts a weight to the memory format of an image."""
    if image.is_contiguous(memory_format=torch.channels_last):
        return weight.contiguous(memory_format=torch.channels_last)
    return weight


def to_channels_last(image: Tensor) -> Tensor:
    """Converts an image to the memory format channels_last.

    An image of one channel has both formats at once. Its strides are set to those of channels_last,
    since a concatenation takes its format from the strides.
    """
    if image.shape[1] == 1:
        return image.squeeze(1).contiguous().unsqueeze(-1).permute(0, 3, 1, 2)
    return image.contiguous(memory_format=torch.channels_last)


def cast_to_autocast(image: Tensor) -> Tensor:
    """Casts an image to autocast's precision, so that a concatenation keeps that precision."""
    device = image.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return image.to(torch.get_autocast_dtype(device))
    return image


def convolve_3x3(image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolves an image by a 3x3 kernel with a zero border.

    On GPUs in half precision, channels are padded with zeros to a multiple of 8, without which
    tensor cores are not used. On CPU, 8 or fewer output channels are computed for 2 to 4
    neighbouring pixels at a time. The kernel for that repeats the weights, each time shifted by one
    pixel and padded with zeros.

    Args:
        image: (B, I, H, W).
        weight: (O, I, 3, 3).
        bias: (O,).
    Returns:
        (B, O, H, W).
    """
    if is_for_tensor_cores(image):
        return _pad_channels_and_convolve(image, weight, bias)
    pixels = min(CPU_LANES // len(weight), MAX_PIXELS_AT_A_TIME) if len(weight) <= CPU_LANES else 1
    height, width = image.shape[-2:]
    is_channels_last = image.is_contiguous(memory_format=torch.channels_last)
    exporting = torch.compiler.is_exporting()  # widths that are not known have no remainder
    if pixels < 2 or image.device.type != 'cpu' or not is_channels_last or exporting:
        return F.conv2d(image, match_memory_format(weight, image), bias, padding=1)
    if width % pixels:
        image = F.pad(image, (0, pixels - width % pixels))  # zeros, as beyond the border
    shifted = [F.pad(weight, (shift, pixels - 1 - shift)) for shift in range(pixels)]
    weights = match_memory_format(torch.cat(shifted), image)  # (pixels O, I, 3, 2 + pixels)
    wide = F.conv2d(image, weights, bias.repeat(pixels), (1, pixels), 1)
    # A pixel of `wide` holds the channels of neighbouring pixels, one pixel after the other.
    result = wide.permute(0, 2, 3, 1).reshape(len(image), height, image.shape[-1], len(weight))
    return result.permute(0, 3, 1, 2)[..., :width]


def is_for_tensor_cores(image: Tensor) -> bool:
    """Tells whether a GPU convolves the image faster with channels in multiples of 8.

    It does in half precision and the memory format channels_last.
    """
    half = image.dtype in (torch.bfloat16, torch.float16)
    side_by_side = image.is_contiguous(memory_format=torch.channels_last)
    return half and image.device.type == 'cuda' and side_by_side


def _pad_channels_and_convolve(image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    count, channels = weight.shape[:2]
    if channels % CHANNEL_MULTIPLE:
        beyond = CHANNEL_MULTIPLE - channels % CHANNEL_MULTIPLE
        image = F.pad(image, (0, 0, 0, 0, 0, beyond))
        weight = F.pad(weight, (0, 0, 0, 0, 0, beyond))
    if count % CHANNEL_MULTIPLE:
        beyond = CHANNEL_MULTIPLE - count % CHANNEL_MULTIPLE
        weight = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, beyond))
        bias = F.pad(bias, (0, beyond))
    return F.conv2d(image, match_memory_format(weight, image), bias, padding=1)[:, :count]


def convolve(
    image: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    border: Border = 'zeros',
    method: Method = 'auto',
) -> Tensor:
    """Convolves an image by a large kernel and keeps its size.

    As in other networks, this is a cross-correlation: the kernel is not mirrored.

    Args:
        image: (B, C, H, W). One band that is expanded to C is convolved once.
        kernel: (O, C, k, k) over all bands, or (C, 1, k, k) for each band; k odd, of any size.
        bias: (O,) or (C,).
        border: 'zeros' beyond the image, or 'replicate' for its outermost pixels.
        method: 'direct', 'fft' (in the kernel's precision under autocast), or 'auto' for the FFT on
            CPU with kernels from 7x7.
    Returns:
        (B, O, H, W) or (B, C, H, W).
    """
    bands = image.shape[1]
    by_band = kernel.shape[1] == 1 and bands > 1
    if bands > 1 and image.stride(1) == 0:  # all bands are the same: their weights add up
        image, kernel = image[:, :1], kernel.sum(1, keepdim=True)
        by_band = False
    if border == 'replicate':
        image = F.pad(image, (kernel.shape[-1] // 2,) * 4, mode='replicate')
    large = kernel.shape[-1] >= MIN_FFT_KERNEL
    if method == 'fft' or (method == 'auto' and large and image.device.type == 'cpu'):
        return _convolve_by_fft(image, kernel, bias, by_band, border)
    padding = kernel.shape[-1] // 2 if border == 'zeros' else 0
    return F.conv2d(image, kernel, bias, padding=padding, groups=bands if by_band else 1)


def _convolve_by_fft(
    image: Tensor, kernel: Tensor, bias: Tensor | None, by_band: bool, border: Border
) -> Tensor:
    side = kernel.shape[-1]
    margin = side // 2
    # The FFT wraps around. Only pixels that are cut off below may be affected by that: a margin of
    # zeros that is added here, or the margin of a padded image.
    first, added = (margin, margin) if border == 'zeros' else (2 * margin, 0)
    inner = [n - (side - 1 if border == 'replicate' else 0) for n in image.shape[-2:]]
    size = tuple(next_fast_len(max(n + added, side), real=True) for n in image.shape[-2:])
    with without_autocast(image):
        spectrum = torch.fft.rfft2(image.to(kernel.dtype), s=size)  # (B, C, h, w)
        response = torch.fft.rfft2(kernel.flip(-2, -1), s=size)  # (O, C, h, w) or (C, 1, h, w)
        if by_band or image.shape[1] == 1:
            product = spectrum * response[:, 0]  # (B, O, h, w)
        else:
            product = (spectrum[:, None] * response).sum(2)  # (B, O, h, w)
        result = torch.fft.irfft2(product, s=size)
        result = result[..., first : first + inner[0], first : first + inner[1]]  # (B, O, H, W)
        return result if bias is None else result + bias[:, None, None]
