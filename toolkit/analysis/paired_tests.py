"""Paired tests between two variants, and Holm's correction over all tests of a study.

Two questions, two tests:

- Would the difference hold with other seeds? Paired t over the (seed, fold) pairs. Exact tests
  (sign flips, Wilcoxon's) assume less, but with n pairs their p is at least 2 / 2**n: with the
  three to five seeds that people can pay for they never reach 0.05. The t-test can; it assumes
  that differences are normal. Folds share training data, so that their differences depend on each
  other; the variance is then corrected (Nadeau and Bengio, "Inference for the generalization
  error", Machine Learning 52, 2003; for repeated folds Bouckaert and Frank, PAKDD 2004).
- Would it hold on other test items? Paired bootstrap over the items, studentised and symmetric
  (Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 12; Hall, Journal of the
  Royal Statistical Society B 50, 1988), which keeps its level with few items, where resampled means
  alone claim too much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

ALPHA = 0.05
RESAMPLES = 9999  # at least
# Differences that vary by less than this share of their size vary by rounding alone.
_ROUNDING = 1e-12
_CHUNK = 2_000_000  # counts held at once
_TOGETHER = 32  # tests that share resamples


@dataclass(frozen=True)
class PairedTest:
    """Test of the mean of paired differences.

    Attributes:
        n: number of pairs.
        difference: mean of the differences; None without pairs.
        low: lower end of the 95 % confidence interval of the mean; None if `p` is None.
        high: upper end of the interval.
        p: two-sided p-value for a mean of 0; None if it cannot be computed.
        effect: Hedges' g of the differences: their mean by their standard deviation (Cohen's d_z),
            corrected for few pairs; None below three pairs, for which the correction is 0.
        why: reason for a missing p, else ''.
    """

    n: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    effect: float | None = None
    why: str = ''


def paired_t(differences: ArrayLike, folds: int = 1) -> PairedTest:
    """Tests the mean difference between pairs of runs by a paired t-test.

    Args:
        differences: (n,) one per pair of runs.
        folds: number of folds of the data, if the pairs are folds.
    """
    d, undecided = prepare_differences(differences, 'pair')
    if undecided is not None:
        return undecided
    n, mean = len(d), float(d.mean())
    error = float(d.std(ddof=1)) * np.sqrt(compute_variance_factor(n, folds))
    reach = float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * error
    p = float(compute_t_test_p(d, folds))
    return PairedTest(n, mean, mean - reach, mean + reach, p, hedges_g(d))


def compute_t_test_p(differences: ArrayLike, folds: int = 1) -> np.ndarray:
    """Computes p of the paired t-test along the last axis, for many tests at once.

    Shape: (..., n) with n >= 2 -> (...). NaN if the differences do not vary.
    """
    d = np.asarray(differences, dtype=float)
    n, mean, deviation = d.shape[-1], d.mean(-1), d.std(-1, ddof=1)
    constant = is_constant(mean, deviation)
    error = np.where(constant, np.nan, deviation) * np.sqrt(compute_variance_factor(n, folds))
    return 2 * stats.t.sf(np.abs(mean / error), n - 1)


def compute_variance_factor(n: int, folds: int) -> float:
    """Computes the variance of the mean of n differences, relative to that of one difference."""
    shared = 1 / (folds - 1) if folds > 1 else 0.0  # test items by training items
    return 1 / n + shared


def paired_bootstrap(differences: ArrayLike, seed: int = 0) -> PairedTest:
    """Tests the mean difference over test items by a symmetric bootstrap-t.

    Args:
        differences: (n,) one per item.
        seed: of the bootstrap.
    """
    return paired_bootstraps([differences], seed)[0]


def paired_bootstraps(many: Sequence[ArrayLike], seed: int = 0) -> list[PairedTest]:
    """Runs `paired_bootstrap` for many tests; those with equally many items share resamples.

    The number of resamples grows with the number of tests, so that the smallest possible p, times
    the number of tests, stays below a tenth of the level.
    """
    resamples = max(RESAMPLES, math.ceil(10 / ALPHA) * len(many))
    started = [prepare_differences(differences, 'item') for differences in many]
    tests = {i: undecided for i, (_, undecided) in enumerate(started) if undecided is not None}
    groups: dict[int, list[int]] = {}
    for i, (d, undecided) in enumerate(started):
        if undecided is None:
            groups.setdefault(len(d), []).append(i)
    for group in groups.values():
        for start in range(0, len(group), _TOGETHER):
            chosen = group[start : start + _TOGETHER]
            d = np.stack([started[i][0] for i in chosen], axis=1)  # (n, tests)
            tests.update(zip(chosen, _bootstrap(d, resamples, seed)))
    return [tests[i] for i in range(len(many))]


def _bootstrap(d: np.ndarray, resamples: int, seed: int) -> list[PairedTest]:
    """Tests the columns of differences of shape (n, tests)."""
    n, mean = len(d), d.mean(0)
    error = d.std(0, ddof=1) / np.sqrt(n)
    centred = d - mean
    generator = np.random.default_rng(seed)
    scores = np.empty((resamples, d.shape[1]))
    step = max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        rows = slice(start, min(start + step, resamples))
        # The share of each item in a resample.
        share = generator.multinomial(n, np.full(n, 1 / n), rows.stop - start) / n  # (rows, n)
        shift = share @ centred  # (rows, tests)
        variance = share @ centred**2 - shift**2
        flat = variance <= _ROUNDING * (centred**2).max(0)  # a resample of one item
        scores[rows] = np.abs(shift) * np.sqrt((n - 1) / np.where(flat, 1, variance))
        scores[rows][flat] = np.inf
    p = (1 + np.count_nonzero(scores >= np.abs(mean) / error, axis=0)) / (resamples + 1)
    # The interval that a test at this level does not reject: 'higher' errs to the wide side.
    reach = np.quantile(scores, 1 - ALPHA, axis=0, method='higher') * error
    return [
        PairedTest(
            n,
            float(mean[i]),
            float(mean[i] - reach[i]) if np.isfinite(reach[i]) else None,
            float(mean[i] + reach[i]) if np.isfinite(reach[i]) else None,
            float(p[i]),
            hedges_g(d[:, i]),
        )
        for i in range(d.shape[1])
    ]


def hedges_g(differences: ArrayLike) -> float | None:
    """Computes Cohen's d_z of paired differences, times Hedges' correction for their number.

    The exact factor of Hedges (Journal of Educational Statistics 6, 1981), with n - 1 degrees of
    freedom. None if it is not defined.
    """
    d = np.asarray(differences, dtype=float)
    if len(d) < 3 or is_constant(d.mean(), d.std(ddof=1)):
        return None
    df = len(d) - 1
    correction = np.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / np.sqrt(df / 2)
    return float(correction * d.mean() / d.std(ddof=1))


def adjust_holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjusts p-values of a family by Holm's step-down method; None is skipped.

    Controls the chance of one or more false positives in the family, for any dependence between
    its tests (Holm, Scandinavian Journal of Statistics 6, 1979).
    """
    known = [i for i, value in enumerate(p) if value is not None]
    adjusted: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, i in enumerate(sorted(known, key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(known) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted


def prepare_differences(differences: ArrayLike, unit: str) -> tuple[np.ndarray, PairedTest | None]:
    """Converts the differences; returns the result too if they do not allow a test."""
    d = np.asarray(differences, dtype=float)
    if d.ndim != 1 or not np.isfinite(d).all():
        raise ValueError(f'differences must be finite and of one axis, found shape {d.shape}')
    if len(d) == 0:
        return d, PairedTest(0, why=f'no {unit}s')
    mean = float(d.mean())
    if len(d) == 1:
        return d, PairedTest(1, mean, why=f'one {unit} has no spread')
    if not d.any():
        return d, PairedTest(len(d), 0.0, why=f'equal in every {unit}')
    if is_constant(mean, d.std(ddof=1)):
        # Nothing that varies between runs takes part: repeating them says nothing of chance.
        return d, PairedTest(len(d), mean, why=f'the same difference in every {unit}')
    return d, None


def is_constant(mean: ArrayLike, deviation: ArrayLike) -> np.ndarray:
    """Tells whether a deviation is but rounding of values of this mean."""
    return np.asarray(deviation) <= _ROUNDING * np.abs(mean)
