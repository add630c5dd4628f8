"""Variance and comparison of areas under ROC curves of the same samples, by DeLong's method.

None of the installed libraries has it.

Sources:
    DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver
        operating characteristic curves: a nonparametric approach", Biometrics 44, 1988.
    Sun and Xu, "Fast implementation of DeLong's algorithm", IEEE Signal Processing Letters 21,
        2014: the components by midranks.
    Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 53, 1997: several
        samples of a patient. It equals DeLong's if every patient has one sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Z = float(stats.norm.ppf(0.975))
NO_VARIANCE = 1e-15  # the rest is rounding


@dataclass(frozen=True)
class Areas:
    """Areas under R curves of the same samples.

    Attributes:
        values: (R,).
        covariance: (R, R).
    """

    values: np.ndarray
    covariance: np.ndarray

    def interval(self, index: int = 0) -> tuple[float, float] | None:
        """Compute the 95 % interval of an area by the normal distribution, cut to [0, 1].

        None if the variance is 0, as it is if the scores separate the classes.
        """
        variance = float(self.covariance[index, index])
        if variance <= NO_VARIANCE:
            return None
        reach, value = Z * float(np.sqrt(variance)), float(self.values[index])
        return max(0.0, value - reach), min(1.0, value + reach)


@dataclass(frozen=True)
class AreaDifference:
    """An area minus another one.

    Attributes:
        difference: difference of the areas.
        low: lower limit of its 95 % interval; None if its variance is 0.
        high: upper limit; None likewise.
        p: two-sided p-value of equal areas; without a variance it is 1 for equal areas and None for
            others.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None


def delong(
    scores: Sequence[np.ndarray], positive: np.ndarray, patients: np.ndarray | None = None
) -> Areas:
    """Compute areas and their covariance.

    Args:
        scores: R times (N,) of the same samples; an entry (S, N) stands for the mean area of S
            runs.
        positive: (N,) bool.
        patients: (N,) patient of each sample; None if all samples are independent.
    Raises:
        ValueError: fewer than two patients with positives or with negatives, which have no
            variance.
    """
    owner = np.arange(len(positive)) if patients is None else np.unique(patients, False, True)[1]
    m, n = int(positive.sum()), int((~positive).sum())
    clusters = int(owner.max()) + 1 if len(owner) else 0
    per_m = np.bincount(owner[positive], minlength=clusters)
    per_n = np.bincount(owner[~positive], minlength=clusters)
    with_m, with_n = int((per_m > 0).sum()), int((per_n > 0).sum())
    if with_m < 2 or with_n < 2:
        raise ValueError(
            f"DeLong's variance needs two patients or more with each class, found {with_m} with "
            f'positives and {with_n} with negatives'
        )
    parts = [_components(np.atleast_2d(one), positive) for one in scores]
    values = np.array([found.mean() for found, _ in parts])
    # Sums of the components of each patient, less the patient's expected share of the area.
    by_m = np.stack([np.bincount(owner[positive], found, clusters) for found, _ in parts])
    by_n = np.stack([np.bincount(owner[~positive], others, clusters) for _, others in parts])
    by_m = by_m - per_m * values[:, None]  # (R, clusters)
    by_n = by_n - per_n * values[:, None]
    s10 = with_m / (with_m - 1) * (by_m @ by_m.T) / m**2
    s01 = with_n / (with_n - 1) * (by_n @ by_n.T) / n**2
    cross = by_m @ by_n.T
    s11 = clusters / (clusters - 1) * (cross + cross.T) / (m * n)
    return Areas(values, s10 + s01 + s11)


def compare_areas(
    a: np.ndarray, b: np.ndarray, positive: np.ndarray, patients: np.ndarray | None = None
) -> AreaDifference:
    """Test whether two areas differ.

    Args:
        a: (N,) or (S, N) scores of the first curve, as for `delong`.
        b: scores of the second curve.
        positive: (N,) bool.
        patients: (N,) patient of each sample; None if all samples are independent.
    Raises:
        ValueError: as for `delong`.
    """
    areas = delong([a, b], positive, patients)
    difference = float(areas.values[0] - areas.values[1])
    c = areas.covariance
    variance = float(c[0, 0] + c[1, 1] - 2 * c[0, 1])
    if variance <= NO_VARIANCE:
        # Both order the samples alike, or both separate the classes: no spread can be estimated.
        return AreaDifference(difference, None, None, 1.0 if difference == 0 else None)
    error = float(np.sqrt(variance))
    p = float(2 * stats.norm.sf(abs(difference) / error))
    return AreaDifference(difference, difference - Z * error, difference + Z * error, p)


def _components(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the share of negatives below each positive and of positives above each negative.

    Ties count half; the shares are means over the runs.

    Shape: (S, N), (N,) -> (m,), (n,).
    """
    m, n = int(positive.sum()), int((~positive).sum())
    ranks = stats.rankdata(scores, axis=1)  # (S, N), ties at their mean
    among = stats.rankdata(scores[:, positive], axis=1)
    others = stats.rankdata(scores[:, ~positive], axis=1)
    found = (ranks[:, positive] - among) / n
    above = 1 - (ranks[:, ~positive] - others) / m
    return found.mean(0), above.mean(0)
