"""Values of confusion matrices are scikit-learn's, for one set of weights and for many."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from plugins.classification.metrics.functional import confusion as c


def count_matrix(matrix: np.ndarray) -> c.Counts:
    """Counts a confusion matrix (..., K, K), true classes in rows."""
    place = np.arange(matrix.shape[-1])
    squared = (place[:, None] - place) ** 2
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    return c.Counts(matrix.sum(-1), matrix.sum(-2), hits, (matrix * squared).sum((-2, -1)))


@st.composite
def decided(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Labels and decisions of K classes; every class has a sample."""
    classes = draw(st.integers(2, 4))
    n = draw(st.integers(classes, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = np.r_[np.arange(classes), generator.integers(0, classes, n - classes)]
    return labels, generator.integers(0, classes, n), classes


@given(decided())
@settings(max_examples=30, deadline=None)
def test_scikit_learn_says_the_same(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    labels, decisions, classes = case
    square = c.confusion(labels, decisions, classes)
    assert square.tolist() == sk.confusion_matrix(labels, decisions).tolist()
    matrix = c.count(labels, decisions, classes)
    for name, found in vars(count_matrix(square)).items():
        assert np.array_equal(found, getattr(matrix, name)), name
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        precision, recall, f1, _ = sk.precision_recall_fscore_support(
            labels, decisions, labels=range(classes), zero_division=np.nan
        )
    np.testing.assert_allclose(c.sensitivity(matrix), recall)
    np.testing.assert_allclose(c.ppv(matrix), precision)
    np.testing.assert_allclose(c.f1(matrix), f1)
    assert c.macro_f1(matrix) == pytest.approx(f1.mean())
    assert c.accuracy(matrix) == pytest.approx(sk.accuracy_score(labels, decisions))
    balanced = sk.balanced_accuracy_score(labels, decisions)
    assert c.balanced_accuracy(matrix) == pytest.approx(balanced)
    for own in range(classes):
        # Specificity and NPV are sensitivity and PPV of the rest.
        rest = (labels != own).astype(int), (decisions != own).astype(int)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            expected = sk.precision_recall_fscore_support(*rest, zero_division=np.nan)
        assert c.specificity(matrix)[own] == pytest.approx(expected[1][1])
        if not (decisions == own).all():
            assert c.npv(matrix)[own] == pytest.approx(expected[0][1])
    if len(set(decisions)) > 1:
        assert c.mcc(matrix) == pytest.approx(sk.matthews_corrcoef(labels, decisions))
    assert c.kappa(matrix) == pytest.approx(sk.cohen_kappa_score(labels, decisions))
    quadratic = sk.cohen_kappa_score(labels, decisions, weights='quadratic')
    assert c.kappa(matrix, quadratic=True) == pytest.approx(quadratic)


@given(decided(), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_a_weight_is_how_often_a_sample_is_there(
    case: tuple[np.ndarray, np.ndarray, int], seed: int
) -> None:
    labels, decisions, classes = case
    weights = np.random.default_rng(seed).integers(0, 3, (3, len(labels))).astype(float)
    many = c.count(labels, decisions, classes, weights)
    repeated = [
        c.count(np.repeat(labels, times), np.repeat(decisions, times), classes)
        for times in weights.astype(int)
    ]
    for score in (c.sensitivity, c.specificity, c.ppv, c.npv, c.f1, c.accuracy, c.mcc, c.kappa):
        np.testing.assert_array_equal(score(many), np.stack([score(one) for one in repeated]))
    quadratic = [c.kappa(one, quadratic=True) for one in repeated]
    np.testing.assert_array_equal(c.kappa(many, quadratic=True), quadratic)


def test_what_is_not_defined_is_nan_and_never_0() -> None:
    # The third class has no sample; the second is never decided.
    matrix = count_matrix(np.array([[3.0, 0, 1], [2, 0, 0], [0, 0, 0]]))
    assert np.isnan(c.sensitivity(matrix)).tolist() == [False, False, True]
    assert np.isnan(c.f1(matrix)).tolist() == [False, False, True]
    assert c.f1(matrix)[1] == 0  # samples that are all missed are no matter of definition
    assert np.isnan(c.ppv(matrix)).tolist() == [False, True, False]
    assert np.isnan(c.macro_f1(matrix))
    assert np.isnan(c.balanced_accuracy(matrix))
    one = count_matrix(np.array([[4.0, 0], [0, 0]]))
    assert np.isnan([c.mcc(one), c.kappa(one), c.specificity(one)[0], c.npv(one)[0]]).all()
    assert np.isnan(c.accuracy(count_matrix(np.zeros((2, 2)))))
