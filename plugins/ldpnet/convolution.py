"""Convolutions computed in the cheapest way that gives the same result, up to rounding."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor, nn

from plugins.pansharpening.imaging.autocast import without_autocast

Method = Literal['auto', 'direct', 'fft']
Border = Literal['zeros', 'replicate']

# Numbers that a CPU multiplies at a time: output channels fewer than these leave the rest idle.
LANES = 16
# Results side by side that are computed as channels of one; more do more needless multiplications.
MOST_BESIDE = 4
# Channels that tensor cores take at a time.
EIGHT = 8
# Below this size the direct convolution is at least as fast as the FFT, forward and backward.
SMALLEST_FFT_KERNEL = 7


class Convolution(nn.Conv2d):
    """A convolution whose weights lie in memory as its image does.

    With weights in another order torch takes other algorithms for small images than for large ones,
    with other rounding: windows would no longer hold the bits of the whole.
    """

    def forward(self, image: Tensor) -> Tensor:
        return self._conv_forward(image, laid_out(self.weight, image), self.bias)


def laid_out(weight: Tensor, image: Tensor) -> Tensor:
    """The weight in the memory format of an image."""
    if image.is_contiguous(memory_format=torch.channels_last):
        return weight.contiguous(memory_format=torch.channels_last)
    return weight


def channels_last(image: Tensor) -> Tensor:
    """The image with its channels side by side in memory; of one channel, said to be so, since what
    is joined with it else is laid out otherwise."""
    if image.shape[1] == 1:
        return image.squeeze(1).contiguous().unsqueeze(-1).permute(0, 3, 1, 2)
    return image.contiguous(memory_format=torch.channels_last)


def as_computed(image: Tensor) -> Tensor:
    """The image in autocast's precision: joined with features it would else widen them all."""
    device = image.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return image.to(torch.get_autocast_dtype(device))
    return image


def convolve_3x3(image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3x3 convolution with a zero border.

    On GPUs in half precision, channels are filled up with zeros to a multiple of 8, without which
    tensor cores are not used. On CPU, few output channels are computed for 2 or 4 neighbouring
    pixels at a time, by a kernel that holds the weights as often, each a pixel further on: the same
    products and some with zero.

    Args:
        image: (B, I, H, W).
        weight: (O, I, 3, 3).
        bias: (O,).
    Returns:
        (B, O, H, W).
    """
    if fills_tensor_cores(image):
        return _convolve_in_eights(image, weight, bias)
    beside = min(LANES // len(weight), MOST_BESIDE) if len(weight) <= LANES else 1
    height, width = image.shape[-2:]
    beside_fits = image.is_contiguous(memory_format=torch.channels_last)
    if beside < 2 or image.device.type != 'cpu' or not beside_fits:
        return F.conv2d(image, laid_out(weight, image), bias, padding=1)
    if width % beside:  # zeros, as lie beyond the border anyway
        image = F.pad(image, (0, beside - width % beside))
    places = [F.pad(weight, (place, beside - 1 - place)) for place in range(beside)]
    weights = laid_out(torch.cat(places), image)  # (beside O, I, 3, 2 + beside)
    wide = F.conv2d(image, weights, bias.repeat(beside), (1, beside), 1)
    # As it lies in memory: pixels side by side, the channels of each together.
    pixels = wide.permute(0, 2, 3, 1).reshape(len(image), height, image.shape[-1], len(weight))
    return pixels.permute(0, 3, 1, 2)[..., :width]


def fills_tensor_cores(image: Tensor) -> bool:
    """Whether a GPU computes faster with channels in multiples of 8: in half precision, where they
    lie side by side in memory."""
    half = image.dtype in (torch.bfloat16, torch.float16)
    side_by_side = image.is_contiguous(memory_format=torch.channels_last)
    return half and image.device.type == 'cuda' and side_by_side


def _convolve_in_eights(image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    count, channels = weight.shape[:2]
    if channels % EIGHT:
        beyond = EIGHT - channels % EIGHT
        image = F.pad(image, (0, 0, 0, 0, 0, beyond))
        weight = F.pad(weight, (0, 0, 0, 0, 0, beyond))
    if count % EIGHT:
        beyond = EIGHT - count % EIGHT
        weight = F.pad(weight, (0, 0, 0, 0, 0, 0, 0, beyond))
        bias = F.pad(bias, (0, beyond))
    return F.conv2d(image, laid_out(weight, image), bias, padding=1)[:, :count]


def convolve(
    image: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    border: Border = 'zeros',
    method: Method = 'auto',
) -> Tensor:
    """A large-kernel convolution (cross-correlation, as networks have it) that keeps the size.

    Args:
        image: (B, C, H, W); where it is one band, expanded to C, that band is convolved once.
        kernel: (O, C, k, k) over all bands, or one for each band: (C, 1, k, k); k odd, of any size.
        bias: (O,) or (C,).
        border: what lies beyond the image.
        method: 'direct', 'fft' (in the kernel's precision under autocast), or 'auto': the FFT on
            CPU for kernels from 7x7.
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
    large = kernel.shape[-1] >= SMALLEST_FFT_KERNEL
    if method == 'fft' or (method == 'auto' and large and image.device.type == 'cpu'):
        return _by_fft(image, kernel, bias, by_band, border)
    padding = kernel.shape[-1] // 2 if border == 'zeros' else 0
    return F.conv2d(image, kernel, bias, padding=padding, groups=bands if by_band else 1)


def _by_fft(
    image: Tensor, kernel: Tensor, bias: Tensor | None, by_band: bool, border: Border
) -> Tensor:
    side = kernel.shape[-1]
    margin = side // 2
    # What wraps around must land in what is cut off: a margin beyond zeros, all of a padded one.
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
