"""LDP-Net's loss terms, one component each; the config weights them.

F is the fused image, UP the upsampled and LR the original multispectral image. The published loss
is `20 spatial_high + spatial_low + 5 (20 spectral_low + spectral_high) + 0.1 kl`.
Source of all: Ni et al. 2022, doi 10.1109/JSTARS.2022.3188181.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.imaging.resample import imresize
from toolkit.interfaces import Loss
from toolkit.ranges import NonNegativeFloat
from toolkit.registry import LOSSES

Reduction = Literal['sum', 'mean']
Down = Literal['bilinear', 'bicubic']

FLAT = 1e-4  # added to standard deviations, so that constant details are not divided by zero


@LOSSES.register
class LDPSpatialHigh(Loss):
    """MSE(gray(F), PAN): the fused image, grayed, should equal the PAN.

    Shape: hrms_gray (B, 1, H, W), pan (B, 1, H, W) -> scalar.
    """

    def forward(self, hrms_gray: Tensor, pan: Tensor) -> Tensor:
        return F.mse_loss(hrms_gray, pan)


@LOSSES.register
class LDPSpatialLow(Loss):
    """MSE(reblur(PAN), gray(UP)): the same at the low-pass scale.

    Shape: pan_reblurred (B, C, H, W), lrms_up_gray (B, 1, H, W) -> scalar.
    """

    def forward(self, pan_reblurred: Tensor, lrms_up_gray: Tensor) -> Tensor:
        return F.mse_loss(pan_reblurred, lrms_up_gray.expand_as(pan_reblurred))


@LOSSES.register
class LDPSpectralHigh(Loss):
    """MSE(reblur(F), UP): the fused image, reblurred, should equal the upsampled one.

    Shape: hrms_reblurred (B, C, H, W), lrms_up (B, C, H, W) -> scalar.
    """

    def forward(self, hrms_reblurred: Tensor, lrms_up: Tensor) -> Tensor:
        return F.mse_loss(hrms_reblurred, lrms_up)


@LOSSES.register
class LDPSpectralLow(Loss):
    """MSE(down(smooth(F)), LR): the fused image, smoothed and downsampled, should equal LR.

    Smoothing is a 3x3 mean with zero padding. The image is downsampled to the size of LR.

    Args:
        smooth: smooths the image, as in the June 2022 code and not in that of November 2021.
        down: 'bilinear' with aligned corners, as published, or 'bicubic' with antialiasing.
    Shape: hrms (B, C, H, W), lrms (B, C, h, w) -> scalar.
    Raises:
        ValueError: an unknown value of `down`.
    """

    def __init__(
        self, weight: NonNegativeFloat = 1.0, smooth: bool = True, down: Down = 'bilinear'
    ) -> None:
        super().__init__(weight)
        if down not in get_args(Down):
            raise ValueError(f'down must be bilinear or bicubic, found {down!r}')
        self.smooth, self.down = smooth, down

    def forward(self, hrms: Tensor, lrms: Tensor) -> Tensor:
        height, width = lrms.shape[-2:]
        if self.smooth:
            hrms = F.avg_pool2d(hrms, 3, stride=1, padding=1)  # (B, C, H, W)
        if self.down == 'bicubic':
            low = imresize(hrms, (height, width))
        else:
            low = F.interpolate(hrms, (height, width), mode='bilinear', align_corners=True)
        return F.mse_loss(low, lrms)


@LOSSES.register
class LDPDetailKL(Loss):
    """KL(softmax(F - PAN) || softmax(UP - gray(UP))): both have the same spectral detail.

    For each band, a softmax over pixels turns the difference between an image and its gray version
    into a distribution.

    Args:
        reduction: 'sum' over distributions, as published, which grows with batch, bands and height,
            or 'mean', which does not, so that a weight means the same for every patch size.
        over: one distribution for each 'row' of the image, as published, or for the whole 'image'.
        scale_free: divides the details of each band by the standard deviation of those of UP, so
            that the term does not depend on the images' scale. The published term does not divide:
            with details of a few hundredths, all distributions are nearly uniform.
    Shape: hrms (B, C, H, W), pan (B, 1, H, W), lrms_up (B, C, H, W), lrms_up_gray (B, 1, H, W)
        -> scalar.
    Raises:
        ValueError: an unknown value of `reduction` or `over`.
    """

    def __init__(
        self,
        weight: NonNegativeFloat = 1.0,
        reduction: Reduction = 'sum',
        over: Literal['row', 'image'] = 'row',
        scale_free: bool = False,
    ) -> None:
        super().__init__(weight)
        if reduction not in get_args(Reduction):
            raise ValueError(f'reduction must be sum or mean, found {reduction!r}')
        if over not in ('row', 'image'):
            raise ValueError(f'over must be row or image, found {over!r}')
        self.reduction, self.over, self.scale_free = reduction, over, scale_free

    def forward(self, hrms: Tensor, pan: Tensor, lrms_up: Tensor, lrms_up_gray: Tensor) -> Tensor:
        # softmax is fast only along rows that are contiguous in memory.
        fused, given = (
            detail.contiguous(memory_format=torch.contiguous_format)
            for detail in (hrms - pan, lrms_up - lrms_up_gray)
        )  # (B, C, H, W)
        if self.scale_free:
            spread = given.detach().std((-2, -1), correction=0, keepdim=True)  # (B, C, 1, 1)
            fused, given = (detail / (spread + FLAT) for detail in (fused, given))
        if self.over == 'image':
            fused, given = (detail.flatten(2) for detail in (fused, given))  # (B, C, HW)
        fused = F.log_softmax(fused, -1)
        divergence = F.kl_div(F.log_softmax(given, -1), fused, reduction='sum', log_target=True)
        if self.reduction == 'sum':
            return divergence
        return divergence / (fused.numel() // fused.shape[-1])
