"""Class weights from class counts, and the base class of losses with class weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor

from plugins.classification.interfaces import ClassLoss
from toolkit.errors import ToolkitError
from toolkit.ranges import Gt, Lt, NonNegativeFloat, NonNegativeInt, PositiveFloat

Weights = Literal['inverse', 'effective']
Average = Literal['weights', 'samples']


def compute_inverse_weights(counts: Tensor) -> Tensor:
    """Computes 1 / n of each class (K,), scaled to mean 1."""
    weights = 1 / counts.double()
    return weights / weights.mean()


def compute_effective_weights(counts: Tensor, beta: float) -> Tensor:
    """Computes 1 / effective number of each class (K,), scaled to mean 1.

    The effective number is (1 - beta^n) / (1 - beta).

    Source: Cui et al. 2019, arXiv 1901.05555, eq. 2 and section 3.2.
    """
    # expm1, because 1 - beta^n loses all digits if beta^n is close to 1.
    log_beta = torch.log(torch.tensor(beta, dtype=torch.float64))
    weights = 1 / -torch.expm1(counts.double() * log_beta)
    return weights / weights.mean()


def require_counts(counts: Mapping[str, int], purpose: str) -> Tensor:
    """Returns the class counts (K,); each class must have a sample.

    Args:
        counts: number of samples by class.
        purpose: plural noun for the error message, such as `margins`.
    Raises:
        ToolkitError: a class has no sample; the message names the class.
    """
    empty = [name for name, count in counts.items() if count == 0]
    if empty:
        raise ToolkitError(
            f'the class {empty[0]!r} has no training sample, but {purpose} need samples of each '
            'class: remove the class from the task, or use a split with samples of it'
        )
    return torch.tensor(list(counts.values()))


class WeightedLoss(ClassLoss):
    """Base class of losses that are averaged over samples with class weights.

    Args:
        num_classes: K. Injected by the system.
        class_weights: 'inverse' (1 / n) or 'effective' (Cui et al. 2019), both computed from the
            class counts of the training data and scaled to mean 1; or K numbers, used without
            scaling; None for equal weights.
        beta: beta of 'effective', in (0, 1).
        from_epoch: first epoch with class weights (deferred reweighting, Cao et al. 2019).
        average: 'weights' divides the sum over a batch by the sum of the weights, as torch does;
            'samples' divides it by the number of samples, so that a sample has the same influence
            in any batch.
        weight: factor that the system applies.
    Shape: logits (N, K), labels (N,) -> scalar; 0 without samples.
    Raises:
        ValueError: class_weights are not K positive numbers, or beta or from_epoch is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        class_weights: Weights | list[PositiveFloat] | None = None,
        beta: Annotated[float, Gt(0), Lt(1)] = 0.999,
        from_epoch: NonNegativeInt = 0,
        average: Average = 'weights',
        weight: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__(num_classes, weight)
        if isinstance(class_weights, str) and class_weights not in ('inverse', 'effective'):
            raise ValueError(
                f'class_weights must be inverse, effective or a list, found {class_weights!r}'
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
        # Computed from the data, so it is not a part of the state.
        self.register_buffer('base', torch.ones(num_classes), persistent=False)
        if isinstance(class_weights, list | tuple):
            if len(class_weights) != num_classes or not all(0 < w < 1e30 for w in class_weights):
                raise ValueError(
                    f'class_weights must be {num_classes} positive numbers, one for each class, '
                    f'found {list(class_weights)}'
                )
            self.base.copy_(torch.tensor(class_weights))

    def use_counts(self, counts: Mapping[str, int]) -> None:
        """Sets the class weights.

        Raises:
            ToolkitError: a class has no sample, and class_weights is inverse or effective.
        """
        if isinstance(self.class_weights, str):
            numbers = require_counts(counts, f'class weights {self.class_weights!r}')
            inverse = self.class_weights == 'inverse'
            self.base.copy_(
                compute_inverse_weights(numbers)
                if inverse
                else compute_effective_weights(numbers, self.beta)
            )

    def start_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def weights(self) -> Tensor | None:
        """Returns the current weight of each class (K,); None if all are equal."""
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
        """Computes the weighted loss of each sample.

        Shape: logits (N, K), labels (N,), weights (K,) or None for equal weights -> (N,).
        """
