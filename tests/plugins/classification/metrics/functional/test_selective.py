"""Risk against coverage, compared with counting decision by decision."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from plugins.classification.metrics.functional.selective import (
    compute_risk_curve,
    rate_confidence,
    summarize_risk,
)


def count(confidence: np.ndarray, wrong: np.ndarray) -> list[float]:
    """Risks of the k surest, the mean over all orders of equally sure decisions."""
    values = sorted(set(confidence), reverse=True)
    groups = [[bool(w) for c, w in zip(confidence, wrong) if c == v] for v in values]
    found = []
    for order in itertools.product(*(itertools.permutations(group) for group in groups)):
        flat = [w for group in order for w in group]
        found.append([sum(flat[: k + 1]) / (k + 1) for k in range(len(flat))])
    return list(np.mean(found, axis=0))


def test_the_curve_and_its_area_with_ties() -> None:
    confidence = np.array([0.9, 0.9, 0.9, 0.7, 0.6, 0.6, 0.2])
    wrong = np.array([0, 1, 0, 0, 1, 0, 1], bool)
    expected = count(confidence, wrong)
    coverage, risk = compute_risk_curve(confidence, wrong)
    assert coverage == pytest.approx(np.arange(1, 8) / 7)
    assert risk == pytest.approx(expected)
    found = summarize_risk(confidence, wrong)
    assert found['AURC'] == pytest.approx(np.mean(expected))
    assert found['risk at 100 %'] == pytest.approx(wrong.mean())
    assert found['risk at 50 %'] == pytest.approx(expected[3])  # ceil(3.5) decisions
    assert found['risk at 80 %'] == pytest.approx(expected[5])


def test_resamples_are_those_of_repeated_decisions() -> None:
    generator = np.random.default_rng(0)
    confidence, wrong = generator.random(30).round(1), generator.random(30) < 0.3
    weights = generator.multinomial(30, np.full(30, 1 / 30), 20).astype(float)
    weights[0, :5] += 7  # patients have other numbers of images
    found = summarize_risk(confidence, wrong, weights)
    for row, times in enumerate(weights.astype(int)):
        own = summarize_risk(confidence.repeat(times), wrong.repeat(times))
        for name, value in own.items():
            assert found[name][row] == pytest.approx(value)


def test_confidence_of_a_threshold_is_least_at_the_threshold() -> None:
    p = np.array([[0.9, 0.1], [0.7, 0.3], [0.69, 0.31], [0.2, 0.8], [0.0, 1.0]])
    decided = np.array([0, 1, 1, 1, 1])
    found = rate_confidence(p, decided, 1, 0.3)
    assert found == pytest.approx([2 / 3, 0, 0.01 / 0.7, 0.5 / 0.7, 1])
    assert rate_confidence(p, decided) == pytest.approx([0.9, 0.3, 0.31, 0.8, 1.0])
    # With 0.5 the order is that of the highest probability.
    half = rate_confidence(p, (p[:, 1] >= 0.5).astype(int), 1, None)
    assert list(np.argsort(half)) == list(np.argsort(p.max(1)))


def test_nothing_is_not_defined() -> None:
    assert np.isnan(summarize_risk(np.zeros(0), np.zeros(0, bool))['AURC'])
