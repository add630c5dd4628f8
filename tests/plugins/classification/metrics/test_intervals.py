"""Intervals never say more than is known: none without width, none of too few patients."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from plugins.classification.metrics.functional.bootstrap import BootstrapSettings
from plugins.classification.metrics.functional.exact import (
    f1_interval,
    separation_interval,
    share_interval,
)
from plugins.classification.metrics.intervals import (
    MEANS,
    compute_with_intervals,
    explain_many_classes,
)
from plugins.classification.metrics.named_metrics import (
    OF_COSTS,
    OVERALL,
    PER_CLASS,
    MetricValues,
    expand_names,
)
from plugins.classification.tasks import Task

THREE = Task(('a', 'b', 'c'))
TWO = Task(('a', 'b'), 'b')
COSTS = Task(('a', 'b', 'c'), costs=((0, 1, 5), (1, 0, 1), (9, 2, 0)))


def intervals(
    task: Task, labels: Any, probabilities: Any, patients: Any = None, **changes: Any
) -> dict[str, dict[str, Any]]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=float)
    owners = np.arange(len(labels)) if patients is None else np.asarray(patients)
    values = MetricValues(task, labels, probabilities, probabilities.argmax(1))
    names = expand_names(task, [*PER_CLASS, *OVERALL, *(OF_COSTS if task.costs else ())])
    return compute_with_intervals(values, owners, names, BootstrapSettings(200, **changes))


@st.composite
def predicted(draw: st.DrawFn) -> tuple[Task, np.ndarray, np.ndarray, np.ndarray]:
    """A task, labels (N,), probabilities (N, K), often all right or all wrong, and patients."""
    task = draw(st.sampled_from([TWO, THREE, COSTS]))
    n, classes = draw(st.integers(1, 40)), len(task.classes)
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = generator.integers(0, classes, n)
    truth = np.eye(classes)[(labels + draw(st.integers(0, 1))) % classes]
    mixed = truth + draw(st.sampled_from([0.1, 1.0, 10.0])) * generator.random((n, classes))
    patients = generator.integers(0, draw(st.sampled_from([1, 3, 10, 40])), n)
    return task, labels, mixed / mixed.sum(1, keepdims=True), patients


@given(predicted(), st.booleans())
@settings(max_examples=80, deadline=None)
def test_an_interval_has_width_or_is_missing_with_a_reason(
    case: tuple[Task, np.ndarray, np.ndarray, np.ndarray], stratified: bool
) -> None:
    for name, found in intervals(*case, stratified=stratified).items():
        if found['low'] is None:
            assert found['high'] is None
            assert bool(found.get('why')) != bool(found.get('no_interval')), name
        else:
            assert found['high'] - found['low'] > 1e-9, name
            assert 'no_interval' not in found
        if 'exact' in found:
            assert found['low'] <= found['value'] <= found['high'], name
        if found.get('delong') is not None:
            assert found['delong'][1] > found['delong'][0]


def test_the_rarest_class_has_one_interval() -> None:
    labels = np.r_[np.zeros(20, int), np.ones(12, int), np.full(3, 2)]
    p = np.eye(3)[np.where(labels == 2, 0, labels)] * 0.8 + 0.1
    found = intervals(THREE, labels, p)
    rarest, own = found['recall_rarest'], found['sensitivity/c']
    assert rarest == own
    assert (own['value'], own['low'], own['exact']) == (0, 0, 3)
    assert own['high'] == pytest.approx(1 - 0.025 ** (1 / 3))  # 0.708
    # All are right about b, and none of the resamples knows otherwise.
    assert found['sensitivity/b']['low'] == pytest.approx(0.025 ** (1 / 12))
    assert found['macro_F1']['exact'] == 3
    assert found['balanced_accuracy']['high'] < 1


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_mean_over_classes_knows_no_more_than_its_classes(seed: int, right: bool) -> None:
    """One class is all right or all wrong, and the others vary."""
    labels = np.repeat([0, 1, 2], 10)
    p = np.random.default_rng(seed).random((30, 3))
    p[labels == 2] = [0.1, 0, 0.9] if right else [0.9, 0, 0.1]
    found = intervals(THREE, labels, p / p.sum(1, keepdims=True), stratified=True)
    for mean, own in MEANS.items():
        parts = [found[f'{own}/{name}'] for name in 'abc']
        fixed = [part for part in parts if 'exact' in part or 'no_interval' in part]
        record = found[mean]
        if all('exact' in part for part in fixed) and record['low'] is not None:
            assert record['low'] <= record['value'] <= record['high']
            # Its width has the share of each fixed class, at least.
            share = sum(part['high'] - part['low'] for part in fixed) / 3
            assert record['high'] - record['low'] > share
            assert bool(fixed) == ('exact' in record)
        else:
            assert 'no resample changes' in record['no_interval']
    assert 'exact' in found['balanced_accuracy']


def test_many_classes_of_which_none_is_known_are_not_certain() -> None:
    labels = np.arange(1200) % 200
    p = np.eye(200)[np.where(labels, (labels + 1) % 200, 0)]
    values = MetricValues(Task(tuple(f'c{i}' for i in range(200))), labels, p, p.argmax(1))
    names = ['macro_F1', 'balanced_accuracy']
    for found in compute_with_intervals(
        values, np.arange(1200), names, BootstrapSettings(100, stratified=True)
    ).values():
        assert found['value'] < 0.01 and found['high'] > 0.5


def test_areas_are_not_resampled_for_more_than_a_minute() -> None:
    for classes, n, resampled in ((20, 30, True), (10, 30_000, True), (20, 10_100, False)):
        p = np.broadcast_to(np.float32(1 / classes), (n, classes))
        labels = np.zeros(n, int)
        task = Task(tuple(f'c{i}' for i in range(classes)))
        why = explain_many_classes(MetricValues(task, labels, p, labels))
        assert why == '' if resampled else '200,000 samples times classes' in why


def test_an_area_of_one_patient_has_no_interval() -> None:
    generator = np.random.default_rng(0)
    p = generator.random(40)
    labels = (np.arange(40) < 4).astype(int)
    patients = np.r_[np.zeros(4, int), np.arange(1, 37)]
    found = intervals(TWO, labels, np.stack([1 - p, p], 1), patients)
    for name in ('AUC', 'AP'):
        assert 0 < found[name]['value'] < 1
        assert found[name]['low'] is None
        assert found[name]['no_interval'] == '1 patient with b, 6 are needed'
    assert found['AUC']['delong'] is None
    # If the one patient is separated, one pair of patients says how little that is.
    p = np.where(labels == 1, 0.9, 0.2)
    found = intervals(TWO, labels, np.stack([1 - p, p], 1), patients)['AUC']
    assert (found['low'], found['high'], found['exact']) == (pytest.approx(0.025), 1, 1)


def test_perfect_predictions_are_not_certain() -> None:
    labels = np.repeat([0, 1, 2], 10)
    found = intervals(THREE, labels, np.eye(3)[labels] * 0.8 + 0.1)
    for name, lowest in (
        ('accuracy', 0.025 ** (1 / 30)),
        ('sensitivity/a', 0.025 ** (1 / 10)),
        ('AUC/a', 0.025 ** (1 / 10)),
        ('balanced_accuracy', (0.025 / 3) ** (1 / 10)),
        ('macro_AUC', (0.025 / 3) ** (1 / 10)),
    ):
        assert found[name]['value'] == found[name]['high'] == 1
        assert found[name]['low'] == pytest.approx(lowest), name
    for name in ('MCC', 'kappa', 'macro_AP'):
        assert found[name]['value'] == pytest.approx(1)
        assert found[name]['no_interval'] == 'no resample changes it'


def test_patients_that_are_all_half_right() -> None:
    """Every resample has a sensitivity of 0.5, which tells nothing of its spread."""
    labels, patients = np.ones(20, int), np.arange(20) // 2
    p = np.where(np.arange(20) % 2, 0.9, 0.1)
    found = intervals(TWO, labels, np.stack([1 - p, p], 1), patients)['sensitivity']
    low, high = stats.beta(5, 6).ppf(0.025), stats.beta(6, 5).ppf(0.975)
    assert (found['low'], found['high'], found['exact']) == pytest.approx((low, high, 10))


def test_exact_intervals_by_hand() -> None:
    hits, patients = np.array([True, True, False]), np.array(['p', 'p', 'q'])
    found = share_interval(hits, patients)  # 2/3 of two patients: from 1 to 2 of them
    assert found is not None
    assert (found.low, found.high, found.trials) == (pytest.approx(1 - 0.975**0.5), 1, 2)
    assert share_interval(hits[:0], patients[:0]) is None
    own = np.array([True] * 4 + [False] * 4)
    half = f1_interval(own, own, np.arange(8))
    assert half is not None
    low = 0.025 ** (1 / 4)
    assert (half.low, half.high, half.trials) == (pytest.approx(2 * low / (1 + low)), 1, 4)
    # Pairs of patients share nobody: three who have both classes make one.
    both, owners = np.array([True, False] * 3), np.repeat([0, 1, 2], 2)
    pairs = separation_interval(1.0, both, owners)
    assert pairs is not None and pairs.trials == 1
    assert separation_interval(1.0, both[:2], owners[:2]) is None
    worst = separation_interval(0.0, own, np.arange(8))
    assert worst is not None and (worst.low, worst.high) == (0, pytest.approx(1 - low))


def test_intervals_of_separated_classes_cover_the_area() -> None:
    """An AUC of 0.9 is 1 in some samples of few patients; the interval covers it nevertheless."""
    generator = np.random.default_rng(1)
    shift = np.sqrt(2) * stats.norm.ppf(0.9)
    covered = []
    for _ in range(400):
        labels = np.repeat([0, 1], 6)
        scores = stats.norm.cdf(generator.normal(size=12) + shift * labels)
        found = intervals(TWO, labels, np.stack([1 - scores, scores], 1))['AUC']
        if found['value'] == 1:
            covered.append(found['low'] <= 0.9 <= found['high'])
    assert len(covered) > 30
    assert np.mean(covered) == 1


def test_memory_is_linear_in_the_classes_and_areas_of_many_have_a_reason() -> None:
    classes, n = 150, 450
    task = Task(tuple(f'c{i}' for i in range(classes)))
    generator = np.random.default_rng(0)
    labels = np.arange(n) % classes
    p = generator.random((n, classes)) + 0.97 * np.eye(classes)[labels]
    values = MetricValues(task, labels, p / p.sum(1, keepdims=True), p.argmax(1))
    names = ['accuracy', 'macro_F1', 'kappa_quadratic', 'sensitivity/c0', 'macro_AUC', 'AUC/c0']
    tracemalloc.start()
    found = compute_with_intervals(values, np.arange(n), names, BootstrapSettings(100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6  # a matrix of classes for each sample would be 80 MB
    assert found['accuracy']['low'] < found['accuracy']['value'] < found['accuracy']['high']
    for name in ('macro_AUC', 'AUC/c0'):
        assert found[name]['value'] > 0.9 and found[name]['low'] is None
        assert found[name]['no_interval'] == 'areas of more than 100 classes are not resampled'
