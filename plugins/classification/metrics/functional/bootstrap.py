"""Resampling by patient: all samples of a drawn patient come together.

Samples of a patient resemble each other; drawing them one by one would make intervals too narrow.
scipy's `bootstrap` draws single samples, one statistic at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
_HELD = 4_000_000  # weights held at once
# With fewer resamples that have a value, the rest says too little of the whole.
DEFINED = 0.5

Scores = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Interval:
    """A percentile interval at 95 %.

    Attributes:
        low: None where more than half of the resamples have no value.
        high: likewise.
        undefined: share of the resamples that have none.
    """

    low: float | None
    high: float | None
    undefined: float = 0.0


@dataclass(frozen=True)
class PairedDifference:
    """A score minus another of the same patients.

    Attributes:
        interval: of the difference.
        p: two-sided, that there is none: twice the smaller share of the resamples on one side of 0
            (Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 15.4); None
            where there is no interval.
    """

    interval: Interval
    p: float | None


def draws(
    patients: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = 0,
    strata: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """How often each sample counts in each resample, in parts of bounded size.

    Args:
        patients: (N,) whose each sample is.
        resamples: how many.
        seed: of the drawing.
        strata: (N,) from 0 on; patients are drawn within their stratum, which is the highest of
            their samples', as many as it has. None for one.
    Yields:
        (resamples of the part, N) float64.
    """
    _, whose = np.unique(patients, return_inverse=True)
    count = int(whose.max()) + 1 if len(whose) else 0
    stratum = np.zeros(count, dtype=int)
    if strata is not None:
        np.maximum.at(stratum, whose, strata)
    groups = [np.flatnonzero(stratum == s) for s in np.unique(stratum)]
    generator = np.random.default_rng(seed)
    step = max(1, _HELD // max(1, len(patients)))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        times = np.zeros((rows, count))
        for group in groups:
            drawn = generator.integers(0, len(group), (rows, len(group)))
            drawn += len(group) * np.arange(rows)[:, None]
            found = np.bincount(drawn.ravel(), minlength=rows * len(group))
            times[:, group] = found.reshape(rows, -1)
        yield times[:, whose]


def resampled(
    score: Callable[[np.ndarray], Scores], parts: Iterator[np.ndarray]
) -> dict[str, np.ndarray]:
    """Scores of every resample by name, (resamples,).

    Args:
        score: weights (R, N) -> scores (R,) by name.
        parts: of `draws`.
    """
    found: dict[str, list[np.ndarray]] = {}
    for weights in parts:
        for name, values in score(weights).items():
            found.setdefault(name, []).append(np.asarray(values))
    return {name: np.concatenate(values) for name, values in found.items()}


def interval(values: np.ndarray) -> Interval:
    """The percentile interval of resampled values (resamples,), NaN where there is none."""
    known = values[np.isfinite(values)]
    undefined = 1 - len(known) / len(values) if len(values) else 1.0
    if undefined > DEFINED or not len(known):
        return Interval(None, None, undefined)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), undefined)


def paired(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> PairedDifference:
    """The difference of two sides, each the mean over its runs, in the same resamples.

    Args:
        a: of each run (resamples,).
        b: likewise.
    """
    difference = np.mean(a, axis=0) - np.mean(b, axis=0)
    found = interval(difference)
    if found.low is None:
        return PairedDifference(found, None)
    known = difference[np.isfinite(difference)]
    beyond = min(np.count_nonzero(known <= 0), np.count_nonzero(known >= 0))
    return PairedDifference(found, min(1.0, 2 * (beyond + 1) / (len(known) + 1)))
