"""Conformal prediction sets: all classes whose probability reaches a limit found on validation.

The score of a labelled item is the probability of its own class (Sadinle, Lei and Wasserman, "Least
ambiguous set-valued classifiers with bounded error levels", JASA 114, 2019, with one limit for all
classes or one for each class). The limit is split conformal's (Vovk, Gammerman and Shafer,
"Algorithmic learning in a random world", 2005; Lei et al., JASA 113, 2018, section 2.2).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy.stats import beta

Coverage = Literal['all', 'class']


def rank_of_limit(samples: int, coverage: float) -> int:
    """Computes the rank, from the largest, of the probability that is the limit.

    It is ceil((n + 1) coverage): with it, a new item is covered with at least this probability,
    for any number n of exchangeable items. A rank above n means that n are too few.
    """
    # 0.9 * 10 is 9.000000000000002 in floats of some products.
    return math.ceil((samples + 1) * coverage - 1e-9)


def fewest_samples(coverage: float) -> int:
    """Computes the number of items from which on a limit excludes any class."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def fit_limits(
    probabilities: np.ndarray, labels: np.ndarray, coverage: float, of: Coverage = 'all'
) -> tuple[np.ndarray, np.ndarray]:
    """Fits the limits of the probabilities.

    Args:
        probabilities: (N, K) of labelled items that the network has not trained on.
        labels: (N,).
        coverage: share of items whose set is to hold their class, in (0, 1).
        of: 'all' for one limit, which covers the items of all classes together; 'class' for a limit
            of each class, which covers the items of each class.
    Returns:
        Limits (K,), in the precision of the probabilities, 0 where the items are too few, so that
        the class is in each set; and the numbers (K,) of items that each limit comes from.
    """
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    groups = [labels == k if of == 'class' else labels >= 0 for k in range(classes)]
    limits, samples = np.zeros(classes, probabilities.dtype), np.zeros(classes, int)
    for k, group in enumerate(groups):
        scores = np.sort(own[group])[::-1]
        samples[k] = len(scores)
        rank = rank_of_limit(len(scores), coverage)
        if rank <= len(scores):
            limits[k] = scores[rank - 1]
    return limits, samples


def coverage_of_calibration(
    samples: int, coverage: float, level: float = 0.95
) -> tuple[float, float] | None:
    """Computes between which values the true coverage lies, over draws of n calibration items.

    It follows Beta(k, n + 1 - k), with the rank k of the limit (Vovk, "Conditional validity of
    inductive conformal predictors", ACML 2012, proposition 2a), if probabilities are distinct.

    Args:
        samples: n.
        coverage: aimed at.
        level: share of the draws.
    Returns:
        Low and high; None if n is too small for a limit: everything is covered then.
    """
    rank = rank_of_limit(samples, coverage)
    if rank > samples:
        return None
    low, high = beta.ppf([(1 - level) / 2, (1 + level) / 2], rank, samples + 1 - rank)
    return float(low), float(high)
