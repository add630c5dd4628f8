"""Focal loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.classification.losses.class_weights import WeightedLoss
from toolkit.ranges import NonNegativeFloat
from toolkit.registry import LOSSES


def compute_focal_loss(
    logits: Tensor, labels: Tensor, gamma: float, weights: Tensor | None
) -> Tensor:
    """Computes the focal loss -(1 - p)^gamma log p, where p is the probability of the label.

    Shape: logits (N, K), labels (N,), weights (K,) or None -> (N,).
    """
    losses = F.cross_entropy(logits, labels, reduction='none')  # (N,)
    # At p = 1 an exponent below 1 has an infinite derivative; times the loss of 0 it gives NaN.
    rest = -torch.expm1(-losses)  # 1 - p
    losses = rest.clamp_min(torch.finfo(rest.dtype).eps).pow(gamma) * losses if gamma else losses
    return losses if weights is None else weights[labels] * losses


@LOSSES.register
class Focal(WeightedLoss):
    """Focal loss: cross entropy times (1 - p)^gamma, where p is the probability of the label.

    It reduces the loss of samples that are already classified well. Here p is a softmax over K
    classes, and the class weights are the paper's alpha.

    Args:
        num_classes: K. Injected by the system.
        gamma: exponent; 0 for cross entropy.
        **options: class weights and averaging, as in `WeightedLoss`.
    Shape: logits (N, K), labels (N,) -> scalar; 0 without samples.
    Raises:
        ValueError: gamma is negative, or `WeightedLoss` refuses an argument.
    Source: Lin et al. 2017, arXiv 1708.02002, eq. 4.
    """

    def __init__(self, num_classes: int, gamma: NonNegativeFloat = 2.0, **options: Any) -> None:
        super().__init__(num_classes, **options)
        if not 0 <= gamma < float('inf'):
            raise ValueError(f'gamma must be 0 or more, found {gamma}')
        self.gamma = gamma

    @property
    def takes_mixed_labels(self) -> bool:
        return True

    def per_sample(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        return compute_focal_loss(logits, labels, self.gamma, weights)
