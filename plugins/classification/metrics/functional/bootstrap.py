"""Bootstrap by patient: all samples of a drawn patient come together.

Samples of a patient resemble each other; drawing them one by one would make intervals too narrow.
scipy's `bootstrap` draws single samples, one statistic at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
_MAX_WEIGHTS = 4_000_000  # in memory at once
# If more resamples than this have no value, the others say too little about the whole.
MAX_UNDEFINED = 0.5
# An interval within the range of n patients' values holds their median with a probability of at
# most 1 - 2^(1 - n), which is below 95 % for n < 6.
MIN_PATIENTS = 6
# Resamples that differ by less are equal: the rest is rounding.
EQUAL = 1e-12


@dataclass(frozen=True)
class BootstrapSettings:
    """Settings of a bootstrap by patient.

    Attributes:
        resamples: number of resamples.
        seed: seed of the bootstrap.
        stratified: keep the number of patients of each class in every resample.
    """

    resamples: int = RESAMPLES
    seed: int = 0
    stratified: bool = False

    def weights(self, patients: np.ndarray, labels: np.ndarray) -> Iterator[np.ndarray]:
        """Draw the resamples of samples with patients (N,) and labels (N,)."""
        strata = labels if self.stratified else None
        return draw_weights(patients, self.resamples, self.seed, strata)


@dataclass(frozen=True)
class Interval:
    """A percentile interval at 95 %.

    Attributes:
        low: lower limit; None if more than half of the resamples have no value.
        high: upper limit; None likewise.
        undefined: share of the resamples without a value.
    """

    low: float | None
    high: float | None
    undefined: float = 0.0


@dataclass(frozen=True)
class PairedDifference:
    """A value minus another one of the same patients.

    Attributes:
        interval: interval of the difference.
        p: two-sided p-value of no difference: twice the smaller share of the resamples on one side
            of 0 (Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 15.4);
            None if there is no interval.
    """

    interval: Interval
    p: float | None


def draw_weights(
    patients: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
    strata: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Draw resamples as weights: the number of times each sample counts.

    Args:
        patients: (N,) patient of each sample.
        resamples: number of resamples.
        seed: seed of the bootstrap.
        strata: (N,) stratum of each sample, from 0. A patient belongs to the highest stratum of
            their samples; each stratum keeps its number of patients. None for a single stratum.
    Yields:
        (r, N) float64, weights of the next r resamples; r is chosen to bound the memory.
    """
    _, owner = np.unique(patients, return_inverse=True)
    count = int(owner.max()) + 1 if len(owner) else 0
    stratum = np.zeros(count, dtype=int)
    if strata is not None:
        np.maximum.at(stratum, owner, strata)
    groups = [np.flatnonzero(stratum == s) for s in np.unique(stratum)]
    generator = np.random.default_rng(seed)
    step = max(1, _MAX_WEIGHTS // max(1, len(patients)))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        times = np.zeros((rows, count))
        for group in groups:
            picks = generator.integers(0, len(group), (rows, len(group)))
            picks += len(group) * np.arange(rows)[:, None]
            counts = np.bincount(picks.ravel(), minlength=rows * len(group))
            times[:, group] = counts.reshape(rows, -1)
        yield times[:, owner]


def score_resamples(
    score: Callable[[np.ndarray], Mapping[str, np.ndarray]], weights: Iterator[np.ndarray]
) -> dict[str, np.ndarray]:
    """Compute values of every resample.

    Args:
        score: maps weights (r, N) to values (r,) by name.
        weights: weights of the resamples, from `draw_weights`.
    Returns:
        (resamples,) by name.
    """
    found: dict[str, list[np.ndarray]] = {}
    for part in weights:
        for name, values in score(part).items():
            found.setdefault(name, []).append(np.asarray(values))
    return {name: np.concatenate(values) for name, values in found.items()}


def percentile_interval(values: np.ndarray) -> Interval:
    """Compute the interval of resampled values (resamples,), which are NaN if undefined."""
    known = values[np.isfinite(values)]
    undefined = 1 - len(known) / len(values) if len(values) else 1.0
    if undefined > MAX_UNDEFINED or not len(known):
        return Interval(None, None, undefined)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), undefined)


def is_constant(values: np.ndarray) -> bool:
    """Tell whether all resamples that have a value have the same one."""
    known = values[np.isfinite(values)]
    return len(known) > 0 and float(np.ptp(known)) <= EQUAL


def paired_difference(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> PairedDifference:
    """Compare two sides in the same resamples, each the mean over its runs.

    Args:
        a: (resamples,) of each run of the first side.
        b: (resamples,) of each run of the second side.
    """
    difference = np.mean(a, axis=0) - np.mean(b, axis=0)
    interval = percentile_interval(difference)
    if interval.low is None:
        return PairedDifference(interval, None)
    known = difference[np.isfinite(difference)]
    beyond = min(np.count_nonzero(known <= 0), np.count_nonzero(known >= 0))
    return PairedDifference(interval, min(1.0, 2 * (beyond + 1) / (len(known) + 1)))
