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


@pytest.mark.parametrize(
    ('n', 'aim', 'limit', 'classes_in_sets'),
    [(57, 0.9, 0.26425008, 414), (57, 0.8, 0.3962693, 321), (41, 0.7, 0.41621194, 311)],
)
def test_sets_are_those_of_mapie(n: int, aim: float, limit: float, classes_in_sets: int) -> None:
    # MAPIE 1.6.0, SplitConformalClassifier(conformity_score='lac', prefit=True) on these numbers;
    # all 300 sets were equal.
    limits, _ = fit_limits(*draw(n, np.random.default_rng(0)), aim)
    assert limits == pytest.approx([limit] * 3, abs=1e-7)
    p, _ = draw(300, np.random.default_rng(7))
    assert (p >= limits).sum() == classes_in_sets


def test_images_of_a_patient_share_the_weight_of_one() -> None:
    p, labels = draw(40, np.random.default_rng(3))
    alone = fit_limits(p, labels, 0.8)
    # Copies of all images of some patients change nothing, in any order.
    repeats = np.array([1, 5, 2, 9] * 10)
    order = np.random.default_rng(4).permutation(repeats.sum())
    again = np.repeat(np.arange(40), repeats)[order]
    shared = fit_limits(p[again], labels[again], 0.8, patients=again)
    assert np.array_equal(alone[0], shared[0]) and np.array_equal(shared[1], [40] * 3)
    by_class = fit_limits(p[again], labels[again], 0.8, 'class', again)[1]
    assert np.array_equal(by_class, np.bincount(labels, minlength=3))


def test_an_image_of_a_new_patient_is_covered_where_many_images_are_easy() -> None:
    generator, aim, patients = np.random.default_rng(5), 0.8, 40
    covered = {'patients': [], 'images': []}
    for _ in range(300):
        # Half of the patients have 12 images that are easy, the others one that is hard.
        images = generator.choice([1, 12], patients)
        owner = np.repeat(np.arange(patients), images)
        own = np.where(images[owner] > 1, 0.6, 0.0) + 0.4 * generator.random(len(owner))
        p = np.column_stack([own, 1 - own])
        labels = np.zeros(len(own), int)
        new = np.where(generator.random(500) < 0.5, 0.6, 0.0) + 0.4 * generator.random(500)
        for name, whose in (('patients', owner), ('images', None)):
            limits, _ = fit_limits(p, labels, aim, patients=whose)
            covered[name].append((new >= limits[0]).mean())
    assert aim - 0.01 < np.mean(covered['patients']) < aim + 2 / (patients + 1)
    assert np.mean(covered['images']) < 0.6
