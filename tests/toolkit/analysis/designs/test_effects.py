"""Effects of a factorial study: against a fit by ordinary least squares."""

from __future__ import annotations

import itertools
import json
import math
import re

import numpy as np
import pytest
from scipy import stats

from tests.support.study_folders import FINGERPRINT, finish, planned, write_plan
from toolkit.analysis.aggregate import analyze_study
from toolkit.analysis.designs.aliases import describe_aliases, multiply_levels
from toolkit.analysis.designs.effect_power import EffectPower
from toolkit.analysis.designs.effects import (
    find_effects,
    fit_effects,
    fit_fraction,
    fit_shapley,
)
from toolkit.analysis.paired_tests import ALPHA
from toolkit.analysis.results import TableOptions, load
from toolkit.analysis.table_files import study_table
from toolkit.study.design_points import (
    find_fraction,
    list_coalitions,
    list_combinations,
    sample_orders,
)

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


def test_effects_are_those_of_statsmodels():
    """statsmodels 0.15.0, `ols('y ~ C(block) + a * b')` with switches as -1/2 and 1/2."""
    values = np.array(
        [[0.70, 0.72, 0.71, 0.78], [0.69, 0.73, 0.70, 0.80], [0.74, 0.745, 0.73, 0.79]]
    )
    known = {
        ('a',): (0.030833333333, 0.012406127238, 0.049260539429, 0.006398264887),
        ('b',): (0.049166666667, 0.030739460571, 0.067593872762, 0.000616505887),
        ('a', 'b'): (0.055, 0.018145587809, 0.091854412191, 0.010685020159),
    }
    found = fit_effects(values.reshape(3, 2, 2), ('a', 'b'))
    assert {e.switches: (e.estimate, e.low, e.high, e.p) for e in found} == {
        switches: pytest.approx(row, abs=1e-11) for switches, row in known.items()
    }


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


def fit_model(values, columns):
    """Least squares of values (blocks, points) on blocks and columns of levels; with errors."""
    blocks, count = values.shape
    design = np.hstack(
        [np.repeat(np.eye(blocks), count, 0), np.tile(np.array(columns).T, (blocks, 1))]
    )
    target = values.reshape(-1)
    coefficients = np.linalg.solve(design.T @ design, design.T @ target)
    freedom = len(target) - design.shape[1]
    variance = ((target - design @ coefficients) ** 2).sum() / freedom
    errors = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * variance)
    return coefficients[blocks:], errors[blocks:], freedom


@pytest.mark.parametrize(('switches', 'resolution'), [(4, 4), (5, 5), (5, 3), (6, 4), (7, 3)])
def test_effects_of_a_fraction_are_those_of_least_squares(switches, resolution):
    least, points = find_fraction(switches, resolution)
    names = [f's{n}' for n in range(switches)]
    values = np.random.default_rng(switches).normal(size=(3, len(points)))
    found = fit_fraction(values, points, names)
    levels = np.where(np.array(points), 0.5, -0.5)
    terms = [[names.index(name) for name in effect.switches] for effect in found]
    coefficients, errors, freedom = fit_model(values, [levels[:, t].prod(1) for t in terms])
    reach = stats.t.ppf(0.975, freedom) * errors
    assert len(found) == len(points) - 1
    assert [e.estimate for e in found] == pytest.approx(coefficients)
    assert [e.low for e in found] == pytest.approx(coefficients - reach)


def test_aliases_are_the_sums_that_a_fraction_estimates():
    """Values made of single effects come back as the sums that the texts name."""
    _, points = find_fraction(4, 4)
    assert describe_aliases(points, 'abcd') == [
        'a × b stands for a × b + c × d',
        'a × c stands for a × c + b × d',
        'a × d stands for a × d + b × c',
    ]
    _, points = find_fraction(3, 3)
    assert describe_aliases(points, 'abc')[0] == 'a stands for a − ½ b × c'
    on = np.array(points, dtype=float)
    values = (3 * on[:, 0] + 2 * (on[:, 1] - 0.5) * (on[:, 2] - 0.5))[None].repeat(2, 0)
    found = {e.switches: e for e in fit_fraction(values, points, 'abc')}
    assert found[('a',)].estimate == pytest.approx(3 - 0.5 * 2)
    assert found[('a',)].aliases == ('− ½ b × c',)
    _, points = find_fraction(6, 5)
    assert describe_aliases(points, 'abcdef') == []


def test_shapley_values_share_the_whole_gain():
    """The worked example of a majority of weighted votes, and the properties of the value."""
    points = list_combinations(3)
    votes = np.array([float(2 * a + b + c >= 3) for a, b, c in points])
    values = np.stack([votes, votes])
    exact = fit_shapley(values, points, 'abc')
    assert [e.estimate for e in exact] == pytest.approx([2 / 3, 1 / 6, 1 / 6])
    every = list(itertools.permutations(range(3)))
    assert [e.estimate for e in fit_shapley(values, points, 'abc', every)] == pytest.approx(
        [2 / 3, 1 / 6, 1 / 6]
    )
    orders = sample_orders(6, 8)
    visited = list_coalitions(orders)
    noisy = np.random.default_rng(1).normal(size=(4, len(visited)))
    found = fit_shapley(noisy, visited, 'abcdef', orders)
    means = noisy.mean(0)
    gain = means[visited.index((True,) * 6)] - means[visited.index((False,) * 6)]
    assert sum(e.estimate for e in found) == pytest.approx(gain)


def test_intervals_of_designs_hold_the_truth():
    """Seeds and sampled orders vary; about 95 % of the intervals hold the true value."""
    generator = np.random.default_rng(7)
    _, fraction = find_fraction(5, 5)
    covered = {'fractional': 0, 'exact': 0, 'sampled': 0}
    single = generator.normal(size=5)
    pairs = np.triu(generator.normal(size=(5, 5)), 1)
    # The value of a switch: its own effect and half of its interactions.
    truth = single + (pairs + pairs.T).sum(0) / 2

    def draw(points):
        on = np.array(points, dtype=float)
        mean = on @ single + ((on @ pairs) * on).sum(1)
        return mean + generator.normal(size=(3, 1)) + generator.normal(0, 0.5, (3, len(on)))

    everything, trials = list_combinations(5), 150
    for seed in range(trials):
        first = fit_fraction(draw(fraction), fraction, 'abcde')[0]
        main = single[0] + (pairs + pairs.T)[0].sum() / 2
        covered['fractional'] += first.low <= main <= first.high
        first = fit_shapley(draw(everything), everything, 'abcde')[0]
        covered['exact'] += first.low <= truth[0] <= first.high
        orders = sample_orders(5, 6, seed)
        points = list_coalitions(orders)
        first = fit_shapley(draw(points), points, 'abcde', orders)[0]
        covered['sampled'] += first.low <= truth[0] <= first.high
    assert all(count / trials >= 0.9 for count in covered.values()), covered


def test_an_order_and_its_reverse_do_not_count_as_two_where_they_tell_the_same():
    """Each switch makes a difference by its place alone, first and last the same."""
    differences = [9.0, 4.0, 1.0, 0.0, 1.0, 4.0, 9.0]
    totals = np.concatenate([[0.0], np.cumsum(differences)])
    generator, held, trials = np.random.default_rng(3), 0, 150
    for seed in range(trials):
        orders = sample_orders(7, 12, seed)
        points = list_coalitions(orders)
        means = totals[[sum(point) for point in points]]
        values = means + generator.normal(0, 1e-6, (3, len(points)))
        first = fit_shapley(values, points, 'abcdefg', orders)[0]
        held += first.low <= sum(differences) / 7 <= first.high
    assert held / trials >= 0.92


def test_variants_without_seeds_lend_the_others_no_precision(tmp_path):
    """A switch that takes the training away: half of the variants do not vary with the seed."""
    on = {'none': 0.70, 'a': 0.74, 'off': 0.60, 'a+off': 0.61}
    seeds = [0.00, 0.03, -0.02, 0.01]  # in common to what is trained
    runs = []
    for variant in on:
        fixed = 'off' in variant
        made = {**FINGERPRINT, 'train': None} if fixed else FINGERPRINT
        runs += [planned(variant, s, fingerprint=made) for s in range(1 if fixed else 4)]
    write_plan(tmp_path, runs, compare_to='none', options={'switches': ['a', 'off']})
    own = {'none': [0.001, -0.002, 0.0, 0.001], 'a': [0.0, 0.001, -0.001, 0.002]}
    values = {}
    for run in runs:
        variant, seed = run['variant'], run['seed']
        values[variant, seed] = on[variant]
        if variant in own:
            values[variant, seed] += seeds[seed] + own[variant][seed]
        made = run['fingerprint']
        finish(tmp_path / run['folder'], {'score': values[variant, seed]}, fingerprint=made)
    (found,) = find_effects(analyze_study(load(tmp_path)))
    for effect, weights in zip(found.effects, ((-1, 1, -1, 1), (-1, -1, 1, 1), (1, -1, -1, 1))):
        # The same as a test of the effect's own values, one per seed.
        each = [
            sum(w * values[v, 0 if 'off' in v else s] for w, v in zip(weights, on, strict=True))
            / (3 - len(effect.switches))
            for s in range(4)
        ]
        known = stats.ttest_1samp(each, 0)
        assert effect.estimate == pytest.approx(np.mean(each))
        assert effect.p == pytest.approx(known.pvalue)
        assert effect.low == pytest.approx(known.confidence_interval().low)
    # Pooled with what does not vary, the effect of `off` would be too sure.
    off = found.effects[1]
    assert (off.high - off.low) / 2 > 0.01
    assert 'Some variants train nothing' in study_table(load(tmp_path), 'text')


def test_one_seed_is_said_to_have_no_spread(tmp_path):
    variants = ('none', 'b', 'a', 'a+b')
    write_plan(
        tmp_path,
        [planned(v) for v in variants],
        compare_to='none',
        options={'switches': ['a', 'b']},
    )
    for number, variant in enumerate(variants):
        finish(tmp_path / f'runs/{variant}-s0', {'score': 0.1 * number})
    text = study_table(load(tmp_path), 'text')
    assert 'one block has no spread' in text
    assert 'runs do not vary' not in text


def test_sampled_orders_of_runs_that_do_not_vary_have_the_spread_of_the_orders(tmp_path):
    orders = [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)]
    points = list_coalitions(orders)
    values = np.array([[float(p[0] * (1 + p[1] * p[2]) + p[2]) for p in points]] * 2)
    first, second, third = fit_shapley(values, points, 'abc', orders)
    assert first.low < first.estimate < first.high
    assert second.low < second.estimate < second.high
    assert (third.low, third.p) == (None, None)  # the same in each pair of orders
    alone = fit_shapley(values[:1], points, 'abc', orders)
    assert {effect.low for effect in alone} == {None}
    assert {effect.low for effect in fit_shapley(values, points, 'abc', orders[:2])} == {None}
    # The reason is the order, and not the runs, which vary.
    names = ['+'.join(n for n, on in zip('abc', p, strict=True) if on) or 'none' for p in points]
    options = {'switches': [*'abc'], 'design': 'shapley', 'orders': orders[:2]}
    runs = [planned(name, seed) for name in names for seed in (0, 1)]
    write_plan(tmp_path, runs, compare_to='none', options=options)
    for run in runs:
        finish(tmp_path / run['folder'], {'score': 0.1 * len(run['variant']) ** (1 + run['seed'])})
    text = study_table(load(tmp_path), 'text')
    assert 'one order has no spread' in text
    assert 'runs do not vary' not in text


@pytest.mark.parametrize(('design', 'square'), [('factorial', 1 / 2), ('shapley', 5 / 9)])
def test_the_smallest_effect_has_a_power_of_80_percent(design, square):
    points = list_combinations(3)
    power = EffectPower(points, TableOptions(switches=NAMES, design=design), 5, 1, 1)
    kind = next(iter(power.kinds))
    # Squares of the weights of eight means: 8 (1/4)^2, and 4 (1/3)^2 + 4 (1/6)^2 of coalitions.
    assert power.kinds[kind] == pytest.approx(square)
    shift = power.find_smallest(kind, math.sqrt(2)) / math.sqrt(power.kinds[kind] / 5)
    limit = stats.t.ppf(1 - ALPHA / power.tests / 2, 4 * 7)
    assert stats.nct.sf(limit, 4 * 7, shift) == pytest.approx(0.8, abs=1e-3)
    assert EffectPower(points, power.options, 1, 1, 1).find_smallest(kind, 1.0) is None


# The order of the term whose effect is looked for.
@pytest.mark.slow
@pytest.mark.parametrize(
    ('design', 'kind', 'order', 'tests'),
    [
        ('factorial', 'main effect', 1, 14),
        ('factorial', 'interaction of 2', 2, 14),
        ('shapley', 'Shapley value', 1, 6),
    ],
)
def test_the_smallest_effect_is_found_in_four_of_five_studies(design, kind, order, tests):
    options = TableOptions(switches=NAMES, design=design)
    points, term = list_combinations(3), tuple(range(order))
    power = EffectPower(points, options, blocks=3, folds=1, groups=2)
    assert power.tests == tests
    size = power.find_smallest(kind, math.sqrt(2))  # runs of one variant vary by 1
    values = np.random.default_rng(3).normal(size=(1500, 3, 8))
    values += size * multiply_levels(points, term) / 2**order
    fit = fit_shapley if design == 'shapley' else fit_fraction
    place = 0 if order == 1 else len(NAMES)
    found = [fit(study, points, NAMES)[place].p for study in values]
    assert abs(np.mean(np.array(found) < ALPHA / tests) - 0.8) < 0.03
