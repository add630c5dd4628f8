"""Calibration is torchmetrics' and scikit-learn's, and the temperature that was put in is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit, softmax
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from plugins.classification.metrics.functional import calibration as c
from plugins.classification.metrics.functional.temperature_scaling import (
    TEMPERATURES,
    fit_temperature,
)


def drawn(n: int, classes: int, seed: int, temperature: float = 1.0) -> tuple[np.ndarray, ...]:
    """Logits, and labels that the logits divided by the temperature are right about."""
    generator = np.random.default_rng(seed)
    logits = 2 * generator.normal(size=(n, classes))
    chances = softmax(logits / temperature, axis=1)
    labels = (generator.random((n, 1)) > chances.cumsum(1)).sum(1).clip(0, classes - 1)
    return logits, labels


@given(st.integers(2, 4), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_libraries_say_the_same(classes: int, seed: int) -> None:
    logits, labels = drawn(60, classes, seed)
    p = softmax(logits, axis=1)
    top, right = p.max(1), p.argmax(1) == labels
    expected = multiclass_calibration_error(
        torch.tensor(p), torch.tensor(labels), classes, n_bins=c.BINS
    )
    assert c.ece(top, right) == pytest.approx(float(expected), abs=1e-6)
    positive = labels == 1
    expected = binary_calibration_error(torch.tensor(p[:, 1]), torch.tensor(positive), c.BINS)
    assert c.ece(p[:, 1], positive) == pytest.approx(float(expected), abs=1e-6)
    known = range(classes)
    expected = sk.brier_score_loss(labels, p, labels=known, scale_by_half=False)
    assert c.mean(c.brier(p, labels)) == pytest.approx(expected)
    expected = sk.log_loss(labels, p, labels=known)
    assert c.mean(c.nll(p, labels)) == pytest.approx(expected)


@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_a_weight_is_how_often_a_sample_is_there(seed: int) -> None:
    logits, labels = drawn(80, 2, seed)
    p, positive = softmax(logits, axis=1)[:, 1], labels == 1
    weights = np.random.default_rng(seed).integers(0, 3, (3, 80)).astype(float)
    together = c.calibration_line(p, positive, weights)
    for i, times in enumerate(weights.astype(int)):
        again, truth = np.repeat(p, times), np.repeat(positive, times)
        assert c.ece(p, positive, weights)[i] == pytest.approx(float(c.ece(again, truth)))
        alone = c.calibration_line(again, truth)
        np.testing.assert_allclose([x[i] for x in together], alone, rtol=1e-6)


@given(st.integers(0, 1000), st.floats(0.3, 3))
@settings(max_examples=15, deadline=None)
def test_slope_and_intercept(seed: int, temperature: float) -> None:
    logits, labels = drawn(150, 2, seed, temperature)
    p, positive = softmax(logits, axis=1)[:, 1], labels == 1
    slope, intercept = c.calibration_line(p, positive)
    model = LogisticRegression(C=np.inf, tol=1e-9, max_iter=1000)
    expected = model.fit(logit(p)[:, None], positive).coef_[0, 0]
    assert slope == pytest.approx(expected, rel=1e-3)
    # Calibration in the large: with it as many are expected as there are.
    assert expit(logit(p) + intercept).sum() == pytest.approx(positive.sum(), rel=1e-6)


def test_a_slope_that_is_not_defined() -> None:
    p = np.array([0.1, 0.2, 0.7, 0.9])
    slope, intercept = c.calibration_line(p, p > 0.5)  # separated
    assert np.isnan(slope)
    assert np.isfinite(intercept)
    assert np.isnan(c.calibration_line(p, np.ones(4, bool))).all()
    assert np.isnan(c.calibration_line(np.full(4, 0.5), p > 0.5)[0])
    extreme = np.array([0.0, 1.0, 1.0, 0.0, 0.5, 0.5])
    found = c.calibration_line(extreme, np.array([1, 1, 0, 0, 1, 0], bool))
    assert np.isfinite(found).all()


@given(st.integers(2, 4), st.floats(0.4, 4), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_the_temperature_is_found(classes: int, temperature: float, seed: int) -> None:
    logits, labels = drawn(4000, classes, seed, temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.15)
    losses = [
        c.mean(c.nll(softmax(logits / t, axis=1), labels))
        for t in (found, 0.97 * found, 1.03 * found)
    ]
    assert losses[0] <= min(losses[1:]) + 1e-9
    # Logits of another scale have another temperature, and a shift of all classes has none.
    assert fit_temperature(2 * logits + 7, labels) == pytest.approx(2 * found, rel=1e-3)


def test_a_temperature_is_always_a_number_within_bounds() -> None:
    separated = np.array([[5.0, -5], [-5, 5]])
    assert fit_temperature(separated, np.array([0, 1])) >= TEMPERATURES[0]
    assert fit_temperature(separated, np.array([1, 0])) == pytest.approx(TEMPERATURES[1])
    assert fit_temperature(np.zeros((3, 2)), np.array([0, 1, 1])) == 1
    assert fit_temperature(np.zeros((0, 2)), np.zeros(0, int)) == 1
    assert 0.05 <= fit_temperature(np.array([[1e30, -1e30], [0, 1]]), np.array([1, 1])) <= 20.001
    with pytest.raises(ValueError, match='finite'):
        fit_temperature(np.array([[np.nan, 0]]), np.array([0]))
