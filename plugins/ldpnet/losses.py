"""LDP-Net's loss terms, one part each; the config's weights put them together.

F is the fused image, UP the upsampled and LR the given multispectral image. As published, the
whole is `20 spatial_high + spatial_low + 5 (20 spectral_low + spectral_high) + 0.1 kl`.
Source of all: Ni et al. 2022, doi 10.1109/JSTARS.2022.3188181.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from toolkit.interfaces import Loss
from toolkit.registry import LOSSES

Reduction = Literal['sum', 'mean']


@LOSSES.register
class LDPSpatialHigh(Loss):
    """MSE(gray(F), PAN): the fused image, grayed, is the PAN.

    Args:
        weight: factor that the system applies.
    Shape: hrms_gray (B, 1, H, W), pan (B, 1, H, W) -> scalar.
    """

    def forward(self, hrms_gray: Tensor, pan: Tensor) -> Tensor:
        return F.mse_loss(hrms_gray, pan)


@LOSSES.register
class LDPSpatialLow(Loss):
    """MSE(reblur(PAN), gray(UP)): the same relation between the two low-pass images.

    Args:
        weight: factor that the system applies.
    Shape: pan_reblurred (B, C, H, W), lrms_up_gray (B, 1, H, W) -> scalar.
    """

    def forward(self, pan_reblurred: Tensor, lrms_up_gray: Tensor) -> Tensor:
        return F.mse_loss(pan_reblurred, lrms_up_gray.expand_as(pan_reblurred))


@LOSSES.register
class LDPSpectralHigh(Loss):
    """MSE(reblur(F), UP): the fused image, reblurred, is the upsampled multispectral image.

    Args:
        weight: factor that the system applies.
    Shape: hrms_reblurred (B, C, H, W), lrms_up (B, C, H, W) -> scalar.
    """

    def forward(self, hrms_reblurred: Tensor, lrms_up: Tensor) -> Tensor:
        return F.mse_loss(hrms_reblurred, lrms_up)


@LOSSES.register
class LDPSpectralLow(Loss):
    """MSE(down(smooth(F)), LR): the fused image, smoothed and brought down, is the given one.

    Smoothing is a 3x3 mean with zero padding, bringing down is bilinear with aligned corners, to
    whatever size LR has.

    Args:
        weight: factor that the system applies.
    Shape: hrms (B, C, H, W), lrms (B, C, h, w) -> scalar.
    """

    def forward(self, hrms: Tensor, lrms: Tensor) -> Tensor:
        smooth = F.avg_pool2d(hrms, 3, stride=1, padding=1)  # (B, C, H, W)
        low = F.interpolate(smooth, size=lrms.shape[-2:], mode='bilinear', align_corners=True)
        return F.mse_loss(low, lrms)


@LOSSES.register
class LDPDetailKL(Loss):
    """KL(softmax(F - PAN) || softmax(UP - gray(UP))): where spectral detail sits along each row.

    What an image holds beyond its gray version is turned, band by band and image row by image
    row, into a distribution over the row's pixels.

    Args:
        weight: factor that the system applies.
        reduction: 'sum' over rows, bands and images, as published: the term's share of the loss
            then grows with batch, bands and height. 'mean' divides by their number, so that a
            weight means the same for every patch size.
    Shape: hrms (B, C, H, W), pan (B, 1, H, W), lrms_up (B, C, H, W), lrms_up_gray (B, 1, H, W)
        -> scalar.
    Raises:
        ValueError: an unknown reduction.
    """

    def __init__(self, weight: float = 1.0, reduction: Reduction = 'sum') -> None:
        super().__init__(weight)
        if reduction not in ('sum', 'mean'):
            raise ValueError(f'reduction must be sum or mean, found {reduction!r}')
        self.reduction = reduction

    def forward(self, hrms: Tensor, pan: Tensor, lrms_up: Tensor, lrms_up_gray: Tensor) -> Tensor:
        fused = F.softmax(hrms - pan, -1)  # (B, C, H, W)
        given = F.log_softmax(lrms_up - lrms_up_gray, -1)  # (B, C, H, W)
        divergence = F.kl_div(given, fused, reduction='sum')
        if self.reduction == 'sum':
            return divergence
        return divergence / (hrms.numel() // hrms.shape[-1])
