"""Cross entropy with optional class weights and label smoothing."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from plugins.classification.losses.class_weights import WeightedLoss
from toolkit.ranges import BelowOne
from toolkit.registry import LOSSES


@LOSSES.register
class CrossEntropy(WeightedLoss):
    """Cross entropy with optional class weights and label smoothing.

    Args:
        num_classes: K. Injected by the system.
        label_smoothing: share of each label that is distributed over all K classes, in [0, 1)
            (Szegedy et al. 2016, arXiv 1512.00567, section 7).
        **options: class weights and averaging, as in `WeightedLoss`.
    Shape: logits (N, K), labels (N,) -> scalar; 0 without samples.
    Raises:
        ValueError: label_smoothing is out of range, or `WeightedLoss` refuses an argument.
    """

    def __init__(self, num_classes: int, label_smoothing: BelowOne = 0.0, **options: Any) -> None:
        super().__init__(num_classes, **options)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing must be in [0, 1), found {label_smoothing}')
        self.label_smoothing = label_smoothing

    @property
    def takes_mixed_labels(self) -> bool:
        return True

    def per_sample(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        return F.cross_entropy(
            logits, labels, weights, reduction='none', label_smoothing=self.label_smoothing
        )
