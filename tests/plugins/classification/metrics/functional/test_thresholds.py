"""Thresholds do what their rule says, and divide the samples whatever is rounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from plugins.classification.metrics.functional.thresholds import choose_threshold


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(2, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([4, 20, 10_000]))
    positive = np.r_[True, False, generator.random(n - 2) < 0.4]
    return (generator.integers(0, levels, n) / levels).astype(np.float32), positive


def rates(p: np.ndarray, positive: np.ndarray, cut: float) -> tuple[float, float]:
    called = p >= np.float32(cut)
    return float(called[positive].mean()), float((~called[~positive]).mean())


@given(scored())
@settings(max_examples=30, deadline=None)
def test_youden_is_the_best_of_the_roc_curve(case: tuple[np.ndarray, np.ndarray]) -> None:
    p, positive = case
    fpr, tpr, _ = sk.roc_curve(positive, p, drop_intermediate=False)
    cut = choose_threshold(p, positive, 'youden')
    assert sum(rates(p, positive, cut)) - 1 == pytest.approx((tpr - fpr).max())


@given(scored())
@settings(max_examples=30, deadline=None)
def test_f1_is_the_best_of_the_curve(case: tuple[np.ndarray, np.ndarray]) -> None:
    p, positive = case
    precision, recall, _ = sk.precision_recall_curve(positive, p)
    best = (2 * precision * recall / np.maximum(precision + recall, 1e-12)).max()
    called = p >= np.float32(choose_threshold(p, positive, 'F1'))
    assert sk.f1_score(positive, called) == pytest.approx(best)


@given(scored(), st.floats(0.1, 1))
@settings(max_examples=30, deadline=None)
def test_at_least(case: tuple[np.ndarray, np.ndarray], at_least: float) -> None:
    p, positive = case
    fpr, tpr, _ = sk.roc_curve(positive, p, drop_intermediate=False)
    sensitivity, specificity = rates(
        p, positive, choose_threshold(p, positive, 'sensitivity', at_least)
    )
    assert sensitivity >= at_least
    assert specificity == pytest.approx(1 - fpr[tpr >= at_least].min())
    sensitivity, specificity = rates(
        p, positive, choose_threshold(p, positive, 'specificity', at_least)
    )
    assert specificity >= at_least
    assert sensitivity == pytest.approx(tpr[1 - fpr >= at_least].max())


def test_neighbours_in_single_precision_are_divided() -> None:
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    p, positive = np.array([low, high]), np.array([False, True])
    cut = choose_threshold(p, positive)
    assert rates(p, positive, cut) == (1, 1)
    assert np.float32(cut) == cut


def test_equally_good_ones() -> None:
    p = np.array([0.1, 0.2, 0.8, 0.9], dtype=np.float32)
    assert choose_threshold(p, p > 0.5) == pytest.approx(0.5)
    assert choose_threshold(p, p > 0.5, 'half') == 0.5


def test_what_is_refused() -> None:
    p = np.array([1.0, 1.0], dtype=np.float32)
    with pytest.raises(ValueError, match='both classes'):
        choose_threshold(p, np.array([True, True]))
    with pytest.raises(ValueError, match='no threshold reaches a specificity of 0.9'):
        choose_threshold(p, np.array([True, False]), 'specificity')
    with pytest.raises(ValueError, match="rule must be one of youden.*'best'"):
        choose_threshold(p, np.array([True, False]), 'best')  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='at_least'):
        choose_threshold(p, np.array([True, False]), 'sensitivity', 1.5)
