"""Areas under the ROC curve and the precision-recall curve.

scikit-learn's `roc_auc_score` and `average_precision_score` give the same values; they take one
set of weights at a time.
"""

from __future__ import annotations

import numpy as np

from plugins.classification.metrics.functional.confusion import ratio


def auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the ROC curve: the probability that a positive sample scores above a negative one.

    Ties count half.

    Args:
        scores: (N,).
        positive: (N,) bool.
        weights: (..., N), the number of times that each sample counts; None for once.
    Returns:
        (...); NaN without positives or without negatives.
    """
    found, others = _group_by_score(scores, positive, weights)  # (..., G)
    below = np.cumsum(others, -1) - others / 2
    return ratio((found * below).sum(-1), found.sum(-1) * others.sum(-1))


def average_precision(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Area under the steps of the precision-recall curve.

    Args:
        scores: (N,).
        positive: (N,) bool.
        weights: (..., N), the number of times that each sample counts; None for once.
    Returns:
        (...); NaN without positives.
    """
    found, others = (x[..., ::-1] for x in _group_by_score(scores, positive, weights))  # (..., G)
    hits = np.cumsum(found, -1)
    called = hits + np.cumsum(others, -1)
    precision = hits / np.where(called > 0, called, 1)
    return ratio((found * precision).sum(-1), hits[..., -1])


def _group_by_score(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Sum the weights of positives and of negatives at each distinct score, in rising order.

    Shape: (N,), (N,), (..., N) -> (..., G), (..., G).
    """
    order = np.argsort(scores, kind='stable')
    ranked, truth = scores[order], positive[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    times = np.ones(len(order)) if weights is None else weights[..., order]
    total = np.add.reduceat(times, starts, axis=-1)
    found = np.add.reduceat(times * truth, starts, axis=-1)
    return found, total - found
