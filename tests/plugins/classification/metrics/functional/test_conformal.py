"""Conformal sets: ranks by counting, coverage over repeated draws, and limits of classes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from plugins.classification.metrics.functional.conformal import (
    coverage_of_calibration,
    fewest_samples,
    fit_limits,
    rank_of_limit,
)


def draw(n: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    prior = np.array([0.6, 0.3, 0.1])
    labels = generator.choice(3, n, p=prior)
    logits = generator.normal(size=(n, 3)) + 1.2 * np.eye(3)[labels] + np.log(prior)
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True), labels


def test_the_rank_is_exact_whatever_the_floats() -> None:
    for percent in range(1, 100):
        for n in range(60):
            product = (n + 1) * Fraction(percent, 100)
            expected = -(-product.numerator // product.denominator)
            assert rank_of_limit(n, percent / 100) == expected
        needed = fewest_samples(percent / 100)
        assert rank_of_limit(needed, percent / 100) <= needed
        assert needed == 0 or rank_of_limit(needed - 1, percent / 100) > needed - 1


@pytest.mark.parametrize('of', ['all', 'class'])
def test_limits_are_those_of_sorting_by_hand(of: str) -> None:
    p, labels = draw(57, np.random.default_rng(0))
    limits, samples = fit_limits(p, labels, 0.9, of)
    for k in range(3):
        own = sorted((p[i, y] for i, y in enumerate(labels) if of == 'all' or y == k), reverse=True)
        rank = -(-9 * (len(own) + 1) // 10)
        assert samples[k] == len(own)
        assert limits[k] == (own[rank - 1] if rank <= len(own) else 0)
    assert (limits > 0).any()


def test_too_few_items_put_a_class_into_every_set() -> None:
    p, labels = draw(8, np.random.default_rng(1))
    assert not fit_limits(p, labels, 0.9)[0].any()
    assert coverage_of_calibration(8, 0.9) is None
    assert fewest_samples(0.9) == 9 and fewest_samples(0.95) == 19


@pytest.mark.parametrize('of', ['all', 'class'])
def test_new_items_are_covered_as_often_as_promised(of: str) -> None:
    generator, aim, n = np.random.default_rng(2), 0.8, 60
    covered, by_class = [], []
    for _ in range(400):
        limits, _ = fit_limits(*draw(n, generator), aim, of)
        p, labels = draw(500, generator)
        hits = p[np.arange(500), labels] >= limits[labels]
        covered.append(hits.mean())
        by_class.append([hits[labels == k].mean() for k in range(3)])
    # Between the aim and the aim + 1 / (n + 1), for distinct scores.
    if of == 'all':
        assert aim - 0.01 < np.mean(covered) < aim + 1 / (n + 1) + 0.01
        low, high = coverage_of_calibration(n, aim)
        inside = np.mean([low - 0.02 < c < high + 0.02 for c in covered])
        assert inside > 0.93
        assert np.std(covered) == pytest.approx((high - low) / 3.92, rel=0.25)
        assert np.mean(by_class, axis=0)[2] < aim - 0.05  # the rare class is covered less
    else:
        assert np.mean(by_class, axis=0).min() > aim - 0.02
