"""Tests against scipy, against definitions, and by simulation of studies without an effect."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from toolkit.analysis import paired_tests
from toolkit.analysis.paired_tests import (
    adjust_holm,
    compute_t_test_p,
    hedges_g,
    paired_bootstrap,
    paired_bootstraps,
    paired_t,
)

numbers = st.floats(-1e3, 1e3).map(lambda x: round(x, 3))
pairs = st.lists(st.tuples(numbers, numbers), min_size=2, max_size=12)


@settings(max_examples=50)
@given(pairs)
def test_paired_t_is_scipys(found):
    a, b = np.array(found).T
    if np.ptp(a - b) < 1e-6:
        return
    test, known = paired_t(a - b), stats.ttest_rel(a, b)
    interval = known.confidence_interval(0.95)
    assert test.p == pytest.approx(known.pvalue, rel=1e-9)
    assert (test.low, test.high) == pytest.approx((interval.low, interval.high), rel=1e-9, abs=1e-9)
    assert test.difference == pytest.approx(np.mean(a - b))
    assert test.n == len(a)
    assert test.why == ''


def test_many_tests_at_once_are_each_of_them():
    d = np.random.default_rng(1).normal(size=(4, 3, 5))
    assert compute_t_test_p(d)[2, 1] == pytest.approx(paired_t(d[2, 1]).p)
    assert compute_t_test_p(d, folds=5)[2, 1] == pytest.approx(paired_t(d[2, 1], folds=5).p)


@pytest.mark.parametrize('test', [paired_t, paired_bootstrap])
@pytest.mark.parametrize(
    ('differences', 'mean', 'why'),
    [
        ([], None, 'no '),
        ([0.5], 0.5, 'one .* has no spread'),
        ([0.0, 0.0, 0.0], 0.0, 'equal in every '),
        ([0.1, 0.1, 0.1], 0.1, 'the same difference in every '),
    ],
)
def test_no_p_without_spread_and_why(test, differences, mean, why):
    found = test(differences)
    assert found.p is None and found.low is None and found.effect is None
    assert found.difference == (None if mean is None else pytest.approx(mean))
    assert found.n == len(differences)
    assert re.match(why, found.why)


@pytest.mark.parametrize('test', [paired_t, paired_bootstrap])
@pytest.mark.parametrize('differences', [[1.0, float('nan')], [[1.0, 2.0]]])
def test_what_is_no_list_of_numbers_is_refused(test, differences):
    with pytest.raises(ValueError, match='finite and of one axis'):
        test(differences)


def test_folds_widen_the_interval_as_nadeau_and_bengio_say():
    d = np.array([0.3, 0.1, 0.4, 0.2, 0.6])
    # Five folds: the variance of the mean is s2 (1/5 + 1/4) instead of s2 / 5.
    t = d.mean() / np.sqrt(d.var(ddof=1) * (1 / 5 + 1 / 4))
    assert paired_t(d, folds=5).p == pytest.approx(2 * stats.t.sf(t, 4))
    assert paired_t(d, folds=5).effect == paired_t(d).effect


def test_effect_is_hedges_g():
    d = np.array([1.0, 2.0, 3.0, 6.0])
    # The exact correction for 3 degrees of freedom: gamma(3/2) / (sqrt(3/2) gamma(1)).
    assert hedges_g(d) == pytest.approx(d.mean() / d.std(ddof=1) * 0.7236, rel=1e-4)
    many = np.random.default_rng(0).normal(1, 1, 200)
    usual = 1 - 3 / (4 * 199 - 1)  # Hedges' approximation
    assert hedges_g(many) == pytest.approx(usual * many.mean() / many.std(ddof=1), rel=1e-5)
    assert hedges_g([1.0, 2.0]) is None


def test_holm_on_a_known_case():
    # As R's p.adjust(c(0.01, 0.04, 0.03, 0.005), 'holm') gives.
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_holm([None, 0.02, None, 0.9, 0.7]) == [None, pytest.approx(0.06), None, 1.0, 1.0]
    assert adjust_holm([]) == []


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_its_definition_rejects(p):
    adjusted = adjust_holm(p)
    order = sorted(range(len(p)), key=lambda i: p[i])
    going = True  # step down: the first that is not rejected ends it
    for rank, i in enumerate(order):
        going = going and p[i] * (len(p) - rank) < 0.05
        assert (adjusted[i] < 0.05) == going
        assert p[i] <= adjusted[i] <= 1


# -- the bootstrap ---------------------------------------------------------------------------------


def test_bootstrap_agrees_with_scipys_and_with_t_where_there_are_many_items():
    d = np.random.default_rng(3).normal(0.15, 1, 300)
    ours = paired_bootstrap(d)
    known = stats.bootstrap((d,), np.mean, method='BCa', rng=np.random.default_rng(0))
    assert ours.low == pytest.approx(known.confidence_interval.low, abs=0.01)
    assert ours.high == pytest.approx(known.confidence_interval.high, abs=0.01)
    assert ours.p == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=0.005)


def test_bootstrap_is_the_same_every_time_and_its_interval_fits_its_p():
    d = np.random.default_rng(4).normal(0.5, 1, 12)
    first = paired_bootstrap(d)
    assert first == paired_bootstrap(d)
    # 0 lies on the border of the interval where p is 0.05.
    shifted = paired_bootstrap(d - first.low)
    assert shifted.p == pytest.approx(0.05, abs=2e-4)


def test_bootstrap_of_very_few_items_claims_nothing():
    # One item drawn three times has no spread, and that is one resample of nine.
    test = paired_bootstrap([1.0, 1.1, 1.2])
    assert test.p > 0.1
    assert test.low is None


def test_many_bootstraps_are_each_of_them():
    generator = np.random.default_rng(5)
    many = [generator.normal(0.3, 1, n) for n in (9, 12, 9, 12)] + [[], [0.5]]
    together = paired_bootstraps(many)
    assert [test.n for test in together] == [9, 12, 9, 12, 0, 1]
    for d, test in zip(many[:4], together):
        assert test.p == pytest.approx(paired_bootstrap(d).p)
        assert test.low == pytest.approx(paired_bootstrap(d).low)


def test_the_smallest_p_is_small_enough_for_as_many_tests():
    many = [np.random.default_rng(i).normal(3, 1, 20) for i in range(200)]
    found = adjust_holm([test.p for test in paired_bootstraps(many)])
    assert max(found) < 0.01


@pytest.mark.parametrize('items', [4, 10, 30])
def test_bootstrap_keeps_its_level(items, monkeypatch):
    monkeypatch.setattr(paired_tests, 'RESAMPLES', 499)
    generator = np.random.default_rng(items)
    d = [generator.normal(size=items) for _ in range(1000)]
    positive = [paired_tests.paired_bootstrap(x, i).p < 0.05 for i, x in enumerate(d)]
    assert sum(positive) <= 50 + 3 * np.sqrt(1000 * 0.05 * 0.95)  # within its own error


# -- whole studies without an effect ---------------------------------------------------------------


def studies(count, variants, metrics, seeds, draw, together=0.5):
    """Differences (count, tests, seeds) of studies in which nothing differs.

    All variants are compared with one reference, and metrics of a run go together, as in reality.
    """
    own = draw((count, variants + 1, metrics, seeds))
    common = draw((count, variants + 1, 1, seeds))
    values = np.sqrt(1 - together) * own + np.sqrt(together) * common
    return (values[:, 1:] - values[:, :1]).reshape(count, -1, seeds)


def positive_share(differences, folds=1):
    """Share of studies in which the corrected test finds something."""
    p = compute_t_test_p(differences, folds)
    return float(np.mean([min(adjust_holm(list(study))) < 0.05 for study in p]))


@pytest.mark.parametrize('seeds', [3, 5, 10])
@pytest.mark.parametrize('law', ['normal', 'heavy', 'skewed'])
def test_at_most_5_percent_of_studies_without_effect_are_positive(seeds, law):
    """Of 20,000 studies of four variants and three metrics, within their own error."""
    generator = np.random.default_rng(seeds)
    draw = {
        'normal': generator.standard_normal,
        'heavy': lambda shape: generator.standard_t(3, shape),
        'skewed': lambda shape: np.exp(generator.standard_normal(shape)),
    }[law]
    assert positive_share(studies(20_000, 4, 3, seeds, draw)) < 0.05 + 3 * np.sqrt(
        0.05 * 0.95 / 20_000
    )


@pytest.mark.parametrize('seeds', [3, 5, 10])
def test_of_1000_studies_whose_metrics_agree_as_quality_indices_do(seeds):
    generator = np.random.default_rng(0)
    found = studies(1000, 4, 3, seeds, generator.standard_normal, together=0.9)
    assert 0 < positive_share(found) <= 0.05


@pytest.mark.parametrize('seeds', [3, 5])
def test_the_level_is_what_it_says_and_needs_the_correction(seeds):
    """One comparison: 5 % of 20,000 within error; twelve without correction: far more."""
    generator = np.random.default_rng(10 + seeds)
    one = compute_t_test_p(studies(20_000, 1, 1, seeds, generator.standard_normal))
    assert np.mean(one < 0.05) == pytest.approx(0.05, abs=0.005)
    twelve = compute_t_test_p(studies(2000, 4, 3, seeds, generator.standard_normal))
    assert np.mean(twelve.min(-1) < 0.05) > 0.15


def test_folds_that_share_data_need_their_correction():
    """Differences of k folds correlate by the share of test items, 1 / k, or so."""
    generator, k = np.random.default_rng(2), 5
    shared, own = generator.normal(size=(20_000, 1, 1)), generator.normal(size=(20_000, 1, k))
    d = np.sqrt(1 / k) * shared + np.sqrt(1 - 1 / k) * own
    assert positive_share(d) > 0.08
    assert positive_share(d, folds=k) == pytest.approx(0.05, abs=0.005)
