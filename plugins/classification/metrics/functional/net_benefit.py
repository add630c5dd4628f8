"""Net benefit of decisions at each threshold: the decision curve."""

from __future__ import annotations

import numpy as np

from plugins.classification.metrics.functional.confusion import ratio


def net_benefit(
    probability: np.ndarray, positive: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """Compute the net benefit of treating whoever has a probability at or above a threshold.

    It is TP / N - FP / N * t / (1 - t), in true positives per person: at the threshold t a false
    positive counts t / (1 - t) of a true one. To treat nobody has 0.

    Args:
        probability: (N,) calibrated probability of the positive class.
        positive: (N,) bool.
        thresholds: (T,) from 0 to below 1.
    Returns:
        (T,); NaN without samples.
    Source: Vickers and Elkin, "Decision curve analysis", Medical Decision Making 26, 2006, eq. 1.
    """
    treated = probability[:, None] >= thresholds  # (N, T)
    right, wrong = (treated & positive[:, None]).sum(0), (treated & ~positive[:, None]).sum(0)
    return ratio(right - wrong * thresholds / (1 - thresholds), len(positive))


def treat_all(positive: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Compute the net benefit of treating everybody: (N,) bool, (T,) -> (T,)."""
    return net_benefit(np.ones(len(positive)), positive, thresholds)
