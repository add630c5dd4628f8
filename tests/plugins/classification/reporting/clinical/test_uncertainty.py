"""Prediction sets and selective prediction from validation rows to the clinical report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from plugins.classification.calibration import Calibration
from plugins.classification.metrics.calibration_hook import Calibrate
from plugins.classification.metrics.clinical_metrics import ClinicalMetrics
from plugins.classification.metrics.functional.bootstrap import BootstrapSettings
from plugins.classification.metrics.predictions import read_rows
from plugins.classification.reporting.clinical.clinical_summary import (
    ReportSettings,
    summarize_task,
)
from plugins.classification.reporting.clinical.clinical_text import to_csv, to_markdown
from plugins.classification.reporting.clinical.uncertainty_summary import describe_calibration
from plugins.classification.tasks import Task
from toolkit.errors import ToolkitError

CLASSES = ('common', 'other', 'rare')


def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.choice(3, n, p=[0.6, 0.3, 0.1])
    return generator.normal(size=(n, 3)) + 1.5 * np.eye(3)[labels], labels


def make_rows(n: int, seed: int, calibration: Calibration | None = None) -> list[dict[str, Any]]:
    logits, labels = draw(n, seed)
    p = torch.softmax(torch.tensor(logits, dtype=torch.float32), 1)
    sets = None
    if calibration is not None:
        p = calibration.probabilities('kind', torch.tensor(logits, dtype=torch.float32))
        sets = calibration.sets('kind', p)
    rows = []
    for i, label in enumerate(labels):
        row = {'id': f'i{i}', 'label': int(label), 'logits': logits[i].tolist()}
        row |= {'probabilities': p[i].tolist(), 'decision': int(p[i].argmax())}
        if sets is not None:
            row['set'] = [k for k in range(3) if sets[i, k]]
        rows.append(row)
    return rows


def calibrate(task: Task, n: int = 90) -> tuple[Calibration, list[str]]:
    choice, warnings = Calibrate().fit(read_rows(make_rows(n, 0), task))
    calibration = Calibration({'kind': task})
    calibration.store('kind', choice)
    return calibration, warnings


@pytest.mark.parametrize('of', ['all', 'class'])
def test_sets_of_a_test(of: Any) -> None:
    task = Task(CLASSES, coverage=0.8, coverage_of=of)
    calibration, warnings = calibrate(task)
    assert not warnings
    # The limits are of the validation's calibrated probabilities, in the system's precision.
    logits, labels = draw(90, 0)
    p = calibration.probabilities('kind', torch.tensor(logits, dtype=torch.float32)).numpy()
    choice = calibration.choice('kind')
    own = [p[labels == k, k] if of == 'class' else p[range(90), labels] for k in range(3)]
    ranks = [-(-8 * (len(x) + 1) // 10) for x in own]
    assert choice.limits == tuple(np.sort(x)[::-1][r - 1] for x, r in zip(own, ranks))
    assert choice.limit_samples == tuple(map(len, own))
    rows = make_rows(120, 1, calibration)
    metric = ClinicalMetrics('kind', {'kind': task})
    found = summarize_task(metric, rows, ReportSettings(BootstrapSettings(200)))
    sets = found['prediction_sets']
    covered = np.array([row['label'] in row['set'] for row in rows])
    expected = binomtest(int(covered.sum()), 120).proportion_ci()
    assert sets['coverage']['value'] == covered.mean()
    assert (sets['coverage']['low'], sets['coverage']['high']) == pytest.approx(tuple(expected))
    of_rare = covered[[row['label'] == 2 for row in rows]]
    assert sets['by_class']['rare']['value'] == of_rare.mean()
    assert sets['by_class']['rare']['images'] == len(of_rare)
    assert sets['size']['value'] == np.mean([len(row['set']) for row in rows])
    record = make_record(found, task, calibration)
    text = to_markdown(record)
    assert 'Prediction sets' in text and f'{covered.mean():.3f} [{expected.low:.3f}' in text
    assert ('coverage_of: class' in text) == (of == 'all')
    assert 'kind,image,prediction sets,,120,120,coverage,' in to_csv(record)


def make_record(found: dict[str, Any], task: Task, calibration: Calibration) -> dict[str, Any]:
    choice = calibration.choice('kind')
    made = describe_calibration(task, choice.limits, choice.limit_samples)
    point = {**choice._asdict(), 'costs': None, 'chosen': 'on validation', 'sets_calibration': made}
    return {
        'note': 'Research',
        'interval': '95 %',
        'resamples': 200,
        'seed': 0,
        'stratified': False,
        'tasks': {'kind': {**point, **found}},
    }


def test_coverage_counts_each_patient_once() -> None:
    task = Task(CLASSES, coverage=0.8)
    calibration, _ = calibrate(task)
    rows = make_rows(60, 1, calibration)
    # A patient with 41 images beside 19 with one each.
    rows = [row | {'patient': str(max(i - 40, 0))} for i, row in enumerate(rows)]
    metric = ClinicalMetrics('kind', {'kind': task})
    found = summarize_task(metric, rows, ReportSettings(BootstrapSettings(100)))
    covered = np.array([row['label'] in row['set'] for row in rows])
    shares = [covered[:41].mean(), *covered[41:]]
    sets = found['prediction_sets']
    assert sets['coverage']['value'] == pytest.approx(np.mean(shares))
    assert sets['coverage']['value'] != pytest.approx(covered.mean())
    assert sets['coverage']['exact'] == 20


def test_few_validation_images_are_told_of() -> None:
    task = Task(CLASSES, coverage=0.9, coverage_of='class')
    calibration, warnings = calibrate(task, 50)
    assert len(warnings) == 1
    assert 'rare patients in validation, 9 needed' in warnings[0]
    assert calibration.choice('kind').limits[2] == 0
    metric = ClinicalMetrics('kind', {'kind': task})
    found = summarize_task(
        metric, make_rows(60, 1, calibration), ReportSettings(BootstrapSettings(100))
    )
    assert found['prediction_sets']['by_class']['rare']['value'] == 1
    text = to_markdown(make_record(found, task, calibration))
    assert 'Too few validation patients for a limit (9 needed): rare.' in text


def test_a_task_without_coverage_has_no_sets_and_the_old_state() -> None:
    task = Task(CLASSES)
    calibration, _ = calibrate(task)
    assert not [name for name in calibration.state_dict() if 'limit' in name]
    assert calibration.sets('kind', torch.ones(2, 3)) is None
    metric = ClinicalMetrics('kind', {'kind': task})
    found = summarize_task(metric, make_rows(60, 1), ReportSettings(BootstrapSettings(100)))
    assert found['prediction_sets'] is None
    errors = np.array([row['label'] != row['decision'] for row in make_rows(60, 1)])
    confidence = np.array([max(row['probabilities']) for row in make_rows(60, 1)])
    ranked = errors[np.argsort(-confidence)]
    risk = found['selective']['values']
    assert risk['AURC']['value'] == pytest.approx(np.mean(ranked.cumsum() / np.arange(1, 61)))
    assert risk['risk at 50 %']['value'] == pytest.approx(ranked[:30].mean())
    assert risk['AURC']['low'] < risk['AURC']['value'] < risk['AURC']['high']


@pytest.mark.parametrize('numbers', [[3], [-1], ['x']])
def test_damaged_sets_are_refused(numbers: list[Any]) -> None:
    rows = make_rows(3, 0)
    for row in rows:
        row['set'] = numbers
    with pytest.raises(ToolkitError, match='test the run again'):
        read_rows(rows, Task(CLASSES, coverage=0.9))


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match='coverage must be above 0 and below 1, found 90'):
        Task(CLASSES, coverage=90)
    with pytest.raises(ValueError, match='coverage_of must be all or class'):
        Task(CLASSES, coverage=0.9, coverage_of='each')  # type: ignore[arg-type]
