"""Areas under curves are scikit-learn's, and DeLong's variance is that of his paper."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from plugins.classification.metrics.functional.delong import compare_areas, delong
from plugins.classification.metrics.functional.ranking import auc, average_precision


@st.composite
def ranked(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties, of at least two positives and two negatives."""
    n = draw(st.integers(4, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([3, 10, 10_000]))
    positive = np.r_[True, True, False, False, generator.random(n - 4) < 0.4]
    return generator.integers(0, levels, n) / levels, positive


@given(ranked(), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_scikit_learn_says_the_same(case: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    scores, positive = case
    assert auc(scores, positive) == pytest.approx(sk.roc_auc_score(positive, scores))
    expected = sk.average_precision_score(positive, scores)
    assert average_precision(scores, positive) == pytest.approx(expected)
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(scores))).astype(float)
    weights[:, [0, 2]] += 1
    for score, library in (
        (auc, sk.roc_auc_score),
        (average_precision, sk.average_precision_score),
    ):
        found = score(scores, positive, weights)
        expected = [library(positive, scores, sample_weight=w) for w in weights]
        np.testing.assert_allclose(found, expected)


@given(ranked())
@settings(max_examples=20, deadline=None)
def test_only_the_order_counts(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, positive = case
    assert auc(np.exp(3 * scores), positive) == pytest.approx(auc(scores, positive))
    assert auc(-scores, positive) == pytest.approx(1 - auc(scores, positive))
    assert auc(scores, ~positive) == pytest.approx(1 - auc(scores, positive))


def test_one_class_has_no_area() -> None:
    scores = np.array([0.1, 0.4])
    for truth in (np.array([True, True]), np.array([False, False])):
        assert np.isnan(auc(scores, truth))
    assert np.isnan(average_precision(scores, np.array([False, False])))
    # A resample without positives is not defined, and the others are.
    weights = np.array([[1.0, 0], [1, 1]])
    found = auc(scores, np.array([False, True]), weights)
    assert np.isnan(found[0])
    assert found[1] == 1


def by_the_book(scores: list[np.ndarray], positive: np.ndarray) -> np.ndarray:
    """The covariance of DeLong, DeLong and Clarke-Pearson 1988, pair by pair of samples."""
    v10, v01 = [], []
    for given_ in scores:
        x, y = given_[positive], given_[~positive]
        kernel = (x[:, None] > y).astype(float) + 0.5 * (x[:, None] == y)
        v10.append(kernel.mean(1))
        v01.append(kernel.mean(0))
    return np.cov(v10) / len(v10[0]) + np.cov(v01) / len(v01[0])


@given(ranked(), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_delong_by_the_book(case: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    a, positive = case
    b = np.random.default_rng(seed).permutation(a)
    areas = delong([a, b], positive)
    np.testing.assert_allclose(areas.values, [auc(a, positive), auc(b, positive)])
    np.testing.assert_allclose(areas.covariance, by_the_book([a, b], positive), atol=1e-12)
    # Two images of each patient that are the same say no more than one.
    twice = delong(
        [np.tile(a, 2), np.tile(b, 2)], np.tile(positive, 2), np.tile(np.arange(len(a)), 2)
    )
    np.testing.assert_allclose(twice.covariance, areas.covariance, atol=1e-12)
    # The mean area of runs that are equal is that of one.
    runs = delong([np.stack([a, a]), b], positive)
    np.testing.assert_allclose(runs.covariance, areas.covariance, atol=1e-12)
    forth, back = compare_areas(a, b, positive), compare_areas(b, a, positive)
    assert forth.difference == pytest.approx(-back.difference)
    assert forth.p == pytest.approx(back.p)


def test_delong_of_equal_scores_and_of_too_few() -> None:
    scores = np.linspace(0, 1, 8)
    positive = scores > 0.4
    assert compare_areas(scores, scores**2, positive).p == 1
    with pytest.raises(ValueError, match='two patients or more with each class, found 1'):
        delong([scores], scores > 0.9)
    with pytest.raises(ValueError, match='found 1 with positives'):
        delong([scores], positive, np.where(positive, 0, np.arange(8)))


def test_delongs_test_keeps_its_level() -> None:
    """Two equally good raters, and patients with three images each: p is even over [0, 1]."""
    generator = np.random.default_rng(3)
    found = []
    for _ in range(300):
        truth = np.repeat(generator.random(60) < 0.5, 3)
        shared = np.repeat(generator.normal(size=60), 3)
        own = np.repeat(generator.normal(size=(2, 60)), 3, axis=1)
        a, b = truth + shared + own + 0.3 * generator.normal(size=(2, 180))
        found.append(compare_areas(a, b, truth, np.repeat(np.arange(60), 3)).p)
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.035)
    assert stats.kstest(found, 'uniform').pvalue > 0.01


def test_delong_of_separated_classes_has_no_interval() -> None:
    scores = np.linspace(0, 1, 8)
    positive = scores > 0.4
    assert delong([scores], positive).interval() is None
    found = compare_areas(scores, -scores, positive)
    assert (found.difference, found.low, found.high, found.p) == (1, None, None, None)
