"""Power of the paired t-test: differences that so many runs can show, and runs that one needs.

Two-sided tests at level `ALPHA` divided by the number of tests: the level of the first step of
Holm's correction, so that the true power is at least the one named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import optimize, stats

from toolkit.analysis.aggregate import Analysis
from toolkit.analysis.conditions import list_pairs
from toolkit.analysis.paired_tests import ALPHA, compute_variance_factor, is_constant

POWER = 0.8
MOST_SEEDS = 10_000
# Level of the upper bound of a standard deviation that few runs tell.
_BOUND = 0.95


def compute_power(
    difference: float, sd: float, seeds: int, tests: int = 1, folds: int = 1
) -> float:
    """Computes the probability that a paired t-test finds a difference.

    Args:
        difference: true mean of the differences.
        sd: true standard deviation of the differences.
        seeds: number of seeds; each is a pair of runs, or one per fold.
        tests: number of tests that the correction counts.
        folds: number of folds of the data.
    Source: Cohen, "Statistical power analysis for the behavioral sciences", 1988; the noncentral t
        distribution, exactly.
    """
    n = seeds * folds
    if n < 2:
        return 0.0
    shift = abs(difference) / (sd * math.sqrt(compute_variance_factor(n, folds)))
    return compute_t_power(shift, n - 1, tests)


def compute_t_power(shift: float, freedom: int, tests: int = 1) -> float:
    """Computes the probability that a t-test finds a value.

    Args:
        shift: true value, divided by the true standard deviation of its estimate.
        freedom: degrees of freedom of the standard deviation.
        tests: number of tests that the correction counts.
    """
    critical = stats.t.ppf(1 - ALPHA / tests / 2, freedom)
    below = stats.nct.cdf(-critical, freedom, shift)
    # scipy gives NaN where the shift is beyond its reach: the test finds such a value.
    power = stats.nct.sf(critical, freedom, shift) + (0.0 if math.isnan(below) else below)
    return 1.0 if math.isnan(power) else float(power)


def find_smallest_shift(freedom: int, tests: int = 1) -> float:
    """Finds the smallest shift that is found with a power of 80 %; see `compute_t_power`."""
    high = 1.0
    while compute_t_power(high, freedom, tests) < POWER:
        high *= 2
    return float(optimize.brentq(lambda d: compute_t_power(d, freedom, tests) - POWER, 0, high))


def find_smallest_difference(sd: float, seeds: int, tests: int = 1, folds: int = 1) -> float | None:
    """Finds the smallest difference that is found with a power of 80 %; None for a single pair."""
    if seeds * folds < 2:
        return None
    error = sd * math.sqrt(compute_variance_factor(seeds * folds, folds))
    return error * find_smallest_shift(seeds * folds - 1, tests)


def count_needed_seeds(difference: float, sd: float, tests: int = 1, folds: int = 1) -> int | None:
    """Counts the seeds that find a difference with a power of 80 %; None where 10,000 do not."""
    low, high = 1 if folds > 1 else 2, MOST_SEEDS
    if compute_power(difference, sd, high, tests, folds) < POWER:
        return None
    while low < high:  # power grows with the number of seeds
        middle = (low + high) // 2
        if compute_power(difference, sd, middle, tests, folds) >= POWER:
            high = middle
        else:
            low = middle + 1
    return low


@dataclass(frozen=True)
class Spread:
    """Standard deviation of paired differences of a metric, as earlier runs tell it.

    Attributes:
        sd: the standard deviation.
        freedom: degrees of freedom that it is estimated with.
        is_of_pairs: True if it is of pairs of runs; otherwise it is that of the runs of single
            conditions times the square root of 2, which runs of equal seed may undercut.
    """

    sd: float
    freedom: int
    is_of_pairs: bool

    @property
    def highest(self) -> float:
        """Upper bound of the true standard deviation, at 95 % confidence."""
        return self.sd * math.sqrt(self.freedom / stats.chi2.ppf(1 - _BOUND, self.freedom))


def estimate_spread(analysis: Analysis, metric: str) -> Spread | None:
    """Estimates the spread of a metric's differences; None before two runs of a condition are done.

    Pools the pairs with the reference; where there are too few, the runs of single conditions, such
    as a pilot of the reference.
    """
    pairs, singles = [], []
    for condition in analysis.conditions:
        singles.append(list(condition.get_values(metric).values()))
        reference = analysis.find_reference(condition)
        if reference is None:
            continue
        planned = list_pairs([condition, reference])
        ours, theirs = (c.get_values_at(metric, planned) for c in (condition, reference))
        # As in the tests: a difference between runs of other code is one of the code, too.
        same = [
            pair
            for pair in ours
            if pair in theirs and condition.has_other_code(pair) == reference.has_other_code(pair)
        ]
        pairs.append([ours[pair] - theirs[pair] for pair in same])
    for groups, factor, is_of_pairs in ((pairs, 1.0, True), (singles, math.sqrt(2), False)):
        sd, freedom = _pool(groups)
        if sd > 0:
            return Spread(sd * factor, freedom, is_of_pairs)
    return None


def _pool(groups: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Pools the standard deviations of groups; 0 if none has two values."""
    total, freedom = 0.0, 0
    for values in groups:
        if len(values) > 1:
            mean = math.fsum(values) / len(values)
            squares = math.fsum((value - mean) ** 2 for value in values)
            freedom += len(values) - 1
            if not is_constant(mean, math.sqrt(squares / (len(values) - 1))):
                total += squares  # others are rounding
    return (math.sqrt(total / freedom), freedom) if freedom else (0.0, 0)
