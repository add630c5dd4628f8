"""Logit adjustment by class frequency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.classification.losses.class_weights import WeightedLoss, require_counts
from toolkit.ranges import NonNegativeFloat
from toolkit.registry import LOSSES


@LOSSES.register
class LogitAdjustment(WeightedLoss):
    """Logit-adjusted cross entropy: the loss uses logits + tau log(prior).

    The prior is the share of each class in the training data. It is added only during training, so
    that the logits themselves do not favour frequent classes.

    Args:
        num_classes: K. Injected by the system.
        tau: 1 aims at the balanced error; 0 is plain cross entropy.
        **options: class weights and averaging, as in `WeightedLoss`.
    Shape: logits (N, K), labels (N,) -> scalar; 0 without samples.
    Raises:
        ValueError: tau is negative, or `WeightedLoss` refuses an argument.
    Source: Menon et al. 2021, arXiv 2007.07314, eq. 10.
    """

    def __init__(self, num_classes: int, tau: NonNegativeFloat = 1.0, **options: Any) -> None:
        super().__init__(num_classes, **options)
        if not 0 <= tau < float('inf'):
            raise ValueError(f'tau must be 0 or more, found {tau}')
        self.tau = tau
        self.register_buffer('log_prior', torch.zeros(num_classes), persistent=False)

    def use_counts(self, counts: Mapping[str, int]) -> None:
        super().use_counts(counts)
        numbers = require_counts(counts, 'adjusted logits').double()
        self.log_prior.copy_((numbers / numbers.sum()).log())

    @property
    def takes_mixed_labels(self) -> bool:
        return True

    def per_sample(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        return F.cross_entropy(
            logits + self.tau * self.log_prior, labels, weights, reduction='none'
        )
