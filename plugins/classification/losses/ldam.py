"""Label-distribution-aware margins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.classification.losses.weighted import WeightedLoss, counts_of_all
from toolkit.registry import LOSSES


@LOSSES.register
class LDAM(WeightedLoss):
    """Cross entropy in which a label's logit is lowered by a margin, larger for rarer classes.

    s (z_y - m_y) against s z of the others, with m_c = max_margin (min n / n_c)^(1/4) (Cao et al.
    2019, arXiv 1906.07413, eq. 13).

    LDAM-DRW, as published, is `class_weights: effective`, `beta: 0.9999` and `from_epoch` at four
    fifths of the training. It is meant for logits that are cosines, `CosineHead`; those of a
    linear head are not bounded, and want `scale: 1`.

    Args:
        num_classes: K. Injected by the system.
        max_margin: of the rarest class.
        scale: s.
        **options: class weights and averaging, as of `WeightedLoss`.
    Shape: logits (N, K), labels (N,) -> scalar; 0 where there are no samples.
    Raises:
        ValueError: a negative margin, a scale that is not above 0, what `WeightedLoss` raises.
    """

    def __init__(
        self, num_classes: int, max_margin: float = 0.5, scale: float = 30.0, **options: Any
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
        known = counts_of_all(counts, 'margins').double()
        self.margins.copy_(self.max_margin * (known.min() / known).pow(0.25))

    def per_sample(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        wanted = F.one_hot(labels, self.num_classes).to(logits)  # (N, K)
        return F.cross_entropy(
            self.scale * (logits - wanted * self.margins), labels, weights, reduction='none'
        )
