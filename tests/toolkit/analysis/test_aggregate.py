"""Cells, pairs that lack a partner, families, items."""

from __future__ import annotations

import pytest
from scipy import stats

from tests.support.study_folders import FINGERPRINT, finish, planned, study_of, write_plan
from toolkit.analysis.aggregate import analyze_study
from toolkit.analysis.conditions import summarize_costs
from toolkit.analysis.paired_tests import paired_t
from toolkit.analysis.power import estimate_spread
from toolkit.analysis.results import load
from toolkit.analysis.table_files import study_table

FULL = [0.70, 0.72, 0.69, 0.71]
BETTER = [0.80, 0.83, 0.78, 0.82]
SAME = [0.71, 0.71, 0.70, 0.70]


def analysis_of(folder):
    return analyze_study(load(folder))


def comparison(analysis, variant, metric='score'):
    (place,) = [
        i for i, condition in enumerate(analysis.conditions) if condition.variant == variant
    ]
    return analysis.comparisons[place, metric]


def test_scores_and_tests(tmp_path):
    folder = study_of(tmp_path, {'full': FULL, 'better': BETTER, 'same': SAME})
    analysis = analysis_of(folder)
    score = analysis.summarize(analysis.conditions[1], 'score')
    assert (score.n, score.planned) == (4, 4)
    assert score.mean == pytest.approx(0.8075)
    assert score.sd == pytest.approx(0.0221736, rel=1e-5)
    better, same = comparison(analysis, 'better'), comparison(analysis, 'same')
    p = [stats.ttest_rel(values, FULL).pvalue for values in (BETTER, SAME)]
    assert (better.runs.p, same.runs.p) == pytest.approx(p)
    assert (better.runs_holm, same.runs_holm) == pytest.approx((2 * p[0], p[1]))
    assert (better.better, better.unpaired) == (True, 0)
    assert analysis.count_tests() == (2, 0)
    assert [condition.variant for condition in analysis.find_best('score')] == ['better']
    assert analysis.find_reference(analysis.conditions[0]) is None


def test_pairs_without_a_partner_are_counted(tmp_path):
    folder = study_of(tmp_path, {'full': [*FULL[:3], None], 'better': [None, *BETTER[1:]]})
    found = comparison(analysis_of(folder), 'better')
    assert (found.runs.n, found.unpaired) == (2, 2)
    assert found.runs.difference == pytest.approx(0.1)
    folder = study_of(tmp_path / 'b', {'full': FULL, 'better': [None] * 4})
    found = comparison(analysis_of(folder), 'better')
    assert (found.runs.n, found.unpaired, found.runs.p, found.runs.why) == (0, 4, None, 'no pairs')
    assert found.runs_holm is None


def test_a_value_that_is_not_finite_is_missing(tmp_path):
    folder = study_of(tmp_path, {'full': FULL, 'better': BETTER})
    finish(folder / 'runs/better-s0', {'score': None})
    analysis = analysis_of(folder)
    assert analysis.summarize(analysis.conditions[1], 'score').n == 3
    assert comparison(analysis, 'better').unpaired == 1


def test_cells_are_compared_under_the_same_setting_and_data(tmp_path):
    runs = [
        planned(v, s, id=f'{v}-{width}-{data}-{s}', settings={'model.width': width}, data=data)
        for v in ('full', 'other')
        for width in (8, 16)
        for data in ('a', 'b')
        for s in range(3)
    ]
    folder = write_plan(tmp_path, runs)
    for i, run in enumerate(runs):
        finish(folder / run['folder'], {'score': float(i // 3) + (i * i % 5) / 1000})
    analysis = analysis_of(folder)
    assert len(analysis.conditions) == 8
    assert analysis.axes == ['model.width']
    assert analysis.has_data
    assert analysis.conditions[5].label == 'other, width=8, b'
    assert analysis.find_reference(analysis.conditions[5]) is analysis.conditions[1]
    differences = {c.runs.difference for c in analysis.comparisons.values()}
    assert all(value == pytest.approx(4.0, abs=0.01) for value in differences)
    # The best of each data set.
    assert [condition.label for condition in analysis.find_best('score')] == [
        'other, width=16, a',
        'other, width=16, b',
    ]


def test_folds_are_pairs_too_and_widen_the_interval(tmp_path):
    runs = [
        planned(variant, seed, id=f'{variant}-{seed}-{fold}', fold=fold)
        for variant in ('full', 'better')
        for seed in (0, 1)
        for fold in (0, 1)
    ]
    folder = write_plan(tmp_path, runs)
    for i, run in enumerate(runs):
        finish(folder / run['folder'], {'score': float(i**2)})
    found = comparison(analysis_of(folder), 'better').runs
    d = [(i + 4) ** 2 - i**2 for i in range(4)]
    assert found.n == 4
    assert found.p > stats.ttest_1samp(d, 0).pvalue


def test_a_variant_without_training_is_paired_with_every_seed(tmp_path):
    """Its one run would be the same with each seed, so the others' spread is that of all pairs."""
    made = {'full': {**FINGERPRINT, 'train': None}, 'net': FINGERPRINT}
    values = {('net', s, f): 0.8 + 0.01 * s + 0.1 * f for s in (3, 4, 5) for f in (0, 1)}
    values |= {('full', 3, f): 0.5 + 0.2 * f for f in (0, 1)}
    runs = [planned(v, s, id=f'{v}-{s}-{f}', fold=f, fingerprint=made[v]) for v, s, f in values]
    for reference in ('full', 'net'):
        folder = write_plan(tmp_path / reference, runs, compare_to=reference)
        for run, value in zip(runs, values.values(), strict=True):
            rows = {'score': [{'id': f'{run["fold"]}.{i}', 'value': value} for i in range(4)]}
            finish(folder / run['folder'], {'score': value}, rows, fingerprint=run['fingerprint'])
        analysis = analysis_of(folder)
        (found,) = analysis.comparisons.values()
        differences = [0.3 + 0.01 * s - 0.1 * f for s in (3, 4, 5) for f in (0, 1)]
        sign = 1 if reference == 'full' else -1
        expected = paired_t([sign * d for d in differences], folds=2)
        assert (found.runs.n, found.unpaired, found.items.n) == (6, 0, 8)
        assert found.runs.p == pytest.approx(expected.p)
        assert found.runs.difference == pytest.approx(sign * 0.29)
        assert found.items.difference == pytest.approx(sign * 0.29)
        assert estimate_spread(analysis, 'score').freedom == 5
        assert 'has no seeds' in study_table(load(folder))


def test_costs(tmp_path):
    folder = study_of(tmp_path, {'full': [*FULL[:2], None]})
    finish(folder / 'runs/full-s1', {'score': 0.5}, seconds=20.0, memory=700_000_000)
    found = summarize_costs(analysis_of(folder).conditions[0])
    assert (found.parameters, found.macs) == (1000, 2_000_000)
    assert (found.seconds, found.memory) == (15.0, 700_000_000)


# -- test items ------------------------------------------------------------------------------------


def with_rows(folder, variant, seed, column, name='score', **more):
    rows = [{'value': value, **({'id': f'i{i}'} if more.get('ids') else {})} for i, value in column]
    value = more.get('reported', sum(v for _, v in column) / len(column))
    finish(folder / 'runs' / f'{variant}-s{seed}', {name: value}, {name: rows})


def two_variants(folder, shift=0.3, **more):
    write_plan(folder, [planned(v, s) for v in ('full', 'other') for s in (0, 1)])
    for seed in (0, 1):
        base = [(i, 0.1 * (i % 7) + 0.01 * seed) for i in range(30)]
        with_rows(folder, 'full', seed, base, **more)
        moved = [(i, v + shift + 0.02 * (i % 5)) for i, v in base]
        with_rows(folder, 'other', seed, moved, **more)
    return folder


@pytest.mark.parametrize('ids', [False, True])
def test_items_are_resampled_in_pairs(tmp_path, ids):
    found = comparison(analysis_of(two_variants(tmp_path, ids=ids)), 'other').items
    assert found.n == 30
    assert found.difference == pytest.approx(0.34)
    # Only the differences vary (0 to 0.08), not the items (0 to 0.6).
    assert 0.32 < found.low < 0.34 < found.high < 0.36
    assert found.p < 0.001


def test_items_are_matched_by_name_where_they_have_one(tmp_path):
    folder = two_variants(tmp_path, ids=True)
    for seed in (0, 1):
        with_rows(folder, 'other', seed, [(i, 0.1 * (i % 7)) for i in range(5, 25)], ids=True)
    found = comparison(analysis_of(folder), 'other').items
    assert found.n == 20
    assert found.difference == pytest.approx(-0.005)


def test_items_without_names_are_not_matched_in_data_of_another_length(tmp_path):
    folder = two_variants(tmp_path)
    for seed in (0, 1):
        with_rows(folder, 'other', seed, [(i, 0.1 * (i % 7)) for i in range(25)])
    assert comparison(analysis_of(folder), 'other').items.why == 'no items'


def test_a_metric_that_is_no_mean_is_not_resampled(tmp_path):
    found = comparison(analysis_of(two_variants(tmp_path, reported=0.123)), 'other').items
    assert (found.n, found.p, found.why) == (0, None, 'not the mean of test items')


def test_metrics_of_several_values_have_columns(tmp_path):
    folder = write_plan(
        tmp_path,
        [planned(v) for v in ('full', 'other')],
        metrics={'err.worst': False, 'err.mean': False},
    )
    for variant, step in (('full', 0.0), ('other', 1.0)):
        rows = [{'worst': float(i), 'mean': i * step + i % 3} for i in range(20)]
        mean = sum(row['mean'] for row in rows) / 20
        finish(folder / f'runs/{variant}-s0', {'err.worst': 19.0, 'err.mean': mean}, {'err': rows})
    analysis = analysis_of(folder)
    assert comparison(analysis, 'other', 'err.worst').items.why == 'not the mean of test items'
    assert comparison(analysis, 'other', 'err.mean').items.difference == pytest.approx(9.5)
    assert comparison(analysis, 'other', 'err.mean').better is False
    assert analysis.count_tests() == (0, 1)


def test_runs_of_other_code_are_compared_with_none_of_this_code(tmp_path):
    """A part of a study that was run anew after its code changed."""
    runs = [
        planned(variant, seed, other_code=variant != 'better')
        for variant in ('full', 'better', 'same')
        for seed in range(4)
    ]
    folder = write_plan(tmp_path, runs)
    for variant, values in (('full', FULL), ('better', BETTER), ('same', SAME)):
        for seed, value in enumerate(values):
            finish(folder / 'runs' / f'{variant}-s{seed}', {'score': value})
    analysis = analysis_of(folder)
    mixed = comparison(analysis, 'better')
    assert (mixed.runs.p, mixed.runs.why) == (None, 'made with different code')
    assert mixed.items.p is None
    assert mixed.unpaired == 4
    assert comparison(analysis, 'same').runs.p is not None
    text = study_table(analysis.results)
    assert 'same †' in text
    assert 'better †' not in text
    assert 'not compared with runs that were not' in text
    assert 'over runs of different code' not in text
    # 'full' and 'same' are both of other code, and their p stands in the table.
    assert 'nothing shows that they were made with the same code' in text


def test_a_table_without_tests_says_so(tmp_path):
    write_plan(tmp_path, [planned('full'), planned('other')])
    for run, score in (('full-s0', 0.1), ('other-s0', 0.3)):
        finish(tmp_path / 'runs' / run, {'score': score})
    text = study_table(load(tmp_path))
    assert 'No test over runs: no difference has pairs that vary.' in text
    assert 'all 0 tests' not in text
    assert 'nothing shows that they were made' not in text


@pytest.mark.parametrize(
    'code', [{'other_code': True}, {'fingerprint': {**FINGERPRINT, 'code': 'c'}}]
)
def test_a_mean_over_runs_of_two_codes_is_said(tmp_path, code):
    write_plan(tmp_path, [planned('full'), planned('full', 1, **code), planned('other')])
    for run, score in (('full-s0', 0.1), ('full-s1', 0.2), ('other-s0', 0.3)):
        made = code.get('fingerprint', FINGERPRINT) if run == 'full-s1' else FINGERPRINT
        finish(tmp_path / 'runs' / run, {'score': score}, fingerprint=made)
    text = study_table(load(tmp_path))
    assert 'The mean and the spread of full are over runs of different code' in text


@pytest.mark.parametrize(('seeds', 'best'), [(1, []), (2, ['other'])])
def test_items_tell_the_best_only_where_runs_are_known_not_to_vary(tmp_path, seeds, best):
    write_plan(tmp_path, [planned(v, s) for v in ('full', 'other') for s in range(seeds)])
    for seed in range(seeds):
        base = [(i, 0.1 * (i % 7)) for i in range(30)]
        with_rows(tmp_path, 'full', seed, base)
        with_rows(tmp_path, 'other', seed, [(i, v + 0.3 + 0.02 * (i % 5)) for i, v in base])
    found = analysis_of(tmp_path).find_best('score')
    assert [condition.variant for condition in found] == best


def test_values_of_an_axis_that_python_calls_equal_are_several(tmp_path):
    runs = [
        planned('full', id=f'{level!r}-{width}', settings={'level': level, 'width': width})
        for level in (1, 1.0, True)
        for width in (8, 16)
    ]
    analysis = analysis_of(write_plan(tmp_path, runs))
    for narrow, wide in zip(analysis.conditions[::2], analysis.conditions[1::2], strict=True):
        assert analysis.find_first(wide, 'width') is narrow
        assert analysis.find_first(narrow, 'width') is None
