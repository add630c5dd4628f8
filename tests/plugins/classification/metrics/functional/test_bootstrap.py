"""Resamples hold whole patients, and intervals cover what they are to cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from plugins.classification.metrics.functional import bootstrap, patients
from plugins.classification.metrics.functional.confusion import accuracy, count


def whole(whose: np.ndarray, **given_: object) -> np.ndarray:
    return np.concatenate(list(bootstrap.draw_weights(whose, **given_)))  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=20), st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_patient_is_drawn_with_all_images(whose: list[int], stratified: bool) -> None:
    names = np.array([f'p{i}' for i in whose], dtype=object)
    strata = np.array(whose) % 3 if stratified else None
    weights = whole(names, resamples=50, strata=strata)
    assert weights.shape == (50, len(whose))
    first = np.unique(names, return_index=True)[1]
    for name in set(names):
        of_patient = weights[:, names == name]
        assert (of_patient == of_patient[:, :1]).all()
    assert (weights[:, first].sum(1) == len(first)).all()
    if stratified:
        for s in range(3):
            inside = first[np.array(whose)[first] % 3 == s]
            assert (weights[:, inside].sum(1) == len(inside)).all()
    assert (weights == whole(names, resamples=50, strata=strata)).all()  # the seed's


def test_parts_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whose = np.arange(30) // 2
    at_once = whole(whose, resamples=40)
    monkeypatch.setattr(bootstrap, '_MAX_WEIGHTS', 30 * 7)
    parts = list(bootstrap.draw_weights(whose, 40))
    assert [len(part) for part in parts] == [7, 7, 7, 7, 7, 5]
    np.testing.assert_array_equal(np.concatenate(parts), at_once)


def test_the_interval_of_an_accuracy_is_that_of_its_binomial() -> None:
    labels = np.zeros(400, dtype=int)
    decisions = (np.arange(400) >= 320).astype(int)

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {'accuracy': accuracy(count(labels, decisions, 2, weights))}

    alone = bootstrap.percentile_interval(
        bootstrap.score_resamples(score, bootstrap.draw_weights(np.arange(400)))['accuracy']
    )
    low, high = stats.binom(400, 0.8).ppf([0.025, 0.975]) / 400
    assert (alone.low, alone.high) == pytest.approx((low, high), abs=0.005)
    # Patients with four equal images know four times less.
    joined = bootstrap.percentile_interval(
        bootstrap.score_resamples(score, bootstrap.draw_weights(np.arange(400) // 4))['accuracy']
    )
    assert joined.high - joined.low == pytest.approx(2 * (alone.high - alone.low), rel=0.1)


def test_resamples_without_a_value() -> None:
    found = bootstrap.percentile_interval(np.r_[np.full(30, np.nan), np.linspace(0, 1, 70)])
    assert found.undefined == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((0.025, 0.975))
    assert bootstrap.percentile_interval(np.r_[np.full(60, np.nan), np.ones(40)]).low is None
    nothing = bootstrap.paired_difference([np.full(9, np.nan)], [np.ones(9)])
    assert (nothing.interval.low, nothing.p) == (None, None)


def test_paired_differences() -> None:
    generator = np.random.default_rng(0)
    a, noise = generator.normal(size=2000), 0.1 * generator.normal(size=2000)
    clear = bootstrap.paired_difference([a + 1], [a + noise])
    assert clear.p == pytest.approx(2 / 2001)
    assert clear.interval.low > 0.7
    assert bootstrap.paired_difference([a], [a]).p == 1
    open_ = bootstrap.paired_difference([a + noise], [a])
    assert open_.p > 0.5
    # Runs of a side are averaged before sides are compared.
    mean = bootstrap.paired_difference([a + 1, a + 3], [a])
    assert (mean.interval.low, mean.interval.high) == pytest.approx((2, 2))


def test_patients_are_joined() -> None:
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]])
    whose = np.array([0, 0, 1])
    np.testing.assert_allclose(patients.join_probabilities(p, whose)[0], [0.65, 0.35])
    np.testing.assert_allclose(patients.join_probabilities(p, whose, 'max', 1)[0], [0.4, 0.6])
    found = patients.join_probabilities(p, whose, 'noisy_or', 1)
    np.testing.assert_allclose(found, [[0.9 * 0.4, 1 - 0.9 * 0.4], [0.8, 0.2]])
    # Without a positive class, each is taken and the sum is 1 again.
    three = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    for how in ('mean', 'max', 'noisy_or'):
        joined = patients.join_probabilities(three, np.zeros(2, int), how)
        assert joined.sum() == pytest.approx(1)
    np.testing.assert_allclose(
        patients.join_probabilities(three, np.zeros(2, int), 'max'), np.array([[6, 7, 1]]) / 14
    )
    with pytest.raises(ValueError, match='mean, max, noisy_or'):
        patients.join_probabilities(three, np.zeros(2, int), 'median')  # type: ignore[arg-type]


def test_labels_of_patients() -> None:
    labels, whose = np.array([0, 1, 1, 1, 0]), np.array([0, 0, 1, 1, 2])
    found, conflict = patients.join_labels(labels, whose, positive=1)
    assert (found.tolist(), conflict.tolist()) == ([1, 1, 0], [True, False, False])
    assert patients.join_labels(labels, whose, positive=0)[0].tolist() == [0, 1, 0]
    assert patients.join_labels(labels, whose)[0].tolist() == [-1, 1, 0]
