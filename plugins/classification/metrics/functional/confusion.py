"""Confusion matrix and the metrics that follow from it.

All of them take matrices (..., K, K) of counts, which may be weighted: true classes in rows,
decisions in columns.
"""

from __future__ import annotations

import numpy as np


def confusion(
    labels: np.ndarray, decisions: np.ndarray, classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Count the samples of each true class (rows) that were decided for each class (columns).

    Args:
        labels: (N,) from 0 to K - 1.
        decisions: (N,) from 0 to K - 1.
        classes: K.
        weights: (..., N), the number of times that each sample counts; None for once.
    Returns:
        (..., K, K).
    """
    cell = labels * classes + decisions
    if weights is None:
        counts = np.bincount(cell, minlength=classes * classes).astype(np.float64)
    else:
        counts = weights @ (cell[:, None] == np.arange(classes * classes)).astype(weights.dtype)
    return counts.reshape(*counts.shape[:-1], classes, classes)


def sensitivity(matrix: np.ndarray) -> np.ndarray:
    """Share of a class's samples that are found, its recall: -> (..., K)."""
    return ratio(_hits(matrix), matrix.sum(-1))


def specificity(matrix: np.ndarray) -> np.ndarray:
    """Share of the other classes' samples that are not decided for the class: -> (..., K)."""
    total, own, decided = matrix.sum((-2, -1))[..., None], matrix.sum(-1), matrix.sum(-2)
    return ratio(total - own - decided + _hits(matrix), total - own)


def ppv(matrix: np.ndarray) -> np.ndarray:
    """Share of the decisions for a class that are right, its precision: -> (..., K)."""
    return ratio(_hits(matrix), matrix.sum(-2))


def npv(matrix: np.ndarray) -> np.ndarray:
    """Share of the decisions against a class that are right: -> (..., K)."""
    total, own, decided = matrix.sum((-2, -1))[..., None], matrix.sum(-1), matrix.sum(-2)
    return ratio(total - own - decided + _hits(matrix), total - decided)


def f1(matrix: np.ndarray) -> np.ndarray:
    """Harmonic mean of sensitivity and PPV: -> (..., K); NaN for a class without samples."""
    own = matrix.sum(-1)
    return ratio(2 * _hits(matrix), np.where(own > 0, own + matrix.sum(-2), 0))


def accuracy(matrix: np.ndarray) -> np.ndarray:
    """Share of right decisions: -> (...)."""
    return ratio(_hits(matrix).sum(-1), matrix.sum((-2, -1)))


def balanced_accuracy(matrix: np.ndarray) -> np.ndarray:
    """Mean sensitivity over the classes: -> (...); NaN if a class has no samples."""
    return sensitivity(matrix).mean(-1)


def macro_f1(matrix: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes: -> (...); NaN if a class has no samples."""
    return f1(matrix).mean(-1)


def mcc(matrix: np.ndarray) -> np.ndarray:
    """Matthews' correlation coefficient of K classes: -> (...), from -1 to 1.

    NaN if all samples are of one class, or all are decided for one.

    Source: R_K of Gorodkin, "Comparing two K-category assignments by a K-category correlation
        coefficient", Computational Biology and Chemistry 28, 2004.
    """
    total, own, decided = matrix.sum((-2, -1)), matrix.sum(-1), matrix.sum(-2)
    covariance = _hits(matrix).sum(-1) * total - (own * decided).sum(-1)
    spread = (total**2 - (own**2).sum(-1)) * (total**2 - (decided**2).sum(-1))
    return ratio(covariance, np.sqrt(np.maximum(spread, 0)))


def kappa(matrix: np.ndarray, quadratic: bool = False) -> np.ndarray:
    """Cohen's kappa: -> (...), 1 for agreement, 0 for agreement by chance.

    Args:
        matrix: (..., K, K).
        quadratic: weight a disagreement with the squared distance of the two classes, as is right
            for ordered classes (Cohen, Psychological Bulletin 70, 1968).
    """
    place = np.arange(matrix.shape[-1])
    distance = (place[:, None] - place) ** 2 if quadratic else place[:, None] != place
    by_chance = matrix.sum(-1)[..., :, None] * matrix.sum(-2)[..., None, :]
    observed = (matrix * distance).sum((-2, -1)) * matrix.sum((-2, -1))
    return 1 - ratio(observed, (by_chance * distance).sum((-2, -1)))


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide two arrays; NaN if the denominator is 0."""
    whole = np.asarray(denominator, dtype=np.float64)
    return np.asarray(numerator) / np.where(whole > 0, whole, np.nan)


def _hits(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)
