"""False alarms and power of whole simulated studies, through the tests that their tables show.

`make simulated-studies` simulates many more, and prints the figures.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from toolkit.analysis.aggregate import analyze_study
from toolkit.analysis.designs.effects import find_effects, join_switches
from toolkit.analysis.paired_tests import ALPHA
from toolkit.analysis.power import find_smallest_difference
from toolkit.analysis.results import StudyResults, TableOptions
from toolkit.analysis.sequential_tests import EFFECT, find_sequential_difference
from toolkit.io.run_records import Fingerprint
from toolkit.io.run_results import RunResult
from toolkit.study.design_points import (
    find_fraction,
    list_coalitions,
    list_combinations,
    sample_orders,
)
from toolkit.study.sequential import explain_stop
from toolkit.study.spec import SequentialSpec

STUDIES = int(os.environ.get('TOOLKIT_SIMULATED_STUDIES', 25))
NOISE = 0.01
METRICS = {'a': True, 'b': False}


def make_study(values: Mapping[str, np.ndarray], options: TableOptions, **settings) -> StudyResults:
    """A study in memory: values (seeds, metrics) of each variant."""
    runs = [
        RunResult(
            id=f'{variant}-s{seed}',
            variant=variant.partition('@')[0],
            settings={'width': variant.partition('@')[2]} if '@' in variant else {},
            data=None,
            seed=seed,
            fold=None,
            folder=Path('/nowhere'),
            fingerprint=Fingerprint('c', 'k', 'd', 't'),
            status='finished',
            seconds=1.0,
            metrics=dict(zip(METRICS, map(float, row))),
        )
        for variant, rows in values.items()
        for seed, row in enumerate(rows)
    ]
    metrics = {name: METRICS[name] for name, _ in zip(METRICS, next(iter(values.values()))[0])}
    first = runs[0].variant
    return StudyResults('simulated', Path('/nowhere'), first, metrics, tuple(runs), options)


def draw(generator, variants, seeds, metrics=2):
    """Values of variants between which nothing differs: seeds in common, and metrics that agree."""
    shared = generator.normal(0, 2 * NOISE, (seeds, metrics))
    drawn = {}
    for variant in variants:
        common = generator.normal(0, NOISE, (seeds, 1))
        drawn[variant] = 0.8 + shared + 0.7 * common
        drawn[variant] += generator.normal(0, 0.7 * NOISE, (seeds, metrics))
    return drawn


def has_star(results: StudyResults) -> bool:
    """Tells whether a comparison of the study is significant after correction."""
    analysis = analyze_study(results)
    tests = [*analysis.comparisons.values(), *analysis.along.values()]
    return any(t.runs_holm is not None and t.runs_holm < ALPHA for t in tests)


def has_effect(results: StudyResults) -> bool:
    """Tells whether an effect of the study's switches is significant after correction."""
    effects = [e for found in find_effects(analyze_study(results)) for e in found.effects]
    assert effects
    return any(e.p_holm is not None and e.p_holm < ALPHA for e in effects)


def one_at_a_time(generator):
    return has_star(make_study(draw(generator, ['full', 'x', 'y', 'z'], 4), TableOptions()))


def along_an_axis(generator):
    names = [f'{v}@{width}' for v in ('full', 'x') for width in (1, 2, 3)]
    return has_star(make_study(draw(generator, names, 4), TableOptions(along=('width',))))


def simulate_design(generator, design, switches, points, orders=()):
    names = tuple('abcdefgh'[:switches])
    variants = [join_switches([n for n, on in zip(names, point) if on]) for point in points]
    options = TableOptions(switches=names, design=design, orders=tuple(orders))
    return has_effect(make_study(draw(generator, variants, 3), options))


def factorial(generator):
    return simulate_design(generator, 'factorial', 3, list_combinations(3))


def fractional(generator):
    return simulate_design(generator, 'fractional', 5, find_fraction(5, 4)[1])


def shapley(generator):
    return simulate_design(generator, 'shapley', 3, list_combinations(3))


def shapley_of_orders(generator):
    orders = sample_orders(5, 6, int(generator.integers(1 << 30)))
    return simulate_design(generator, 'shapley', 5, list_coalitions(orders), orders)


def run_sequential(generator, difference, rule, variants=4):
    """Tells whether a sequential study ends with a star at its first variant, or another."""
    names = [f'v{n}' for n in range(variants)]
    values = draw(generator, names, rule.most, metrics=1)
    values['v1'] = values['v1'] + difference
    for seeds in range(3, rule.most + 1):
        some = {name: rows[:seeds] for name, rows in values.items()}
        results = make_study(some, TableOptions(primary='a', sequential=EFFECT))
        if explain_stop(results, rule, seeds):
            break
    found = {place: c.runs_holm for (place, _), c in analyze_study(results).comparisons.items()}
    stars = {place for place, p in found.items() if p is not None and p < ALPHA}
    return 1 in stars, bool(stars)


def sequential(generator):
    return run_sequential(generator, 0.0, SequentialSpec(most=9, decided=True))[1]


def end_of_search(generator):
    """The best of 12 equal trials by its validation is compared with other seeds, on the test."""
    trials = generator.normal(0, NOISE, 12)  # one run each, with a seed that no final run has
    best = f'best_{trials.argmax()}'
    return has_star(make_study(draw(generator, ['reference', best], 4), TableOptions(primary='a')))


@pytest.mark.parametrize(
    'simulate',
    [
        one_at_a_time,
        along_an_axis,
        factorial,
        fractional,
        shapley,
        shapley_of_orders,
        sequential,
        end_of_search,
    ],
)
def test_at_most_five_percent_of_studies_in_which_nothing_differs_have_a_star(simulate):
    generator = np.random.default_rng(11)
    alarms = sum(simulate(generator) for _ in range(STUDIES)) / STUDIES
    print(f'| {simulate.__name__} | {STUDIES:,} | false alarms | {alarms:.1%} |')
    assert alarms <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / STUDIES)


@pytest.mark.parametrize('design', ['one_at_a_time', 'sequential'])
def test_studies_find_what_their_plan_promises(design):
    """The smallest difference of one of three variants is found with a power of 80 %."""
    generator, found = np.random.default_rng(5), 0
    sd = NOISE * math.sqrt(2 * 0.98)  # of the differences that `draw` makes
    rule = SequentialSpec(most=9, decided=True)
    if design == 'sequential':
        difference = find_sequential_difference(sd, range(3, 10), None, True, 3)
    else:
        difference = find_smallest_difference(sd, 5, 3)
    for _ in range(STUDIES):
        if design == 'sequential':
            found += run_sequential(generator, difference, rule)[0]
        else:
            values = draw(generator, ['full', 'x', 'y', 'z'], 5, metrics=1)
            values['x'] = values['x'] + difference
            tests = analyze_study(make_study(values, TableOptions(primary='a'))).comparisons
            found += tests[1, 'a'].runs_holm < ALPHA
    print(f'| {design} | {STUDIES:,} | power, 80 % promised | {found / STUDIES:.1%} |')
    assert found / STUDIES == pytest.approx(0.8, abs=0.03 + 3 * math.sqrt(0.16 / STUDIES))
