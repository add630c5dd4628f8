"""Effects of a factorial study: against a fit by ordinary least squares."""

from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pytest
from scipy import stats

from tests.support.study_folders import finish, planned, write_plan
from toolkit.analysis.effects import fit_effects
from toolkit.analysis.results import load
from toolkit.analysis.table_files import study_table

NAMES = ('a', 'b', 'c')


def fit_least_squares(values):
    """Coefficients, standard errors and degrees of freedom, by a design matrix with blocks."""
    blocks, count = len(values), values.ndim - 1
    columns, terms = [], []
    for order in range(1, count + 1):
        terms += itertools.combinations(range(count), order)
    rows = []
    for block in range(blocks):
        for point in itertools.product((-0.5, 0.5), repeat=count):
            dummies = [float(block == other) for other in range(blocks)]
            rows.append([*dummies, *(np.prod([point[i] for i in term]) for term in terms)])
    design, target = np.array(rows), values.reshape(-1)
    columns, squares, rank, _ = np.linalg.lstsq(design, target, rcond=None)
    freedom = len(target) - rank
    error = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * squares[0] / freedom)
    return columns[blocks:], error[blocks:], freedom


@pytest.mark.parametrize(('switches', 'blocks'), [(2, 2), (2, 5), (3, 3)])
def test_effects_are_those_of_least_squares(switches, blocks):
    rng = np.random.default_rng(switches * 10 + blocks)
    values = (
        rng.normal(size=(blocks, *(2,) * switches))
        + rng.normal(size=(blocks, 1, 1, 1))[
            (slice(None), *(slice(None),) * switches) if switches == 3 else (slice(None), 0)
        ]
    )
    coefficients, errors, freedom = fit_least_squares(values)
    found = fit_effects(values, NAMES[:switches])
    reach = stats.t.ppf(0.975, freedom) * errors
    assert [e.estimate for e in found] == pytest.approx(coefficients)
    assert [e.low for e in found] == pytest.approx(coefficients - reach)
    assert [e.high for e in found] == pytest.approx(coefficients + reach)
    p = 2 * stats.t.sf(np.abs(coefficients / errors), freedom)
    assert [e.p for e in found] == pytest.approx(p)


def test_two_parts_that_are_worth_more_together():
    """a brings 1, b brings 2, and both 3 more."""
    values = np.array([[[0.0, 2.0], [1.0, 6.0]]])
    (a, b, both) = fit_effects(np.repeat(values, 2, 0), ('a', 'b'))
    assert (a.estimate, b.estimate, both.estimate) == (2.5, 3.5, 3.0)
    assert (a.p, a.low) == (None, None)  # nothing varies


def test_a_study_shows_the_effects_of_its_switches(tmp_path):
    variants = {'none': 0.70, 'a': 0.71, 'b': 0.72, 'a+b': 0.76}
    runs = [planned(v, s) for v in variants for s in range(4)]
    write_plan(tmp_path, runs, compare_to='none', options={'switches': ['a', 'b']})
    noise = np.random.default_rng(0).normal(0, 0.002, (4, 4))
    for i, (variant, value) in enumerate(variants.items()):
        for seed in range(4 if variant != 'a' else 3):
            run = tmp_path / 'runs' / f'{variant}-s{seed}'
            finish(run, {'score': value + noise[i, seed] + seed / 10})
    results = load(tmp_path)
    effects = json.loads(study_table(results, 'json'))['effects']
    assert [e['switches'] for e in effects] == [['a'], ['b'], ['a', 'b']]
    assert {e['blocks'] for e in effects} == {3}  # those with every variant
    assert [e['estimate'] for e in effects] == pytest.approx([0.025, 0.035, 0.03], abs=0.005)
    assert all(e['p_holm'] < 0.05 for e in effects)
    text = study_table(results)
    assert 'tiny: effects of the switches' in text
    assert re.search(r'a × b +score +3 +\+0\.0\d+ +\[\+0', text)


def test_folds_that_have_not_finished_share_training_data_too(tmp_path):
    variants = ('none', 'b', 'a', 'a+b')
    runs = [
        planned(v, s, id=f'{v}-{s}-{fold}', fold=fold)
        for v in variants
        for s in range(3)
        for fold in range(3)
    ]
    write_plan(tmp_path, runs, compare_to='none', options={'switches': ['a', 'b']})
    values = np.random.default_rng(0).normal(size=(3, 2, 2))
    for i, variant in enumerate(variants):
        for seed in range(3):
            finish(tmp_path / f'runs/{variant}-{seed}-0', {'score': values[seed].flat[i]})
    effects = json.loads(study_table(load(tmp_path), 'json'))['effects']
    expected = fit_effects(values, ('a', 'b'), folds=3)
    assert [e['low'] for e in effects] == pytest.approx([e.low for e in expected])
    assert expected[0].low < fit_effects(values, ('a', 'b'))[0].low
