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
    """What paired differences say about their mean.

    Attributes:
        n: pairs.
        difference: their mean, None without pairs.
        low: of the 95 % confidence interval of the mean; None where `p` is.
        high: of the same.
        p: two-sided, that the mean is 0; None where it cannot be computed.
        effect: Hedges' g of the differences: their mean by their standard deviation (Cohen's d_z),
            corrected for few pairs; None below three pairs, where the correction leaves nothing.
        why: why there is no p, '' where there is one.
    """

    n: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    effect: float | None = None
    why: str = ''


def paired_t(differences: ArrayLike, folds: int = 1) -> PairedTest:
    """Paired t-test over runs.

    Args:
        differences: (n,) one of each pair of runs.
        folds: into how many the data were split, where a pair is one of several folds.
    """
    d, undecided = _start(differences, 'pair')
    if undecided is not None:
        return undecided
    n, mean = len(d), float(d.mean())
    error = float(d.std(ddof=1)) * np.sqrt(_variance_factor(n, folds))
    reach = float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * error
    p = float(p_of_t(d, folds))
    return PairedTest(n, mean, mean - reach, mean + reach, p, hedges_g(d))


def p_of_t(differences: ArrayLike, folds: int = 1) -> np.ndarray:
    """p of the paired t-test along the last axis, for many tests at once.

    Shape: (..., n) with n >= 2 -> (...). NaN where differences do not vary.
    """
    d = np.asarray(differences, dtype=float)
    n, mean, deviation = d.shape[-1], d.mean(-1), d.std(-1, ddof=1)
    constant = _constant(mean, deviation)
    error = np.where(constant, np.nan, deviation) * np.sqrt(_variance_factor(n, folds))
    return 2 * stats.t.sf(np.abs(mean / error), n - 1)


def _variance_factor(n: int, folds: int) -> float:
    """Variance of the mean of n differences, in variances of one of them."""
    shared = 1 / (folds - 1) if folds > 1 else 0.0  # test items by training items
    return 1 / n + shared


def paired_bootstrap(differences: ArrayLike, seed: int = 0) -> PairedTest:
    """Symmetric bootstrap-t over test items.

    Args:
        differences: (n,) one of each item.
        seed: of the resampling.
    """
    return paired_bootstraps([differences], seed)[0]


def paired_bootstraps(many: Sequence[ArrayLike], seed: int = 0) -> list[PairedTest]:
    """The same for many tests; those of equally many items share their resamples.

    The more tests, the more resamples: the smallest p that they can tell, times the number of
    tests, stays below a tenth of the level.
    """
    resamples = max(RESAMPLES, math.ceil(10 / ALPHA) * len(many))
    started = [_start(differences, 'item') for differences in many]
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
    """Tests of the columns of (n, tests)."""
    n, mean = len(d), d.mean(0)
    error = d.std(0, ddof=1) / np.sqrt(n)
    centred = d - mean
    generator = np.random.default_rng(seed)
    scores = np.empty((resamples, d.shape[1]))
    step = max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        rows = slice(start, min(start + step, resamples))
        # How often each item is drawn.
        share = generator.multinomial(n, np.full(n, 1 / n), rows.stop - start) / n  # (rows, n)
        shift = share @ centred  # (rows, tests)
        variance = share @ centred**2 - shift**2
        flat = variance <= _ROUNDING * (centred**2).max(0)  # one item drawn n times
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
    """Cohen's d_z of paired differences, times Hedges' correction for their number.

    The exact factor of Hedges (Journal of Educational Statistics 6, 1981), with n - 1 degrees of
    freedom. None where it is not defined.
    """
    d = np.asarray(differences, dtype=float)
    if len(d) < 3 or _constant(d.mean(), d.std(ddof=1)):
        return None
    df = len(d) - 1
    correction = np.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / np.sqrt(df / 2)
    return float(correction * d.mean() / d.std(ddof=1))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """p adjusted for the family by Holm's step-down method; those that are None do not count.

    Holds the chance of one or more false positives among all of the family, however its tests
    depend on each other (Holm, Scandinavian Journal of Statistics 6, 1979).
    """
    known = [i for i, value in enumerate(p) if value is not None]
    adjusted: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, i in enumerate(sorted(known, key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(known) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted


def _start(differences: ArrayLike, unit: str) -> tuple[np.ndarray, PairedTest | None]:
    """The differences, and the answer where they do not allow a test."""
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
    if _constant(mean, d.std(ddof=1)):
        # Nothing that varies between runs takes part: repeating them says nothing of chance.
        return d, PairedTest(len(d), mean, why=f'the same difference in every {unit}')
    return d, None


def _constant(mean: ArrayLike, deviation: ArrayLike) -> np.ndarray:
    return np.asarray(deviation) <= _ROUNDING * np.abs(mean)
