"""Losses against a reference, for supervised training (at reduced resolution, or simulated)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from toolkit.interfaces import Loss
from toolkit.registry import LOSSES


@LOSSES.register
class ReferenceMSE(Loss):
    """Mean squared difference from the reference.

    Args:
        weight: factor that the system applies.
    Shape: hrms (B, C, H, W), reference (B, C, H, W) -> scalar.
    """

    def forward(self, hrms: Tensor, reference: Tensor) -> Tensor:
        return F.mse_loss(hrms, reference)


@LOSSES.register
class ReferenceL1(Loss):
    """Mean absolute difference from the reference.

    Args:
        weight: factor that the system applies.
    Shape: hrms (B, C, H, W), reference (B, C, H, W) -> scalar.
    """

    def forward(self, hrms: Tensor, reference: Tensor) -> Tensor:
        return F.l1_loss(hrms, reference)
