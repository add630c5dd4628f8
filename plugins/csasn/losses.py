"""Loss of CSASN with dynamic class weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from plugins.classification.losses.class_weights import Average, WeightedLoss, Weights
from plugins.classification.losses.focal import compute_focal_loss
from toolkit.engine.process import distributed
from toolkit.errors import ToolkitError
from toolkit.ranges import BelowOne, Gt, Lt, NonNegativeFloat, PositiveFloat
from toolkit.registry import LOSSES


@LOSSES.register
class DynamicClassWeights(WeightedLoss):
    """Cross entropy or focal loss with class weights that depend on the recall of each class.

    The weights are w_c ~ base_c (1 - R_c + eps)^gamma, scaled to mean 1 and then clipped. R_c is a
    running average over epochs of the training recall. It is counted during training, over all
    processes: on augmented images, with dropout and with the weights of each step. It needs no
    additional pass and uses no validation data. This is our reading of the paper; see the README.

    A rare class that the network has memorised has a training recall of 1, and would lose its
    weight. Two settings keep it: `smoothing` adds as many samples of each class at the level of
    chance, 1 / K, which few real samples do not outweigh; `recall: validation` takes the recall of
    the validation images, which the hook `ValidationRecall` counts after each validation.

    R_c is 0 before the first epoch ends, and for a class without samples, so that w starts at
    `base`. Weights change only between epochs. Checkpoints contain `hits` and `seen` of the epoch
    `present`, the `running` average, the number of epochs in it by class (`measured`), and the
    `current` weights, (K,) each.

    Args:
        num_classes: K. Injected by the system.
        class_weights: base_c, as in `WeightedLoss`; None for 1.
        gamma: exponent; 0 keeps the weights at base_c.
        eps: constant that keeps the weight of a class with recall 1 above 0.
        recall: 'training', or 'validation', which needs the hook `ValidationRecall`.
        smoothing: number of samples of each class at the level of chance that are added to the
            counts of an epoch; 0 for none.
        momentum: weight of earlier epochs in the running average, which has a bias correction.
        min_weight: lower limit of the class weights.
        max_weight: upper limit of the class weights.
        focusing: gamma of the focal loss; 0 for cross entropy.
        beta: beta of 'effective' weights.
        average: 'samples' divides by the number of samples, so that the weights also act on a batch
            of one class; 'weights' divides by the sum of the weights.
        **options: `weight` and `from_epoch`, as in `WeightedLoss`.
    Shape: logits (N, K), labels (N,) -> scalar; 0 without samples.
    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        class_weights: Weights | list[PositiveFloat] | None = 'effective',
        gamma: NonNegativeFloat = 1.0,
        eps: PositiveFloat = 0.05,
        recall: Literal['training', 'validation'] = 'training',
        smoothing: NonNegativeFloat = 0.0,
        momentum: BelowOne = 0.7,
        min_weight: NonNegativeFloat = 0.1,
        max_weight: PositiveFloat = 10.0,
        focusing: NonNegativeFloat = 0.0,
        beta: Annotated[float, Gt(0), Lt(1)] = 0.999,
        average: Average = 'samples',
        **options: Any,
    ) -> None:
        super().__init__(num_classes, class_weights, beta=beta, average=average, **options)
        for name, value in (('gamma', gamma), ('focusing', focusing), ('smoothing', smoothing)):
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
        if recall not in ('training', 'validation'):
            raise ValueError(f'recall must be training or validation, found {recall!r}')
        self.source, self.smoothing = recall, smoothing
        self.is_followed = False  # whether a hook counts the recall of validations
        self.gamma, self.eps, self.momentum, self.focusing = gamma, eps, momentum, focusing
        self.limits = min_weight, max_weight
        for name in ('hits', 'seen', 'running', 'measured'):
            self.register_buffer(name, torch.zeros(num_classes, dtype=torch.float64))
        self.register_buffer('current', torch.ones(num_classes))
        self.register_buffer('present', torch.tensor(-1))
        self._update_weights()

    @property
    def recall(self) -> Tensor:
        """Recall R (K,); 0 for a class that was never counted."""
        # The bias correction of Adam, so that the first epoch counts in full.
        return self.running / (1 - self.momentum**self.measured).clamp_min(1e-12)

    def use_counts(self, counts: Mapping[str, int]) -> None:
        super().use_counts(counts)
        self._update_weights()

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        if self.source == 'validation' and not self.is_followed:
            raise ToolkitError(
                'DynamicClassWeights with recall: validation needs the hook that counts it: add '
                'custom_hooks.recall: {type: ValidationRecall}'
            )
        if epoch == self.present:
            return  # a resumed run continues this epoch
        if epoch < self.present:  # a new training that starts from weights of an earlier one
            for name in ('hits', 'seen', 'running', 'measured'):
                getattr(self, name).zero_()
        has_samples = self.seen > 0
        recall = self._estimate_recall()  # (K,)
        updated = self.momentum * self.running + (1 - self.momentum) * recall
        self.running.copy_(torch.where(has_samples, updated, self.running))
        self.measured += has_samples
        self.hits.zero_()
        self.seen.zero_()
        self.present.fill_(epoch)
        self._update_weights()

    def _estimate_recall(self) -> Tensor:
        """Estimates the recall (K,) from the counts of the last epoch."""
        hits = self.hits + self.smoothing / self.num_classes
        return hits / (self.seen + self.smoothing).clamp_min(1)

    def use_validation(self, hits: Tensor, seen: Tensor) -> None:
        """Sets the counts of a validation, which the next epoch's weights follow.

        Args:
            hits: (K,) number of images of each class that were decided rightly.
            seen: (K,) number of images of each class.
        """
        self.hits.copy_(hits)
        self.seen.copy_(seen)

    @property
    def takes_mixed_labels(self) -> bool:
        """A recall that is counted in training is of whole labels."""
        return self.source == 'validation'

    def weights(self) -> Tensor | None:
        return self.current if self.epoch >= self.from_epoch else None

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.training and self.source == 'training':
            self._count(logits, labels)
        return super().forward(logits, labels)

    def per_sample(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        return compute_focal_loss(logits, labels, self.focusing, weights)

    @torch.no_grad()
    def _count(self, logits: Tensor, labels: Tensor) -> None:
        """Counts a batch, summed over processes; each process must call it."""
        correct = (logits.argmax(-1) == labels).double()  # (N,)
        local = self.seen.new_zeros(2, self.num_classes)
        local[0].index_add_(0, labels, correct)
        local[1].index_add_(0, labels, torch.ones_like(correct))
        hits, seen = distributed.reduce_sum(local)
        self.hits += hits
        self.seen += seen

    @torch.no_grad()
    def _update_weights(self) -> None:
        weights = self.base * (1 - self.recall + self.eps).pow(self.gamma)  # (K,)
        self.current.copy_((weights / weights.mean()).clamp(*self.limits))
