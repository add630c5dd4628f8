"""Conformal prediction sets: all classes whose probability reaches a limit found on validation.

The score of a labelled item is the probability of its own class (Sadinle, Lei and Wasserman, "Least
ambiguous set-valued classifiers with bounded error levels", JASA 114, 2019, with one limit for all
classes or one for each class). The limit is split conformal's (Vovk, Gammerman and Shafer,
"Algorithmic learning in a random world", 2005; Lei et al., JASA 113, 2018, section 2.2). Images of
a patient are not independent: each patient counts once, whose images share that weight (Lee, Barber
and Willett, "Distribution-free inference with hierarchical data", arXiv 2306.06342, 2023).
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
    for any number n of exchangeable items. A rank above n means that n are too few. Of patients
    with one image each, n is their number.
    """
    # 0.9 * 10 is 9.000000000000002 in floats of some products.
    return math.ceil((samples + 1) * coverage - 1e-9)


def fewest_samples(coverage: float) -> int:
    """Computes the number of patients from which on a limit excludes any class."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def fit_limits(
    probabilities: np.ndarray,
    labels: np.ndarray,
    coverage: float,
    of: Coverage = 'all',
    patients: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Fits the limits of the probabilities.

    Args:
        probabilities: (N, K) of labelled items that the network has not trained on.
        labels: (N,).
        coverage: probability, in (0, 1), with which the set of any image of a new patient is to
            hold its class.
        of: 'all' for one limit, which covers the items of all classes together; 'class' for a limit
            of each class, which covers the items of each class.
        patients: (N,) patient of each item; None if each item is of another one.
    Returns:
        Limits (K,), in the precision of the probabilities, 0 where patients are too few, so that
        the class is in each set; and the numbers (K,) of patients that each limit comes from.
    """
    classes = probabilities.shape[1]
    patients = np.arange(len(labels)) if patients is None else patients
    own = probabilities[np.arange(len(labels)), labels]
    groups = [labels == k if of == 'class' else labels >= 0 for k in range(classes)]
    found = [_find_limit(own[group], patients[group], coverage) for group in groups]
    limits = np.array([limit for limit, _ in found], probabilities.dtype)
    return limits, np.array([count for _, count in found], int)


def _find_limit(scores: np.ndarray, patients: np.ndarray, coverage: float) -> tuple[float, int]:
    """Finds the highest limit that patients with a weight of (n + 1) coverage reach."""
    _, owner, images = np.unique(patients, return_inverse=True, return_counts=True)
    order = np.argsort(-scores, kind='stable')
    reached = np.cumsum(1 / images[owner[order]])  # patients, from the largest score on
    place = int(np.searchsorted(reached, (len(images) + 1) * coverage - 1e-9))
    return (float(scores[order[place]]) if place < len(scores) else 0.0), len(images)


def coverage_of_calibration(
    samples: int, coverage: float, level: float = 0.95
) -> tuple[float, float] | None:
    """Computes between which values the true coverage lies, over draws of n patients.

    It follows Beta(k, n + 1 - k), with the rank k of the limit (Vovk, "Conditional validity of
    inductive conformal predictors", ACML 2012, proposition 2a), if probabilities are distinct and
    each patient has one image, or images that are all alike. Other images make it vary less.

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
