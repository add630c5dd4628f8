"""Tests of paired differences that stay valid when seeds are added until the result is clear.

An ordinary interval is right for a number of runs that was fixed beforehand. Who looks after each
run and stops when it pleases sees false alarms far above 5 %. The test here is a Bayes factor of
the effect sizes N(0, effect²) against 0, with the scale of the differences integrated out. Under no
difference it is a nonnegative martingale that starts at 1, so its inverse is a p-value, and the
means that it does not reject are an interval, after any number of looks and any rule of stopping
(Ville's inequality).

Source: Lai, "On confidence sequences", Annals of Statistics 4, 1976; Wang and Ramdas,
"Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance", arXiv
2310.03722 (Gaussian mixture). It holds for normal differences.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from toolkit.analysis.paired_tests import ALPHA, PairedTest, hedges_g, prepare_differences

# Standard deviation of the effect sizes that the test is best at finding. Seeds are dear and few,
# and with few of them only large effects can be found.
EFFECT = 2.0
_SIMULATIONS = 20_000


def anytime_t(differences: ArrayLike, effect: float = EFFECT) -> PairedTest:
    """Tests the mean difference between pairs of runs, however their number came about.

    Args:
        differences: (n,) one per pair of runs.
        effect: standard deviation of the effect sizes that the test is best at finding; fixed
            before the first run.
    """
    d, undecided = prepare_differences(differences, 'pair')
    if undecided is not None:
        return undecided
    n, mean = len(d), float(d.mean())
    error = float(d.std(ddof=1)) / math.sqrt(n)
    p = min(1.0, math.exp(-float(compute_log_bayes_factor(mean / error, n, effect))))
    reach = compute_reach(n, effect) * error
    if math.isinf(reach):
        return PairedTest(n, mean, None, None, p, hedges_g(d), 'too few pairs for an interval')
    return PairedTest(n, mean, mean - reach, mean + reach, p, hedges_g(d))


def compute_log_bayes_factor(t: ArrayLike, n: int, effect: float = EFFECT) -> np.ndarray:
    """Computes the logarithm of the Bayes factor against no difference from a t statistic.

    Args:
        t: mean by its standard error, of any shape.
        n: number of pairs, at least 2.
        effect: see `anytime_t`.
    """
    spread = 1 + n * effect**2
    squares = np.asarray(t, dtype=float) ** 2 / (n - 1)
    return n / 2 * (np.log1p(squares) - np.log1p(squares / spread)) - math.log(spread) / 2


def compute_reach(n: int, effect: float = EFFECT, level: float = ALPHA) -> float:
    """Computes the half width of the interval in standard errors; infinite for very few pairs."""
    spread = 1 + n * effect**2
    if n < 2 or (growth := 2 / n * (math.log(spread) / 2 - math.log(level))) >= math.log(spread):
        return math.inf
    ratio = math.exp(growth)
    return math.sqrt((n - 1) * (ratio - 1) / (1 - ratio / spread))


def simulate_study(
    difference: float,
    sd: float,
    looks: ArrayLike,
    reach: float | None = None,
    decided: bool = False,
    tests: int = 1,
    effect: float = EFFECT,
    simulations: int = _SIMULATIONS,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Simulates a sequential comparison with the rule of stopping of a study.

    Args:
        difference: true mean of the differences.
        sd: their standard deviation.
        looks: numbers of seeds at which the study looks, rising.
        reach: half width of the interval at which it stops.
        decided: stop when the difference is significant.
        tests: number of tests that a correction counts.
        effect: see `anytime_t`.
        simulations: number of simulated comparisons.
        seed: of their random numbers.
    Returns:
        The shares that end significant and that end with an interval around the true mean, and
        the mean number of seeds.
    """
    looks = [int(look) for look in np.asarray(looks)]
    draws = np.random.default_rng(seed).normal(difference, sd, (simulations, looks[-1]))
    means = np.cumsum(draws, 1) / np.arange(1, looks[-1] + 1)
    squares = np.cumsum(draws**2, 1)
    open_ = np.ones(simulations, dtype=bool)
    significant, covered = np.zeros_like(open_), np.zeros_like(open_)
    seeds = np.zeros(simulations)
    for n in looks:
        mean = means[:, n - 1]
        variance = np.maximum(squares[:, n - 1] - n * mean**2, 0) / (n - 1)
        error = np.sqrt(variance / n)
        found = compute_log_bayes_factor(mean / error, n, effect) > math.log(tests / ALPHA)
        half = compute_reach(n, effect) * error
        ends = open_ & ((decided & found) | (False if reach is None else half <= reach))
        ends = open_ if n == looks[-1] else ends
        significant |= ends & found
        covered |= ends & (np.abs(mean - difference) <= half)
        seeds[ends] = n
        open_ &= ~ends
    return float(significant.mean()), float(covered.mean()), float(seeds.mean())


def find_sequential_difference(
    sd: float,
    looks: ArrayLike,
    reach: float | None,
    decided: bool,
    tests: int = 1,
    effect: float = EFFECT,
    power: float = 0.8,
) -> float | None:
    """Finds the smallest difference that a sequential study finds with a power; None for none.

    The power is that of simulations with the same random numbers for each difference.
    """

    def compute_gap(difference: float) -> float:
        found = simulate_study(difference, sd, looks, reach, decided, tests, effect)
        return found[0] - power

    high = sd / 8
    while compute_gap(high) < 0:
        high *= 2
        if high > 1e6 * sd:
            return None  # so few pairs are never significant
    return float(optimize.brentq(compute_gap, 0, high, xtol=1e-3 * sd))
