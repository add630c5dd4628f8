"""Class weights from class counts, and the base of all losses that weigh classes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from plugins.classification.interfaces import ClassLoss
from toolkit.errors import ToolkitError

Weights = Literal['inverse', 'effective']
Average = Literal['weights', 'samples']


def inverse_weights(counts: Tensor) -> Tensor:
    """1 / n of each class (K,), at mean 1."""
    weights = 1 / counts.double()
    return weights / weights.mean()


def effective_weights(counts: Tensor, beta: float) -> Tensor:
    """1 / effective number of each class (K,), at mean 1; effective numbers are
    (1 - beta^n) / (1 - beta) (Cui et al. 2019, arXiv 1901.05555, eq. 2 and section 3.2)."""
    # expm1, for beta^n near 1 leaves nothing of the difference.
    log_beta = torch.log(torch.tensor(beta, dtype=torch.float64))
    weights = 1 / -torch.expm1(counts.double() * log_beta)
    return weights / weights.mean()


def counts_of_all(counts: Mapping[str, int], purpose: str) -> Tensor:
    """Class counts as (K,) where every class must have a sample.

    Raises:
        ToolkitError: one has none; it is named.
    """
    empty = [name for name, count in counts.items() if count == 0]
    if empty:
        raise ToolkitError(
            f'the class {empty[0]!r} has no training sample, and {purpose} need the count of '
            'each: leave the class out of the task, or choose a split that has some of it'
        )
    return torch.tensor(list(counts.values()))


class WeightedLoss(ClassLoss):
    """A loss per sample, averaged with a weight for each class.

    Args:
        num_classes: K. Injected by the system.
        class_weights: 'inverse' (1 / n) or 'effective' (Cui et al. 2019), both by the training
            data's class counts and at mean 1; or K numbers, taken as they are; None for none.
        beta: of 'effective', in (0, 1).
        from_epoch: the first epoch whose samples are weighted (deferred reweighting, Cao et al.
            2019).
        average: 'weights' divides a batch's sum by its samples' weights, as torch does; 'samples'
            by their number, so that a sample counts the same whatever is beside it.
        weight: factor that the system applies.
    Shape: logits (N, K), labels (N,) -> scalar; 0 where there are no samples.
    Raises:
        ValueError: weights that are not K positive numbers, beta or from_epoch out of range.
    """

    def __init__(
        self,
        num_classes: int,
        class_weights: Weights | list[float] | None = None,
        beta: float = 0.999,
        from_epoch: int = 0,
        average: Average = 'weights',
        weight: float = 1.0,
    ) -> None:
        super().__init__(num_classes, weight)
        if isinstance(class_weights, str) and class_weights not in ('inverse', 'effective'):
            raise ValueError(
                f'class_weights is inverse, effective or a list, found {class_weights!r}'
            )
        if not 0 < beta < 1:
            raise ValueError(f'beta must be in (0, 1), found {beta}')
        if from_epoch < 0:
            raise ValueError(f'from_epoch must be 0 or more, found {from_epoch}')
        if average not in ('weights', 'samples'):
            raise ValueError(f'average must be weights or samples, found {average!r}')
        self.class_weights, self.beta = class_weights, beta
        self.from_epoch, self.average = from_epoch, average
        self.epoch = 0
        # By the data at hand, so no part of the state.
        self.register_buffer('base', torch.ones(num_classes), persistent=False)
        if isinstance(class_weights, list | tuple):
            if len(class_weights) != num_classes or not all(0 < w < 1e30 for w in class_weights):
                raise ValueError(
                    f'class_weights must be {num_classes} positive numbers, one for each class, '
                    f'found {list(class_weights)}'
                )
            self.base.copy_(torch.tensor(class_weights))

    def use_counts(self, counts: Mapping[str, int]) -> None:
        """Set the class weights.

        Raises:
            ToolkitError: a class without a sample, where weights follow the counts.
        """
        if isinstance(self.class_weights, str):
            known = counts_of_all(counts, f'class weights {self.class_weights!r}')
            inverse = self.class_weights == 'inverse'
            self.base.copy_(
                inverse_weights(known) if inverse else effective_weights(known, self.beta)
            )

    def start_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def weights(self) -> Tensor | None:
        """Returns the present weight of each class (K,); None where all are equal."""
        weighted = self.class_weights is not None and self.epoch >= self.from_epoch
        return self.base if weighted else None

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        if len(labels) == 0:
            return logits.sum() * 0
        if logits.dtype in (torch.bfloat16, torch.float16):
            logits = logits.float()
        weights = self.weights()
        losses = self.per_sample(logits, labels, weights)  # (N,)
        if weights is None or self.average == 'samples':
            return losses.mean()
        return losses.sum() / weights[labels].sum()

    @abstractmethod
    def per_sample(self, logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
        """Shape: logits (N, K), labels (N,), weights (K,) or None for 1 -> weighted losses (N,)."""
