"""What is read off a confusion matrix: true classes in rows, decided ones in columns.

All take matrices (..., K, K) of counts, which may be weighted.
"""

from __future__ import annotations

import numpy as np


def confusion(
    labels: np.ndarray, decisions: np.ndarray, classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """How often a class was decided for a class.

    Args:
        labels: (N,) from 0 to K - 1.
        decisions: (N,) likewise.
        classes: K.
        weights: (..., N), how often each sample counts; None for once.
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
    """Share of the other classes' samples that are not taken for the class: -> (..., K)."""
    total, own, decided = matrix.sum((-2, -1))[..., None], matrix.sum(-1), matrix.sum(-2)
    return ratio(total - own - decided + _hits(matrix), total - own)


def ppv(matrix: np.ndarray) -> np.ndarray:
    """Share of what is decided for a class that is of it, its precision: -> (..., K)."""
    return ratio(_hits(matrix), matrix.sum(-2))


def npv(matrix: np.ndarray) -> np.ndarray:
    """Share of what is decided against a class that is not of it: -> (..., K)."""
    total, own, decided = matrix.sum((-2, -1))[..., None], matrix.sum(-1), matrix.sum(-2)
    return ratio(total - own - decided + _hits(matrix), total - decided)


def f1(matrix: np.ndarray) -> np.ndarray:
    """Harmonic mean of sensitivity and PPV: -> (..., K); NaN for a class without samples."""
    own = matrix.sum(-1)
    return ratio(2 * _hits(matrix), np.where(own > 0, own + matrix.sum(-2), 0))


def accuracy(matrix: np.ndarray) -> np.ndarray:
    """Share of samples that are decided rightly: -> (...)."""
    return ratio(_hits(matrix).sum(-1), matrix.sum((-2, -1)))


def balanced_accuracy(matrix: np.ndarray) -> np.ndarray:
    """Mean sensitivity over the classes: -> (...); NaN where a class has no samples."""
    return sensitivity(matrix).mean(-1)


def macro_f1(matrix: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes: -> (...); NaN where a class has no samples."""
    return f1(matrix).mean(-1)


def mcc(matrix: np.ndarray) -> np.ndarray:
    """Matthews' correlation coefficient of K classes: -> (...), from -1 to 1.

    R_K of Gorodkin, "Comparing two K-category assignments by a K-category correlation
    coefficient", Computational Biology and Chemistry 28, 2004. NaN where all samples are of one
    class, or all are decided for one.
    """
    total, own, decided = matrix.sum((-2, -1)), matrix.sum(-1), matrix.sum(-2)
    covariance = _hits(matrix).sum(-1) * total - (own * decided).sum(-1)
    spread = (total**2 - (own**2).sum(-1)) * (total**2 - (decided**2).sum(-1))
    return ratio(covariance, np.sqrt(np.maximum(spread, 0)))


def kappa(matrix: np.ndarray, quadratic: bool = False) -> np.ndarray:
    """Cohen's kappa: -> (...), 1 for agreement, 0 for that of chance.

    Args:
        matrix: (..., K, K).
        quadratic: a disagreement counts with the square of how many classes lie between, which is
            right for ordered classes (Cohen, Psychological Bulletin 70, 1968).
    """
    place = np.arange(matrix.shape[-1])
    apart = (place[:, None] - place) ** 2 if quadratic else place[:, None] != place
    by_chance = matrix.sum(-1)[..., :, None] * matrix.sum(-2)[..., None, :]
    observed = (matrix * apart).sum((-2, -1)) * matrix.sum((-2, -1))
    return 1 - ratio(observed, (by_chance * apart).sum((-2, -1)))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """A quotient, NaN where its denominator is 0."""
    whole = np.asarray(whole, dtype=np.float64)
    return np.asarray(part) / np.where(whole > 0, whole, np.nan)


def _hits(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)
