"""CSASN's dynamically weighted loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from plugins.classification.losses.focal import focal
from plugins.classification.losses.weighted import Average, WeightedLoss, Weights
from toolkit.engine import distributed
from toolkit.registry import LOSSES


@LOSSES.register
class DynamicClassWeights(WeightedLoss):
    """Cross entropy, or focal loss, with class weights that follow each class's recall.

    w_c ~ base_c (1 - R_c + eps)^gamma, brought to mean 1 and then clipped, where R_c is a running
    average over epochs of the recall on the training data as it is trained on: augmented, with
    dropout, by the weights of the time, summed over all processes. It costs no pass of its own,
    and sees nothing of the validation data. Our reading of the paper: see the README.

    Before anything is measured, and for a class that no sample was drawn of, R_c is 0: w starts at
    `base`. Weights change between epochs alone. State, in checkpoints: `hits` and `seen` of the
    epoch `present`, the `running` average and how often each class is in it (`measured`), and the
    `current` weights, (K,) each.

    Args:
        num_classes: K. Injected by the system.
        class_weights: base_c, as of `WeightedLoss`; None for 1.
        gamma: 0 leaves the weights at their base.
        eps: what is left to a class that is always found.
        momentum: share of the past in the running average, which is corrected for its start.
        min_weight: the least that a class may weigh.
        max_weight: the most.
        focusing: gamma of the focal loss; 0 for cross entropy.
        beta: of 'effective' weights.
        average: 'samples' divides by the number of samples, so that a batch of one class is
            weighted too; 'weights' divides by the sum of their weights.
        **options: `weight`, `from_epoch`, as of `WeightedLoss`.
    Shape: logits (N, K), labels (N,) -> scalar; 0 where there are no samples.
    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        num_classes: int,
        class_weights: Weights | list[float] | None = 'effective',
        gamma: float = 1.0,
        eps: float = 0.05,
        momentum: float = 0.7,
        min_weight: float = 0.1,
        max_weight: float = 10.0,
        focusing: float = 0.0,
        beta: float = 0.999,
        average: Average = 'samples',
        **options: Any,
    ) -> None:
        super().__init__(num_classes, class_weights, beta=beta, average=average, **options)
        for name, value in (('gamma', gamma), ('focusing', focusing)):
            if not 0 <= value < float('inf'):
                raise ValueError(f'{name} must be 0 or more, found {value}')
        if not 0 < eps < float('inf'):
            raise ValueError(f'eps must be above 0, found {eps}')
        if not 0 <= momentum < 1:
            raise ValueError(f'momentum must be in [0, 1), found {momentum}')
        if not 0 < min_weight <= 1 <= max_weight < float('inf'):
            raise ValueError(
                'expected 0 < min_weight <= 1 <= max_weight, '
                f'found min_weight {min_weight} and max_weight {max_weight}'
            )
        self.gamma, self.eps, self.momentum, self.focusing = gamma, eps, momentum, focusing
        self.limits = min_weight, max_weight
        for name in ('hits', 'seen', 'running', 'measured'):
            self.register_buffer(name, torch.zeros(num_classes, dtype=torch.float64))
        self.register_buffer('current', torch.ones(num_classes))
        self.register_buffer('present', torch.tensor(-1))
        self._update()

    @property
    def recall(self) -> Tensor:
        """R (K,), 0 where nothing was measured."""
        # As Adam corrects its moments, so that the first epoch counts in full.
        return self.running / (1 - self.momentum**self.measured).clamp_min(1e-12)

    def use_counts(self, counts: Mapping[str, int]) -> None:
        super().use_counts(counts)
        self._update()

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        if epoch == self.present:
            return  # a resumed run takes it up
        if epoch < self.present:  # another training, which starts from this one's weights
            for name in ('hits', 'seen', 'running', 'measured'):
                getattr(self, name).zero_()
        drawn = self.seen > 0
        recall = self.hits / self.seen.clamp_min(1)  # (K,)
        moved = self.momentum * self.running + (1 - self.momentum) * recall
        self.running.copy_(torch.where(drawn, moved, self.running))
        self.measured += drawn
        self.hits.zero_()
        self.seen.zero_()
        self.present.fill_(epoch)
        self._update()

    def weights(self) -> Tensor | None:
        return self.current if self.epoch >= self.from_epoch else None

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.training:
            self._follow(logits, labels)
        return super().forward(logits, labels)

    def per_sample(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        return focal(logits, labels, self.focusing, weights)

    @torch.no_grad()
    def _follow(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch; every process does, without samples too, for they count together."""
        right = (logits.argmax(-1) == labels).double()  # (N,)
        here = self.seen.new_zeros(2, self.num_classes)
        here[0].index_add_(0, labels, right)
        here[1].index_add_(0, labels, torch.ones_like(right))
        hits, seen = distributed.reduce_sum(here)
        self.hits += hits
        self.seen += seen

    @torch.no_grad()
    def _update(self) -> None:
        weights = self.base * (1 - self.recall + self.eps).pow(self.gamma)  # (K,)
        self.current.copy_((weights / weights.mean()).clamp(*self.limits))
