"""Power of paired t-tests: against published tables, another formula, and a simulation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import integrate, stats

from tests.support.study_folders import study_of
from toolkit.analysis.aggregate import Analysis
from toolkit.analysis.conditions import group_runs
from toolkit.analysis.paired_tests import ALPHA, compute_t_test_p
from toolkit.analysis.power import (
    compute_power,
    count_needed_seeds,
    estimate_spread,
    find_smallest_difference,
)
from toolkit.analysis.results import load


@pytest.mark.parametrize(('effect', 'needed'), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_needed_pairs_are_those_of_g_power(effect, needed):
    """Faul et al., "G*Power 3", Behavior Research Methods 39, 2007: matched pairs, two tails."""
    assert count_needed_seeds(effect, 1.0) == needed
    assert count_needed_seeds(-effect * 0.01, 0.01) == needed


@pytest.mark.parametrize(('seeds', 'tests', 'folds'), [(3, 1, 1), (5, 4, 1), (2, 3, 5), (40, 9, 1)])
def test_power_is_the_integral_over_the_estimated_spread(seeds, tests, folds):
    """The same number without the noncentral t: a normal mean, and a chi-squared variance."""
    n = seeds * folds
    error = math.sqrt(1 / n + (1 / (folds - 1) if folds > 1 else 0))
    critical = stats.t.ppf(1 - ALPHA / tests / 2, n - 1)
    difference = 1.7 * error

    def weigh(s):  # s: estimated by true standard deviation
        reach = critical * s * error
        found = stats.norm.sf(reach, difference, error) + stats.norm.cdf(-reach, difference, error)
        return found * stats.chi.pdf(s * math.sqrt(n - 1), n - 1) * math.sqrt(n - 1)

    expected = integrate.quad(weigh, 0, 10, limit=200)[0]
    assert compute_power(difference, 1.0, seeds, tests, folds) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(('seeds', 'tests'), [(2, 1), (3, 1), (5, 6), (10, 12)])
def test_the_power_is_kept_in_a_simulation(seeds, tests):
    sd = 0.013
    difference = find_smallest_difference(sd, seeds, tests)
    rng = np.random.default_rng(seeds)
    differences = rng.normal(difference, sd, (20_000, seeds))
    found = np.mean(compute_t_test_p(differences) < ALPHA / tests)
    assert found == pytest.approx(0.8, abs=0.03)
    assert count_needed_seeds(difference * 1.0001, sd, tests) == seeds


def test_one_pair_shows_nothing():
    assert find_smallest_difference(1.0, 1) is None
    assert compute_power(100.0, 1.0, 1) == 0.0
    assert compute_power(1e9, 1.0, 5) == pytest.approx(1.0)
    assert count_needed_seeds(1e-9, 1.0) is None


def test_the_spread_is_that_of_pairs_or_of_a_pilot(tmp_path):
    def spread(name, scores):
        results = load(study_of(tmp_path / name, scores))
        return estimate_spread(Analysis(results, group_runs(results)), 'score')

    full = [0.70, 0.72, 0.69, 0.71]
    other = [0.80, 0.83, 0.78, None]
    found = spread('pairs', {'full': full, 'other': other})
    assert found.sd == pytest.approx(np.std([0.10, 0.11, 0.09], ddof=1))
    assert (found.freedom, found.is_of_pairs) == (2, True)
    assert found.highest > found.sd
    pilot = spread('pilot', {'full': full, 'other': [None] * 4})
    assert pilot.sd == pytest.approx(np.std(full, ddof=1) * math.sqrt(2))
    assert (pilot.freedom, pilot.is_of_pairs) == (3, False)
    # Differences that are equal but for rounding tell no spread.
    equal = spread('equal', {'full': full, 'other': [value + 0.1 for value in full]})
    assert (equal.sd, equal.is_of_pairs) == (pytest.approx(pilot.sd, rel=0.2), False)
    assert spread('constant', {'full': [0.1] * 3, 'other': [0.8] * 3}) is None
    assert spread('nothing', {'full': [0.7], 'other': [0.8]}) is None


def test_pairs_of_runs_with_different_code_tell_no_spread(tmp_path):
    folder = study_of(tmp_path, {'full': [0.70, 0.72, 0.69, 0.71], 'other': [0.8, 0.9, 0.6, 0.95]})
    plan = json.loads((folder / 'plan.json').read_text())
    for run in plan['runs']:
        if run['variant'] == 'other' and run['seed'] > 1:
            run['other_code'] = True
    (folder / 'plan.json').write_text(json.dumps(plan))
    results = load(folder)
    found = estimate_spread(Analysis(results, group_runs(results)), 'score')
    assert found.sd == pytest.approx(np.std([0.10, 0.18], ddof=1))
