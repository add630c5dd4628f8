"""Exact and conservative intervals of values that no resample changes.

If all samples agree, every resample agrees too, and a bootstrap returns an interval without width.
These intervals count patients instead, as Clopper and Pearson do ("The use of confidence or
fiducial limits illustrated in the case of the binomial", Biometrika 26, 1934).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from plugins.classification.metrics.functional.bootstrap import LEVEL


@dataclass(frozen=True)
class ExactInterval:
    """An interval by the binomial distribution.

    Attributes:
        low: lower limit.
        high: upper limit.
        trials: number of independent trials.
    """

    low: float
    high: float
    trials: int


def share_interval(
    hits: np.ndarray, patients: np.ndarray, level: float = LEVEL
) -> ExactInterval | None:
    """Compute the interval of a share of samples, each patient being one trial.

    A share that is no whole number of patients is rounded down for the lower limit and up for the
    upper one, so that the interval is never too narrow.

    Args:
        hits: (N,) bool, samples that count, or the share of each that counts.
        patients: (N,) patient of each sample.
        level: confidence level.
    Returns:
        None without samples.
    """
    trials = len(np.unique(patients))
    if not trials:
        return None
    expected = float(hits.mean()) * trials
    # Rounding of the mean must not move a whole number.
    fewest, most = int(np.floor(expected + 1e-9)), int(np.ceil(expected - 1e-9))
    low = binomtest(fewest, trials).proportion_ci(level).low
    high = binomtest(most, trials).proportion_ci(level).high
    return ExactInterval(float(low), float(high), trials)


def f1_interval(
    own: np.ndarray, decided: np.ndarray, patients: np.ndarray, level: float = LEVEL
) -> ExactInterval | None:
    """Compute the interval of an F1.

    F1 is 2 J / (1 + J), and J, the Jaccard index, is the share of hits among the samples that are
    of the class or are decided for it.

    Args:
        own: (N,) bool, samples of the class.
        decided: (N,) bool, samples that are decided for the class.
        patients: (N,) patient of each sample.
        level: confidence level.
    Returns:
        None if no sample is of the class or decided for it.
    """
    either = own | decided
    found = share_interval((own & decided)[either], patients[either], level)
    if found is None:
        return None
    low, high = (2 * share / (1 + share) for share in (found.low, found.high))
    return ExactInterval(low, high, found.trials)


def separation_interval(
    area: float, positive: np.ndarray, patients: np.ndarray, level: float = LEVEL
) -> ExactInterval | None:
    """Compute the interval of an AUC that is 0 or 1.

    A positive and a negative sample of two patients are a trial that succeeds with the AUC's
    probability. In k pairs of patients that share nobody, all succeed (or all fail).

    Args:
        area: 0 or 1.
        positive: (N,) bool.
        patients: (N,) patient of each sample.
        level: confidence level.
    Returns:
        None if there is no pair of two patients.
    """
    with_positive, with_negative = set(patients[positive]), set(patients[~positive])
    everybody = len(with_positive | with_negative)
    trials = min(len(with_positive), len(with_negative), everybody // 2)
    if not trials:
        return None
    found = binomtest(trials if area == 1 else 0, trials).proportion_ci(level)
    return ExactInterval(float(found.low), float(found.high), trials)
