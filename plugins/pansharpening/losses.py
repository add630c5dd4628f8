"""Losses with a reference (reduced resolution or simulated scenes) and without one.

In the docstrings F is the sharpened image, LR the multispectral image, UP the same upsampled.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.imaging.autocast import full, without_autocast
from plugins.pansharpening.imaging.window_means import average_windows
from toolkit.interfaces import Loss
from toolkit.ranges import Ge, NonNegativeFloat, Odd
from toolkit.registry import LOSSES

Norm = Literal['l1', 'l2']

# Variance below which a window is flat, 0.1 digital numbers of 11 bits squared: its correlation
# goes to zero with it, in place of that of rounding errors.
FLAT = (0.1 / 2047) ** 2


@LOSSES.register
class ReferenceMSE(Loss):
    """Mean squared difference from the reference.

    Shape: hrms (B, C, H, W), reference (B, C, H, W) -> scalar.
    """

    def forward(self, hrms: Tensor, reference: Tensor) -> Tensor:
        return F.mse_loss(hrms, reference)


@LOSSES.register
class ReferenceL1(Loss):
    """Mean absolute difference from the reference.

    Shape: hrms (B, C, H, W), reference (B, C, H, W) -> scalar.
    """

    def forward(self, hrms: Tensor, reference: Tensor) -> Tensor:
        return F.l1_loss(hrms, reference)


class NormedLoss(Loss):
    """A mean absolute or mean squared difference.

    Args:
        norm: 'l1' mean absolute or 'l2' mean squared difference.
    Raises:
        ValueError: an unknown norm.
    """

    def __init__(self, weight: NonNegativeFloat = 1.0, norm: Norm = 'l1') -> None:
        super().__init__(weight)
        if norm not in ('l1', 'l2'):
            raise ValueError(f'norm must be l1 or l2, found {norm!r}')
        self.norm = norm


@LOSSES.register
class Consistency(NormedLoss):
    """Difference between LR and F after reblur and decimation.

    F is decimated at the places of LR's samples, so that no upsampling is involved.

    Args:
        norm: 'l1' mean absolute or 'l2' mean squared difference.
    Shape: hrms_low (B, C, h, w), lrms (B, C, h, w) -> scalar.
    Raises:
        ValueError: an unknown norm.
    """

    def forward(self, hrms_low: Tensor, lrms: Tensor) -> Tensor:
        return compute_difference(hrms_low, lrms, self.norm)


@LOSSES.register
class Cycle(NormedLoss):
    """Difference between F and its reconstruction: F degraded both ways and sharpened again.

    Args:
        norm: 'l1' mean absolute or 'l2' mean squared difference.
    Shape: hrms_again (B, C, H, W), hrms (B, C, H, W) -> scalar.
    Raises:
        ValueError: an unknown norm.
    """

    def forward(self, hrms_again: Tensor, hrms: Tensor) -> Tensor:
        return compute_difference(hrms_again, hrms, self.norm)


@LOSSES.register
class PanGradient(NormedLoss):
    """Difference between the gradients of gray(F) and those of the PAN.

    Gradients are differences between neighbouring pixels along rows and columns.

    Args:
        norm: 'l1' mean absolute or 'l2' mean squared difference.
    Shape: hrms_gray (B, 1, H, W), pan (B, 1, H, W) -> scalar.
    Raises:
        ValueError: an unknown norm.
    """

    def forward(self, hrms_gray: Tensor, pan: Tensor) -> Tensor:
        error = hrms_gray - pan  # (B, 1, H, W); differences are linear
        measure = torch.abs if self.norm == 'l1' else torch.square
        down, along = error.diff(dim=-2), error.diff(dim=-1)
        # One sum over one count: an image of one row has no differences downwards.
        total = measure(down).sum() + measure(along).sum()
        return total / max(down.numel() + along.numel(), 1)


class _Windowed(Loss):
    def __init__(
        self, weight: NonNegativeFloat = 1.0, size: Annotated[int, Ge(3), Odd()] = 5
    ) -> None:
        super().__init__(weight)
        if size < 3 or size % 2 == 0:
            raise ValueError(f'size must be odd and at least 3, found {size}')
        self.size = size


@LOSSES.register
class GrayCorrelation(_Windowed):
    """Loss 1 - mean local correlation of gray(F) with the PAN.

    Args:
        size: side of the window around each pixel, odd, at least 3.
    Shape: hrms_gray (B, 1, H, W), pan (B, 1, H, W) -> scalar from 0 to 2.
    Raises:
        ValueError: an even or too small size.
    """

    def forward(self, hrms_gray: Tensor, pan: Tensor) -> Tensor:
        return 1 - _local_correlation(hrms_gray, pan, self.size).mean()


@LOSSES.register
class BandCorrelation(_Windowed):
    """Loss 1 - mean local correlation of each band of F with the PAN.

    Correlation does not depend on gain and offset, so the PAN need not be matched to the bands.
    D_rho measures much the same; after training with this loss, judge by the other indices.

    Args:
        size: side of the window around each pixel, odd, at least 3.
    Shape: hrms (B, C, H, W), pan (B, 1, H, W) -> scalar from 0 to 2.
    Raises:
        ValueError: an even or too small size.
    Source: Scarpa and Ciotola, "Full-resolution quality assessment for pansharpening", Remote
        Sensing 14(8), 2022 (the index).
    """

    def forward(self, hrms: Tensor, pan: Tensor) -> Tensor:
        return 1 - _local_correlation(hrms, pan, self.size).mean()


class _Blockwise(Loss):
    def __init__(self, weight: NonNegativeFloat = 1.0, size: Annotated[int, Ge(2)] = 32) -> None:
        super().__init__(weight)
        if size < 2:
            raise ValueError(f'size must be at least 2, found {size}')
        self.size = size

    def _quality(self, image: Tensor, other: Tensor) -> Tensor:
        """Computes Q of blocks that do not overlap in fp32: (B, C, H, W) twice -> (B, C, N)."""
        x, y = (self._blocks(full(i)) for i in (image, other))  # (B, C, N, n)
        mean_x, mean_y = x.mean(-1), y.mean(-1)  # (B, C, N)
        x, y = x - mean_x[..., None], y - mean_y[..., None]
        contrast = x.square().mean(-1) + y.square().mean(-1)
        level = mean_x.square() + mean_y.square()
        return 4 * (x * y).mean(-1) * mean_x * mean_y / (contrast * level + FLAT**2)

    def _blocks(self, image: Tensor) -> Tensor:
        rows, cols = (min(self.size, extent) for extent in image.shape[-2:])
        return image.unfold(-2, rows, rows).unfold(-2, cols, cols).flatten(4).flatten(2, 3)


@LOSSES.register
class BlockQuality(_Blockwise):
    """Loss 1 - mean Q index, over blocks, of each band of F and the PAN matched to that band of UP.

    Q is the product of correlation, equality of means and equality of contrasts. The PAN takes mean
    and standard deviation of UP's band over the patch.

    Args:
        size: side of the blocks, which do not overlap. Pixels that are left over at the lower and
            right borders are ignored. An image smaller than a block is one block.
    Shape: hrms (B, C, H, W), pan (B, 1, H, W), lrms_up (B, C, H, W) -> scalar from 0 to 2.
    Raises:
        ValueError: a size below 2.
    Source: Wang and Bovik, "A universal image quality index", IEEE Signal Processing Letters 9(3),
        2002.
    """

    def forward(self, hrms: Tensor, pan: Tensor, lrms_up: Tensor) -> Tensor:
        with without_autocast(hrms):
            return 1 - self._quality(hrms, _match_statistics(full(pan), full(lrms_up))).mean()


@LOSSES.register
class QualityTransfer(_Blockwise):
    """Difference of two Q indices: F with the PAN, and UP with the reblurred PAN.

    The mean over bands and blocks: a band that shares little with the PAN at the coarse scale
    should not share more at the fine one. D_s compares means of much the same over the whole
    image; after training with this loss, judge by the other indices. No gradient reaches the
    reblur.

    Args:
        size: side of the blocks; see `BlockQuality`.
    Shape: hrms (B, C, H, W), pan (B, 1, H, W), lrms_up (B, C, H, W), pan_reblurred (B, C, H, W) ->
        scalar from 0 to 2.
    Raises:
        ValueError: a size below 2.
    Source: Alparone et al., "Multispectral and panchromatic data fusion assessment without
        reference", PE&RS 74(2), 2008 (the index D_s).
    """

    def forward(self, hrms: Tensor, pan: Tensor, lrms_up: Tensor, pan_reblurred: Tensor) -> Tensor:
        with without_autocast(hrms):
            fine = self._quality(hrms, pan.expand_as(hrms))
            coarse = self._quality(lrms_up, pan_reblurred.detach())
            return (fine - coarse).abs().mean()


def compute_difference(image: Tensor, other: Tensor, norm: Norm) -> Tensor:
    """Computes the mean absolute ('l1') or mean squared ('l2') difference of two images."""
    return F.l1_loss(image, other) if norm == 'l1' else F.mse_loss(image, other)


def _local_correlation(image: Tensor, other: Tensor, size: int) -> Tensor:
    """Correlates images in square windows, cut at the border.

    Shape: (B, C, H, W), (B, 1, H, W) -> (B, C, H, W).
    """
    with without_autocast(image):
        # The windows' means are subtracted first: squares of the images would leave few digits.
        x, y = (i - average_windows(i, size) for i in (full(image), full(other)))
        energy = (average_windows(x.square(), size) + FLAT) * (
            average_windows(y.square(), size) + FLAT
        )
        return average_windows(x * y, size) * energy.rsqrt()


def _match_statistics(pan: Tensor, lrms_up: Tensor) -> Tensor:
    """Gives the PAN each band's mean and standard deviation.

    Shape: (B, 1, H, W), (B, C, H, W) -> (B, C, H, W).
    """
    variance, of_pan = (i.var((-2, -1), correction=0, keepdim=True) for i in (lrms_up, pan))
    square = variance / (of_pan + FLAT)  # (B, C, 1, 1)
    # The gradient of a root is infinite at 0, where a band is constant.
    gain = square.where(square > 0, 1).sqrt().where(square > 0, square)
    return gain * (pan - pan.mean((-2, -1), keepdim=True)) + lrms_up.mean((-2, -1), keepdim=True)
