"""Label-distribution-aware margin (LDAM) loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.classification.losses.class_weights import WeightedLoss, require_counts
from toolkit.ranges import NonNegativeFloat, PositiveFloat
from toolkit.registry import LOSSES


@LOSSES.register
class LDAM(WeightedLoss):
    """LDAM loss: cross entropy with a margin on the label's logit, larger for rarer classes.

    The logit of the label is s (z_y - m_y), the others are s z_c. The margin is
    m_c = max_margin (min n / n_c)^(1/4) for a class with n_c samples.

    The published LDAM-DRW is `class_weights: effective`, `beta: 0.9999` and `from_epoch` at four
    fifths of the training. The loss is for logits that are cosines (`CosineHead`). Logits of a
    linear head have no limits and need `scale: 1`.

    Args:
        num_classes: K. Injected by the system.
        max_margin: margin of the rarest class.
        scale: factor s of the logits.
        **options: class weights and averaging, as in `WeightedLoss`.
    Shape: logits (N, K), labels (N,) -> scalar; 0 without samples.
    Raises:
        ValueError: max_margin is negative, scale is not above 0, or `WeightedLoss` refuses an
            argument.
    Source: Cao et al. 2019, arXiv 1906.07413, eq. 13.
    """

    def __init__(
        self,
        num_classes: int,
        max_margin: NonNegativeFloat = 0.5,
        scale: PositiveFloat = 30.0,
        **options: Any,
    ) -> None:
        super().__init__(num_classes, **options)
        if not 0 <= max_margin < float('inf'):
            raise ValueError(f'max_margin must be 0 or more, found {max_margin}')
        if not 0 < scale < float('inf'):
            raise ValueError(f'scale must be above 0, found {scale}')
        self.max_margin, self.scale = max_margin, scale
        self.register_buffer('margins', torch.full((num_classes,), max_margin), persistent=False)

    def use_counts(self, counts: Mapping[str, int]) -> None:
        super().use_counts(counts)
        numbers = require_counts(counts, 'margins').double()
        self.margins.copy_(self.max_margin * (numbers.min() / numbers).pow(0.25))

    def per_sample(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        targets = F.one_hot(labels, self.num_classes).to(logits)  # (N, K)
        return F.cross_entropy(
            self.scale * (logits - targets * self.margins), labels, weights, reduction='none'
        )
