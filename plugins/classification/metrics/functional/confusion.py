"""Counts of decisions by class, and the metrics that follow from them.

All metrics need only the margins of a confusion matrix, so that memory is linear in the number of
classes, for any number of weights. `confusion` is the matrix itself, for tables and figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class Counts:
    """Numbers of samples of K classes, which may be weighted.

    Attributes:
        own: (..., K) samples of each class.
        decided: (..., K) samples decided for each class.
        hits: (..., K) samples of each class that are decided for it.
        distance: (...) sum over the samples of the squared distance of class and decision.
    """

    own: np.ndarray
    decided: np.ndarray
    hits: np.ndarray
    distance: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """Number of samples: (...)."""
        return self.own.sum(-1)


def count(
    labels: np.ndarray, decisions: np.ndarray, classes: int, weights: np.ndarray | None = None
) -> Counts:
    """Count samples by true class and by decision.

    Args:
        labels: (N,) from 0 to K - 1.
        decisions: (N,) from 0 to K - 1.
        classes: K.
        weights: (..., N), the number of times that each sample counts; None for once.
    """
    times = np.ones(len(labels)) if weights is None else weights
    right = labels == decisions
    squared = (labels - decisions).astype(np.float64) ** 2
    return Counts(
        _sum_by_class(labels, classes, times),
        _sum_by_class(decisions, classes, times),
        _sum_by_class(labels[right], classes, times[..., right]),
        times @ squared,
    )


def confusion(labels: np.ndarray, decisions: np.ndarray, classes: int) -> np.ndarray:
    """Count the samples of each true class (rows) that were decided for each class (columns).

    Args:
        labels: (N,) from 0 to K - 1.
        decisions: (N,) from 0 to K - 1.
        classes: K.
    Returns:
        (K, K) float64.
    """
    cell = labels * classes + decisions
    counts = np.bincount(cell, minlength=classes * classes).astype(np.float64)
    return counts.reshape(classes, classes)


def sensitivity(counts: Counts) -> np.ndarray:
    """Share of a class's samples that are found, its recall: -> (..., K)."""
    return ratio(counts.hits, counts.own)


def specificity(counts: Counts) -> np.ndarray:
    """Share of the other classes' samples that are not decided for the class: -> (..., K)."""
    total, own = counts.total[..., None], counts.own
    return ratio(total - own - counts.decided + counts.hits, total - own)


def ppv(counts: Counts) -> np.ndarray:
    """Share of the decisions for a class that are right, its precision: -> (..., K)."""
    return ratio(counts.hits, counts.decided)


def npv(counts: Counts) -> np.ndarray:
    """Share of the decisions against a class that are right: -> (..., K)."""
    total, decided = counts.total[..., None], counts.decided
    return ratio(total - counts.own - decided + counts.hits, total - decided)


def f1(counts: Counts) -> np.ndarray:
    """Harmonic mean of sensitivity and PPV: -> (..., K); NaN for a class without samples."""
    own = counts.own
    return ratio(2 * counts.hits, np.where(own > 0, own + counts.decided, 0))


def accuracy(counts: Counts) -> np.ndarray:
    """Share of right decisions: -> (...)."""
    return ratio(counts.hits.sum(-1), counts.total)


def balanced_accuracy(counts: Counts) -> np.ndarray:
    """Mean sensitivity over the classes: -> (...); NaN if a class has no samples."""
    return sensitivity(counts).mean(-1)


def macro_f1(counts: Counts) -> np.ndarray:
    """Mean F1 over the classes: -> (...); NaN if a class has no samples."""
    return f1(counts).mean(-1)


def mcc(counts: Counts) -> np.ndarray:
    """Matthews' correlation coefficient of K classes: -> (...), from -1 to 1.

    NaN if all samples are of one class, or all are decided for one.

    Source: R_K of Gorodkin, "Comparing two K-category assignments by a K-category correlation
        coefficient", Computational Biology and Chemistry 28, 2004.
    """
    total, own, decided = counts.total, counts.own, counts.decided
    covariance = counts.hits.sum(-1) * total - (own * decided).sum(-1)
    spread = (total**2 - (own**2).sum(-1)) * (total**2 - (decided**2).sum(-1))
    return ratio(covariance, np.sqrt(np.maximum(spread, 0)))


def kappa(counts: Counts, quadratic: bool = False) -> np.ndarray:
    """Cohen's kappa: -> (...), 1 for agreement, 0 for agreement by chance.

    Args:
        counts: counts of K classes.
        quadratic: weight a disagreement with the squared distance of the two classes, as is right
            for ordered classes (Cohen, Psychological Bulletin 70, 1968).
    """
    total, own, decided = counts.total, counts.own, counts.decided
    if quadratic:
        place = np.arange(own.shape[-1], dtype=np.float64)
        observed = counts.distance
        # The sum over classes i, j of own_i decided_j (i - j)^2.
        squares = (own * place**2).sum(-1) * total + total * (decided * place**2).sum(-1)
        by_chance = squares - 2 * (own * place).sum(-1) * (decided * place).sum(-1)
    else:
        observed = total - counts.hits.sum(-1)
        by_chance = total**2 - (own * decided).sum(-1)
    return 1 - ratio(observed * total, by_chance)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide two arrays; NaN if the denominator is 0."""
    whole = np.asarray(denominator, dtype=np.float64)
    return np.asarray(numerator) / np.where(whole > 0, whole, np.nan)


def _sum_by_class(classes_of: np.ndarray, classes: int, times: np.ndarray) -> np.ndarray:
    """Sum weights (..., N) over the samples of each class: -> (..., K)."""
    if times.ndim == 1:
        return np.bincount(classes_of, times, minlength=classes)
    if not len(classes_of):
        return np.zeros((*times.shape[:-1], classes))
    samples = np.arange(len(classes_of))
    shape = (len(classes_of), classes)
    inside = sparse.csr_array((np.ones(len(classes_of)), (samples, classes_of)), shape)
    flat = times.reshape(-1, times.shape[-1])
    return (flat @ inside).reshape(*times.shape[:-1], classes)
