"""Variance and comparison of areas under ROC curves of the same samples, by DeLong's method.

DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver
operating characteristic curves: a nonparametric approach", Biometrics 44, 1988; the components by
midranks as Sun and Xu, "Fast implementation of DeLong's algorithm", IEEE Signal Processing Letters
21, 2014; several samples of a patient as Obuchowski, "Nonparametric analysis of clustered ROC curve
data", Biometrics 53, 1997, which is DeLong's where every patient has one. None of the libraries
that we use has any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Z = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Areas:
    """Areas under curves of the same samples.

    Attributes:
        values: (R,).
        covariance: (R, R).
    """

    values: np.ndarray
    covariance: np.ndarray

    def interval(self, place: int = 0) -> tuple[float, float]:
        """95 % interval of an area by its normal distribution, cut to [0, 1]."""
        reach = Z * float(np.sqrt(self.covariance[place, place]))
        value = float(self.values[place])
        return max(0.0, value - reach), min(1.0, value + reach)


@dataclass(frozen=True)
class Difference:
    """An area minus another.

    Attributes:
        difference: of the two.
        low: of its 95 % interval.
        high: of the same.
        p: two-sided, that they are equal; 1 where no sample tells them apart.
    """

    difference: float
    low: float
    high: float
    p: float


def delong(
    scores: Sequence[np.ndarray], positive: np.ndarray, patients: np.ndarray | None = None
) -> Areas:
    """Areas and their covariance.

    Args:
        scores: R times (N,) of the same samples; an entry (S, N) stands for S runs, whose mean area
            is taken.
        positive: (N,) bool.
        patients: (N,) numbers of whom a sample is; None where all are independent.
    Raises:
        ValueError: fewer than two patients with positives or with negatives, for which there is no
            variance.
    """
    whose = np.arange(len(positive)) if patients is None else np.unique(patients, False, True)[1]
    m, n = int(positive.sum()), int((~positive).sum())
    clusters = int(whose.max()) + 1 if len(whose) else 0
    per_m = np.bincount(whose[positive], minlength=clusters)
    per_n = np.bincount(whose[~positive], minlength=clusters)
    with_m, with_n = int((per_m > 0).sum()), int((per_n > 0).sum())
    if with_m < 2 or with_n < 2:
        raise ValueError(
            f"DeLong's variance needs two patients or more with each class, found {with_m} with "
            f'positives and {with_n} with negatives'
        )
    parts = [_components(np.atleast_2d(given), positive) for given in scores]
    values = np.array([found.mean() for found, _ in parts])
    # By patient: sums of the components, less what the patient's share of the area would be.
    by_m = np.stack([np.bincount(whose[positive], found, clusters) for found, _ in parts])
    by_n = np.stack([np.bincount(whose[~positive], others, clusters) for _, others in parts])
    by_m = by_m - per_m * values[:, None]  # (R, clusters)
    by_n = by_n - per_n * values[:, None]
    s10 = with_m / (with_m - 1) * (by_m @ by_m.T) / m**2
    s01 = with_n / (with_n - 1) * (by_n @ by_n.T) / n**2
    cross = by_m @ by_n.T
    s11 = clusters / (clusters - 1) * (cross + cross.T) / (m * n)
    return Areas(values, s10 + s01 + s11)


def compare(
    a: np.ndarray, b: np.ndarray, positive: np.ndarray, patients: np.ndarray | None = None
) -> Difference:
    """Test whether two areas differ; arguments and errors of `delong`."""
    areas = delong([a, b], positive, patients)
    difference = float(areas.values[0] - areas.values[1])
    c = areas.covariance
    variance = float(c[0, 0] + c[1, 1] - 2 * c[0, 1])
    if variance <= 1e-15:  # rounding: the two order all samples alike
        return Difference(difference, difference, difference, 1.0 if difference == 0 else 0.0)
    error = float(np.sqrt(variance))
    p = float(2 * stats.norm.sf(abs(difference) / error))
    return Difference(difference, difference - Z * error, difference + Z * error, p)


def _components(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of negatives below each positive (m,), and of positives above each negative (n,), ties
    counting half; means over the runs of (S, N)."""
    m, n = int(positive.sum()), int((~positive).sum())
    ranks = stats.rankdata(scores, axis=1)  # (S, N), ties at their mean
    among = stats.rankdata(scores[:, positive], axis=1)
    others = stats.rankdata(scores[:, ~positive], axis=1)
    found = (ranks[:, positive] - among) / n
    above = 1 - (ranks[:, ~positive] - others) / m
    return found.mean(0), above.mean(0)
