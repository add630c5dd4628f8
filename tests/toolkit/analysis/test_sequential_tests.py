"""Sequential tests: level, coverage and power under stopping, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from toolkit.analysis.paired_tests import ALPHA
from toolkit.analysis.sequential_tests import (
    anytime_t,
    compute_log_bayes_factor,
    compute_reach,
    find_sequential_difference,
    simulate_study,
)

EVERY = range(2, 31)


@pytest.mark.parametrize('effect', [0.5, 2.0])
@pytest.mark.parametrize(('n', 't'), [(2, 1.0), (5, 3.0), (30, -4.0)])
def test_the_bayes_factor_is_the_ratio_of_densities_of_t(n, t, effect):
    """Noncentral t of the effect size, averaged over N(0, effect²), by that of no effect."""

    def weigh(size):
        return stats.nct.pdf(t, n - 1, size * math.sqrt(n)) * stats.norm.pdf(size, 0, effect)

    mixed = integrate.quad(weigh, -6 * effect, 6 * effect, limit=200)[0]
    expected = math.log(mixed / stats.t.pdf(t, n - 1))
    assert compute_log_bayes_factor(t, n, effect) == pytest.approx(expected, abs=1e-4)


def test_the_interval_holds_what_the_test_does_not_reject():
    for n in (4, 6, 20, 100):
        bound = compute_reach(n)
        factor = math.exp(compute_log_bayes_factor(bound, n))
        assert factor == pytest.approx(1 / ALPHA)
        assert bound > stats.t.ppf(0.975, n - 1)
    assert math.isinf(compute_reach(2))


def test_one_test_of_few_and_of_constant_pairs():
    few = anytime_t([0.1, 0.2])
    assert (few.low, few.p < 1) == (None, True)
    assert anytime_t([0.1, 0.1]).why == 'the same difference in every pair'
    values = np.random.default_rng(0).normal(1, 0.1, 8)
    found = anytime_t(values)
    assert found.low < values.mean() < found.high
    assert found.p < 0.001
    assert anytime_t([]).n == 0


@pytest.mark.parametrize(
    'rule', [{'decided': True}, {'reach': 0.6}, {'reach': 1.0, 'decided': True}]
)
def test_false_alarms_and_misses_stay_below_five_percent(rule):
    alarms, covered, seeds = simulate_study(0, 1, EVERY, **rule, simulations=8000)
    assert alarms <= 0.05
    assert covered >= 0.95
    assert 2 <= seeds <= 30
    _, covered, _ = simulate_study(0.7, 1, EVERY, **rule, simulations=8000)
    assert covered >= 0.95


def test_the_ordinary_test_would_fail_the_same_simulation():
    draws = np.random.default_rng(0).normal(0, 1, (4000, 30))
    alarms = np.zeros(4000, dtype=bool)
    for n in EVERY:
        alarms |= stats.ttest_1samp(draws[:, :n], 0, axis=1).pvalue < 0.05
    assert alarms.mean() > 0.2


def test_power_is_as_promised():
    """The promise and a fresh simulation of whole studies through the public test agree."""
    looks, tests = range(3, 13, 3), 2
    difference = find_sequential_difference(0.1, looks, 0.05, True, tests)
    generator = np.random.default_rng(99)
    found = 0
    for draws in generator.normal(difference, 0.1, (1500, 12)):
        for n in looks:
            result = anytime_t(draws[:n])
            significant = result.p < ALPHA / tests
            narrow = result.low is not None and (result.high - result.low) / 2 <= 0.05
            if significant or narrow or n == 12:
                found += significant
                break
    assert found / 1500 == pytest.approx(0.8, abs=0.03)
