"""ClinicalMetrics: its values, names and rows, missing labels, patients, and what is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from plugins.classification.metrics.clinical_metrics import ClinicalMetrics
from plugins.classification.metrics.named_metrics import MetricValues, expand_names
from plugins.classification.metrics.predictions import read_rows
from plugins.classification.tasks import Task
from toolkit.commands.run.test import format_metrics
from toolkit.engine.evaluator import collect_directions, list_main_metrics
from toolkit.errors import DataError, ToolkitError

TASKS = {
    'pathology': Task(('benign', 'malignant'), 'malignant'),
    'kind': Task(('solid', 'mixed', 'cystic')),
}


def measured(
    metric: ClinicalMetrics, n: int = 60, seed: int = 0, missing: int = 0, labels: Any = None
) -> tuple[list[dict[str, Any]], np.ndarray, np.ndarray]:
    """Rows of random predictions, with their labels (N,) and probabilities (N, K)."""
    name, classes = metric.task_name, len(metric.task.classes)
    generator = torch.Generator().manual_seed(seed)
    if labels is None:
        labels = torch.randint(classes, (n,), generator=generator)
    labels = torch.as_tensor(labels)
    n = len(labels)
    logits = torch.randn(n, classes, generator=generator) + 1.5 * torch.eye(classes)[labels]
    probabilities = logits.softmax(1)
    if missing:
        labels = torch.where(torch.arange(n) % missing == 0, -1, labels)
    outputs = {
        'logits': {name: logits},
        'probabilities': {name: probabilities},
        'decision': {name: probabilities.argmax(1)},
    }
    meta = [
        {
            'id': f'i{i}',
            'patient': f'p{i // 3}',
            'centre': 'a',
            'attributes': {'sex': 'f', 'x': '1'},
        }
        for i in range(n)
    ]
    rows = metric.measure(outputs, {'labels': {name: labels}, 'meta': meta})
    return json.loads(json.dumps(rows)), labels.numpy(), probabilities.double().numpy()


def test_values_of_a_positive_class() -> None:
    metric = ClinicalMetrics('pathology', TASKS)
    rows, labels, p = measured(metric)
    found = metric.summarize(rows)
    decided = p.argmax(1)
    assert found.keys() == metric.directions.keys()
    assert found['AUC'] == pytest.approx(sk.roc_auc_score(labels, p[:, 1]))
    assert found['AP'] == pytest.approx(sk.average_precision_score(labels, p[:, 1]))
    assert found['sensitivity'] == pytest.approx(sk.recall_score(labels, decided))
    assert found['specificity'] == pytest.approx(sk.recall_score(labels, decided, pos_label=0))
    assert found['PPV'] == pytest.approx(sk.precision_score(labels, decided))
    assert found['NPV'] == pytest.approx(sk.precision_score(labels, decided, pos_label=0))
    assert found['F1'] == pytest.approx(sk.f1_score(labels, decided))
    assert found['Brier'] == pytest.approx(sk.brier_score_loss(labels, p[:, 1]))
    assert found['NLL'] == pytest.approx(sk.log_loss(labels, p / p.sum(1, keepdims=True)))
    # The named class, whichever place it has.
    other = {'pathology': Task(('benign', 'malignant'), 'benign')}
    swapped = ClinicalMetrics('pathology', other).summarize(rows)
    assert swapped['sensitivity'] == pytest.approx(found['specificity'])
    assert swapped['AUC'] == pytest.approx(found['AUC'])


def test_values_of_several_classes() -> None:
    metric = ClinicalMetrics('kind', TASKS)
    rows, labels, p = measured(metric)
    found, decided = metric.summarize(rows), p.argmax(1)
    assert found['macro_F1'] == pytest.approx(sk.f1_score(labels, decided, average='macro'))
    expected = sk.roc_auc_score(labels, p, multi_class='ovr', average='macro')
    assert found['macro_AUC'] == pytest.approx(expected)
    expected = sk.average_precision_score(np.eye(3)[labels], p, average='macro')
    assert found['macro_AP'] == pytest.approx(expected)
    recalls = sk.recall_score(labels, decided, average=None)
    assert [found[f'sensitivity/{c}'] for c in TASKS['kind'].classes] == pytest.approx(recalls)
    assert found['recall_rarest'] == pytest.approx(recalls[np.bincount(labels).argmin()])
    named = ClinicalMetrics('kind', TASKS, values=['recall_rarest'], rarest='mixed')
    assert named.summarize(rows)['recall_rarest'] == pytest.approx(recalls[1])


def test_names_print_in_columns() -> None:
    metrics = {'kind': ClinicalMetrics('kind', TASKS, values=['macro_F1', 'F1', 'AUC/solid'])}
    directions = collect_directions(metrics)
    assert list(directions) == [
        *('kind.macro_F1', 'kind.F1/solid', 'kind.F1/mixed', 'kind.F1/cystic', 'kind.AUC/solid')
    ]
    lines = format_metrics(dict.fromkeys(directions, 0.5), directions).splitlines()
    assert lines[0].split() == ['metric', 'better', 'value', 'solid', 'mixed', 'cystic']
    assert lines[2].split() == ['kind.F1', 'higher', '0.5', '0.5', '0.5']
    assert ClinicalMetrics('kind', TASKS, values=['NLL']).directions == {'NLL': False}


def test_a_line_shows_the_main_values_of_each_task() -> None:
    metrics = {name: ClinicalMetrics(name, TASKS) for name in TASKS}
    assert list_main_metrics(metrics) == [
        *('pathology.AUC', 'pathology.sensitivity', 'pathology.specificity'),
        *('kind.macro_AUC', 'kind.macro_F1', 'kind.balanced_accuracy'),
    ]
    assert list_main_metrics({'kind': ClinicalMetrics('kind', TASKS, values=['NLL', 'ECE'])}) == [
        *('kind.NLL', 'kind.ECE'),
    ]


def test_what_has_no_label_does_not_count() -> None:
    metric = ClinicalMetrics('pathology', TASKS)
    rows, labels, p = measured(metric, missing=4)
    assert [row['label'] for row in rows].count(-1) == 15
    known = labels >= 0
    expected = sk.roc_auc_score(labels[known], p[known, 1])
    assert metric.summarize(rows)['AUC'] == pytest.approx(expected)
    assert metric.summarize([row for row in rows if row['label'] >= 0]) == metric.summarize(rows)
    none = [{**row, 'label': -1} for row in rows]
    assert all(math.isnan(value) for value in metric.summarize(none).values())
    assert all(math.isnan(value) for value in metric.summarize([]).values())


def test_rows_suffice() -> None:
    metric = ClinicalMetrics('pathology', TASKS)
    rows, labels, p = measured(metric, n=6)
    assert rows[4]['id'] == 'i4'
    assert (rows[4]['patient'], rows[4]['centre']) == ('p1', 'a')
    assert rows[4]['attributes'] == {'sex': 'f'}  # those that are wanted
    found = read_rows(rows, metric.task)
    np.testing.assert_allclose(found.probabilities, p, rtol=1e-6)
    np.testing.assert_allclose(found.uncalibrated().probabilities, p, rtol=1e-6)
    assert found.labels.tolist() == labels.tolist()
    assert found.threshold == 0.5


def test_patients() -> None:
    metric = ClinicalMetrics('pathology', TASKS, level='patient')
    rows, labels, p = measured(metric, labels=np.repeat([0, 1, 1, 0, 1, 0], 3))
    joined = p.reshape(-1, 3, 2).mean(1)
    found = metric.summarize(rows)
    assert found['AUC'] == pytest.approx(sk.roc_auc_score(labels[::3], joined[:, 1]))
    expected = sk.accuracy_score(labels[::3], joined[:, 1] >= 0.5)
    assert found['accuracy'] == pytest.approx(expected)
    # The stored threshold is that of patients too.
    moved = [{**row, 'threshold': 0.99} for row in rows]
    assert metric.summarize(moved)['specificity'] == 1
    # A patient with a positive image is positive, and a conflict is told.
    rows[0]['label'] = 1
    mixed = metric.read_predictions(rows)
    assert mixed.conflicts == ('p0',)
    assert mixed.labels[list(mixed.ids).index('p0')] == 1
    # Without a positive class it is left out.
    many = ClinicalMetrics('kind', TASKS, level='patient')
    rows = measured(many, labels=np.repeat([0, 1, 2, 0], 3))[0]
    rows[0]['label'] = 2
    left = many.read_predictions(rows)
    assert (left.conflicts, list(left.ids)) == (('p0',), ['p1', 'p2', 'p3'])


def test_a_class_without_samples_says_why() -> None:
    metric = ClinicalMetrics('kind', TASKS)
    rows = measured(metric, labels=np.repeat([0, 1], 20))[0]
    found = metric.summarize(rows)
    missing = {'macro_F1', 'macro_AUC', 'balanced_accuracy', 'recall_rarest', 'AUC/cystic'}
    assert all(math.isnan(found[name]) for name in missing)
    assert all(math.isfinite(found[name]) for name in ('accuracy', 'F1/solid', 'MCC', 'ECE'))
    scored = metric.metric_values(metric.read_predictions(rows))
    assert scored.explain_undefined('macro_F1') == 'no sample is cystic'
    assert scored.explain_undefined('sensitivity/cystic') == 'no sample is cystic'
    assert scored.explain_undefined('accuracy') == ''
    one = MetricValues(TASKS['pathology'], np.ones(3, int), np.full((3, 2), 0.5), np.ones(3, int))
    for name in expand_names(TASKS['pathology']):
        assert bool(one.explain_undefined(name)) == math.isnan(one.value(name))
    assert one.explain_undefined('AUC') == 'all samples are malignant'
    assert one.explain_undefined('NPV') == 'malignant is always decided'


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="no task 'patology'; did you mean 'pathology'"):
        ClinicalMetrics('patology', TASKS)
    with pytest.raises(ValueError, match="named 'sensitvity'; did you mean 'sensitivity'"):
        ClinicalMetrics('kind', TASKS, values=['sensitvity'])
    with pytest.raises(ValueError, match="no class 'cystc'; did you mean 'cystic'"):
        ClinicalMetrics('kind', TASKS, values=['F1/cystc'])
    with pytest.raises(ValueError, match="rarest: there is no class 'none'"):
        ClinicalMetrics('kind', TASKS, rarest='none')
    with pytest.raises(ValueError, match="level must be one of image, patient, found 'centre'"):
        ClinicalMetrics('kind', TASKS, level='centre')  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='values is empty'):
        ClinicalMetrics('kind', TASKS, values=[])
    metric = ClinicalMetrics('kind', TASKS)
    with pytest.raises(DataError, match="the logits of task 'kind', which the system does not"):
        metric.measure({'score': 1}, {'labels': {}, 'meta': []})
    nan = {'kind': torch.tensor([[float('nan'), 0, 0]])}
    outputs = {'logits': nan, 'probabilities': nan, 'decision': {'kind': torch.tensor([0])}}
    with pytest.raises(DataError, match='not finite for i7'):
        metric.measure(outputs, {'labels': {'kind': torch.tensor([0])}, 'meta': [{'id': 'i7'}]})
    rows = measured(metric, n=3)[0]
    with pytest.raises(ToolkitError, match='3 values for 2 classes'):
        read_rows(rows, TASKS['pathology'])
    with pytest.raises(ToolkitError, match='a label from -1 to 2, found 3'):
        read_rows([{**rows[0], 'label': 3}], metric.task)
    with pytest.raises(ToolkitError, match="no 'logits'"):
        read_rows([{'id': 'a', 'mse': 1.0}], metric.task)
