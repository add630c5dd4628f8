"""LDP-Net's two learned degradations: reblurring (sharp -> low-pass) and graying (MS -> PAN)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn

from plugins.pansharpening.precision import without_autocast
from toolkit.interfaces import Degradation
from toolkit.registry import DEGRADATIONS

Method = Literal['auto', 'direct', 'fft']
# Below this size the direct convolution is at least as fast as the FFT, forward and backward.
_SMALLEST_FFT_KERNEL = 7


@DEGRADATIONS.register
class ConvReblur(Degradation):
    """One learned convolution over all bands, zero-padded, as the blur between two resolutions.

    It may mix bands, take any sign and any gain: nothing but the losses makes it a blur.

    Args:
        bands: C. Wired by the parent.
        kernel_size: side of the kernel in PAN pixels, odd; 21 in the June 2022 code, 41 in that
            of November 2021.
        bias: whether an offset per band is learned too, as published.
        method: 'direct' convolves, 'fft' multiplies spectra (in fp32 under autocast): equal up
            to rounding (relative 1e-5), and on CPU some 20 times faster forward and backward with
            21x21 kernels. 'auto' takes the FFT on CPU for kernels from 7x7.
    Shape: (B, C, H, W) -> (B, C, H, W).
    Raises:
        ValueError: an even or non-positive kernel size, or an unknown method.
    Source: Ni et al. 2022, doi 10.1109/JSTARS.2022.3188181, reblurring block.
    """

    out_bands: ClassVar[Literal['same', 1]] = 'same'

    def __init__(
        self, bands: int, kernel_size: int = 21, bias: bool = True, method: Method = 'auto'
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd and positive, found {kernel_size}')
        if method not in ('auto', 'direct', 'fft'):
            raise ValueError(f'method must be one of auto, direct, fft, found {method!r}')
        self.method = method
        self.conv = nn.Conv2d(bands, bands, kernel_size, padding=kernel_size // 2, bias=bias)
        _initialize(self.conv)

    def forward(self, image: Tensor) -> Tensor:
        if self.method == 'fft' or (self.method == 'auto' and self._prefers_fft(image)):
            return _convolve_by_fft(image, self.conv.weight, self.conv.bias)  # (B, C, H, W)
        return self.conv(image)  # (B, C, H, W)

    def _prefers_fft(self, image: Tensor) -> bool:
        return image.device.type == 'cpu' and self.conv.kernel_size[0] >= _SMALLEST_FFT_KERNEL


@DEGRADATIONS.register
class ChannelGray(Degradation):
    """A weighted sum of the bands as PAN, one weight per band and image, predicted by a small net.

    The weights are positive and sum to 1. They come from the image's global average, so they are
    constants within an image and move with its content.

    Args:
        bands: C. Wired by the parent.
        sigmoid: whether a sigmoid comes before the softmax, as published. It bounds each weight to
            [1 / (1 + (C - 1) e), e / (e + C - 1)], .109 to .475 with 4 bands and .050 to .280
            with 8: no band can be switched off. Without it every mixture can be reached.
    Shape: (B, C, H, W) -> (B, 1, H, W).
    Source: Ni et al. 2022, doi 10.1109/JSTARS.2022.3188181, graying block.
    """

    out_bands: ClassVar[Literal['same', 1]] = 1

    def __init__(self, bands: int, sigmoid: bool = True) -> None:
        super().__init__()
        self.sigmoid = sigmoid
        self.conv1 = nn.Conv2d(bands, bands, 3, padding=1)
        self.conv2 = nn.Conv2d(bands, bands, 1)
        self.fc = nn.Sequential(
            nn.Linear(bands, 4 * bands, bias=False),
            nn.ReLU(),
            nn.Linear(4 * bands, bands, bias=False),
        )
        _initialize(self.conv1)
        _initialize(self.conv2)

    def forward(self, image: Tensor) -> Tensor:
        weights = self.weights(image)[..., None, None]  # (B, C, 1, 1)
        return (weights * image).sum(1, keepdim=True)  # (B, 1, H, W)

    def weights(self, image: Tensor) -> Tensor:
        """Each band's share of the gray image: (B, C, H, W) -> (B, C), positive, summing to 1."""
        features = self.conv2(self.conv1(image)).mean((2, 3))  # (B, C)
        scores = self.fc(features)  # (B, C)
        return torch.softmax(scores.sigmoid() if self.sigmoid else scores, 1)


def _initialize(convolution: nn.Conv2d) -> None:
    nn.init.kaiming_normal_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def _convolve_by_fft(image: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """What the convolution layer gives (cross-correlation, zero padding, same size), by spectra."""
    height, width = image.shape[-2:]
    side = kernel.shape[-1]
    margin = side // 2
    # Long enough that what wraps around lands in the margin that is cut off.
    size = tuple(next_fast_len(max(n + margin, side), real=True) for n in (height, width))
    with without_autocast(image):
        image = image.to(kernel.dtype)  # spectra have no half precision
        spectrum = torch.fft.rfft2(image, s=size)  # (B, C, h, w)
        response = torch.fft.rfft2(kernel.flip(-2, -1), s=size)  # (C, C, h, w)
        product = (spectrum[:, None] * response).sum(2)  # (B, C, h, w)
        result = torch.fft.irfft2(product, s=size)  # (B, C, h, w)
        result = result[..., margin : margin + height, margin : margin + width]  # (B, C, H, W)
        return result if bias is None else result + bias[:, None, None]
