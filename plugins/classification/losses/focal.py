"""Focal loss."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.classification.losses.weighted import WeightedLoss
from toolkit.registry import LOSSES


def focal(logits: Tensor, labels: Tensor, gamma: float, weights: Tensor | None) -> Tensor:
    """(1 - p)^gamma times the cross entropy -log p, p being the label's probability.

    Shape: logits (N, K), labels (N,), weights (K,) or None -> (N,).
    """
    losses = F.cross_entropy(logits, labels, reduction='none')  # (N,)
    # At p = 1 a power below 1 has an infinite slope, which times the loss's 0 is no number.
    rest = -torch.expm1(-losses)  # 1 - p
    losses = rest.clamp_min(torch.finfo(rest.dtype).eps).pow(gamma) * losses if gamma else losses
    return losses if weights is None else weights[labels] * losses


@LOSSES.register
class Focal(WeightedLoss):
    """Cross entropy times (1 - p)^gamma: what is already right counts less.

    Lin et al. 2017, arXiv 1708.02002, eq. 4, over a softmax of K classes; alpha are the class
    weights.

    Args:
        num_classes: K. Injected by the system.
        gamma: 0 for cross entropy.
        **options: class weights and averaging, as of `WeightedLoss`.
    Shape: logits (N, K), labels (N,) -> scalar; 0 where there are no samples.
    Raises:
        ValueError: a negative gamma, and what `WeightedLoss` raises.
    """

    def __init__(self, num_classes: int, gamma: float = 2.0, **options: Any) -> None:
        super().__init__(num_classes, **options)
        if not 0 <= gamma < float('inf'):
            raise ValueError(f'gamma must be 0 or more, found {gamma}')
        self.gamma = gamma

    def per_sample(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        return focal(logits, labels, self.gamma, weights)
