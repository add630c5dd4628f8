"""Low-pass filters and decimation that the classical methods share.

Each reproduces a border rule of the field's toolbox, which the published figures depend on.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.mtf import KERNEL_SIZE, mtf_filter, mtf_kernel

# A gain of 0.3 at Nyquist where the deviation of the Gaussian is laid out over 41 samples and not
# over the 40 steps between them, as the toolbox has it for its sensor-less filter.
LOWPASS_GAIN = 0.3 ** ((40 / 41) ** 2)
# Separable kernels that an MTF kernel is made of; from the seventh on they are 1e-8 of the first.
KERNEL_RANK = 6


def decimate(image: Tensor, ratio: int) -> Tensor:
    """Every ratio-th pixel from ratio // 2 on, where `interp23tap` puts the samples.

    Shape: (B, C, H, W) -> (B, C, h, w).
    """
    return image[..., ratio // 2 :: ratio, ratio // 2 :: ratio]


def lowpass(pan: Tensor, ratio: int) -> Tensor:
    """The PAN as a sensor with a gain of 0.3 would see it; borders are replicated.

    Shape: (B, 1, H, W) -> (B, 1, H, W).
    """
    return mtf_filter(pan, (LOWPASS_GAIN,) * pan.shape[1], ratio)


def smooth(pan: Tensor, ratio: int) -> Tensor:
    """The approximation that an undecimated wavelet transform leaves of an image.

    For each octave of the ratio the B3-spline filter (1 4 6 4 1) / 16 of the analysis and again
    that of the synthesis. Borders are mirrored before each analysis filter, at the border that the
    one before has moved outwards by two pixels.

    Shape: (B, 1, H, W) -> (B, 1, H, W). Reach: 4 ceil(log2(ratio)) pixels.
    Source: Starck and Murtagh, "Image restoration with noise suppression using the wavelet
        transform", A&A 288, 1994; in pansharpening, Nunez et al., IEEE TGRS 37(3), 1999.
    """
    octaves = math.ceil(math.log2(ratio))
    taps = torch.tensor([1, 4, 6, 4, 1], dtype=pan.dtype, device=pan.device) / 16
    for step in range(2 * octaves):
        if step < octaves:
            pan = _mirrored(pan, 4)
        pan = F.conv2d(F.conv2d(pan, taps.view(1, 1, 5, 1)), taps.view(1, 1, 1, 5))
    return pan


def mtf_decimate(pan: Tensor, gains: tuple[float, ...], ratio: int) -> Tensor:
    """One image as the bands of a sensor would see it, at the resolution of its samples.

    What `mtf_filter` gives at the pixels of `decimate`, computed there alone: its kernel is a sum
    of a few separable ones. An image that is no multiple of the ratio is continued by its border.

    Shape: (B, 1, H, W) -> (B, len(gains), ceil(H / ratio), ceil(W / ratio)).
    """
    reach, start = KERNEL_SIZE // 2, ratio // 2
    low = [-(-extent // ratio) for extent in pan.shape[2:]]
    # So much on each side that the first window is centred on `start` and the last on its sample.
    after = [
        (count - 1) * ratio + start + reach + 1 - extent
        for count, extent in zip(low, pan.shape[2:])
    ]
    before = reach - start
    rows, columns = (
        torch.arange(-before, extent + end, device=pan.device).clamp(0, extent - 1)
        for extent, end in zip(pan.shape[2:], after)
    )
    padded = pan.index_select(2, rows).index_select(3, columns)
    distinct = list(dict.fromkeys(gains))
    vertical, horizontal = (
        torch.cat(factors).to(padded) for factors in zip(*(_separable(g, ratio) for g in distinct))
    )  # (G R, 41) each
    x = F.conv2d(padded, vertical[:, None, :, None], stride=(ratio, 1))  # (B, G R, h, W)
    weight = horizontal.view(len(distinct), KERNEL_RANK, 1, KERNEL_SIZE)
    x = F.conv2d(x, weight, stride=(1, ratio), groups=len(distinct))  # (B, G, h, w)
    return x[:, [distinct.index(gain) for gain in gains]]


@functools.lru_cache(maxsize=128)
def _separable(gain: float, ratio: int) -> tuple[Tensor, Tensor]:
    """The kernel as a sum over r of vertical[r] horizontal[r]^T: (R, 41) float64 each."""
    values, vectors = torch.linalg.eigh(mtf_kernel(gain, ratio))
    largest = values.abs().argsort(descending=True)[:KERNEL_RANK]
    vertical = vectors[:, largest].T.contiguous()
    return vertical, values[largest, None] * vertical


def _mirrored(image: Tensor, reach: int) -> Tensor:
    """Borders by reflection, the outermost pixel twice; any reach, also beyond a small image."""
    for dim in (2, 3):
        extent = image.shape[dim]
        index = torch.arange(-reach, extent + reach, device=image.device).remainder(2 * extent)
        index = torch.where(index < extent, index, 2 * extent - 1 - index)
        image = image.index_select(dim, index)
    return image
