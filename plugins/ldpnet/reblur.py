"""Reblurring: a low-pass image of the same size, by a learned or a known filter."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from plugins.ldpnet.convolution import Method, convolve
from plugins.pansharpening.imaging.mtf import KERNEL_SIZE, mtf_kernel
from plugins.pansharpening.imaging.resample import low_pass
from plugins.pansharpening.scenes.sensors import SensorSpec, get_sensor
from toolkit.interfaces import Degradation
from toolkit.ranges import OddInt
from toolkit.registry import DEGRADATIONS

Activation = Literal['identity', 'tanh']
Kernels = Literal['mixing', 'per_band', 'shared']
# Learned positive taps start at this share of the largest tap or above.
MIN_TAP = 1e-6


@DEGRADATIONS.register
class ConvReblur(Degradation):
    """A learned convolution with zero padding as the blur between two resolutions.

    Its taps may have any sign and any sum: only the losses make it a blur.

    Args:
        kernel_size: side of the kernel in PAN pixels, odd; 21 in the June 2022 code, 41 in that
            of November 2021. It may be larger than the image.
        bias: learns an offset for each band too, as published.
        kernels: 'mixing' over all bands, as published, one 'per_band', or one 'shared' by all.
        activation: 'identity', or 'tanh' as in the November 2021 code.
        method: 'direct' convolves, 'fft' multiplies spectra (in fp32 under autocast). Both are
            equal up to rounding (relative 1e-5). With 21x21 kernels on CPU the FFT is some 20 times
            faster, forward and backward. 'auto' uses it on CPU for kernels from 7x7.
    Shape: (B, C, H, W) -> (B, C, H, W).
    Raises:
        ValueError: an even or non-positive kernel size, or an unknown value of `kernels`,
            `activation` or `method`.
    Source: Ni et al. 2022, doi 10.1109/JSTARS.2022.3188181, reblurring block.
    """

    out_bands: ClassVar[Literal['same', 1]] = 'same'

    def __init__(
        self,
        bands: int,
        kernel_size: OddInt = 21,
        bias: bool = True,
        kernels: Kernels = 'mixing',
        activation: Activation = 'identity',
        method: Method = 'auto',
    ) -> None:
        super().__init__()
        _check_kernel_size(kernel_size)
        _check_choice('kernels', kernels, Kernels)
        _check_choice('activation', activation, Activation)
        _check_choice('method', method, Method)
        self.bands, self.method, self.activation = bands, method, activation
        channels = 1 if kernels == 'shared' else bands
        groups = 1 if kernels == 'mixing' else channels
        self.conv = nn.Conv2d(channels, channels, kernel_size, groups=groups, bias=bias)
        nn.init.kaiming_normal_(self.conv.weight)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, image: Tensor) -> Tensor:
        kernel, bias = self.conv.weight, self.conv.bias
        if len(kernel) < self.bands:
            kernel = kernel.expand(self.bands, -1, -1, -1)  # (C, 1, k, k)
            bias = None if bias is None else bias.expand(self.bands)
        blurred = convolve(image, kernel, bias, method=self.method)  # (B, C, H, W)
        return blurred.tanh() if self.activation == 'tanh' else blurred


@DEGRADATIONS.register
class MTFReblur(Degradation):
    """Filters each band by the MTF of a multispectral sensor.

    Beyond its border the image is continued by its outermost pixels.

    Args:
        sensor: sensor (see `get_sensor`), for the MTF gains of its bands.
        learned: trains the kernels from there; all taps stay positive, with a sum of one.
        kernel_size: side of the kernels in PAN pixels, odd, at least 3. It may be larger than the
            image.
        method: see `ConvReblur`.
    Shape: (B, C, H, W) -> (B, C, H, W).
    Raises:
        ValueError: an even or too small kernel size, an unknown sensor or method.
        DataError: the sensor has another number of bands.
    Source: Aiazzi et al., PE&RS 72(5), 2006 (the filters).
    """

    out_bands: ClassVar[Literal['same', 1]] = 'same'

    def __init__(
        self,
        bands: int,
        ratio: int,
        sensor: SensorSpec = 'generic',
        learned: bool = False,
        kernel_size: OddInt = KERNEL_SIZE,
        method: Method = 'auto',
    ) -> None:
        super().__init__()
        _check_kernel_size(kernel_size)
        _check_choice('method', method, Method)
        gains = get_sensor(sensor).gains(bands)
        kernels = torch.stack([mtf_kernel(gain, ratio, kernel_size) for gain in gains])
        kernels = kernels / kernels.sum((1, 2), keepdim=True)  # (C, k, k)
        self.method, self.learned = method, learned
        if learned:
            least = MIN_TAP * kernels.amax((1, 2), keepdim=True)
            self.logits = nn.Parameter(kernels.maximum(least).log().float()[:, None])
        else:
            self.register_buffer('fixed', kernels.float()[:, None])

    def forward(self, image: Tensor) -> Tensor:
        kernel = self.compute_kernels()
        return convolve(image, kernel, border='replicate', method=self.method)  # (B, C, H, W)

    def compute_kernels(self) -> Tensor:
        """Computes the filters of the bands, (C, 1, k, k), each with a sum of one."""
        if not self.learned:
            return self.fixed
        return self.logits.flatten(2).softmax(2).view_as(self.logits)


@DEGRADATIONS.register
class BicubicReblur(Degradation):
    """The low-pass filter of a bicubic reduction by the ratio, the same for all bands.

    Shape: (B, C, H, W) -> (B, C, H, W).
    """

    out_bands: ClassVar[Literal['same', 1]] = 'same'

    def __init__(self, bands: int, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio

    def forward(self, image: Tensor) -> Tensor:
        return low_pass(image, self.ratio)  # (B, C, H, W)


def _check_kernel_size(kernel_size: int) -> None:
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f'kernel_size must be odd and positive, found {kernel_size}')


def _check_choice(name: str, value: str, choices: Any) -> None:
    if value not in get_args(choices):
        raise ValueError(f'{name} must be one of {", ".join(get_args(choices))}, found {value!r}')
