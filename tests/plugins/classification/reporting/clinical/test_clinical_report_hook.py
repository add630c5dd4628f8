"""The clinical report of a real test: its files, numbers, subgroups, and what is not defined."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from plugins.classification.metrics.clinical_metrics import ClinicalMetrics
from plugins.classification.metrics.functional.bootstrap import BootstrapSettings
from plugins.classification.metrics.predictions import read_rows
from plugins.classification.reporting.clinical.clinical_report_hook import ClinicalReport
from plugins.classification.reporting.clinical.clinical_summary import (
    ReportSettings,
    find_group,
    summarize_task,
)
from plugins.classification.reporting.clinical.clinical_text import format_main_lines, to_markdown
from plugins.classification.reporting.clinical.combinations import find_contradictions
from plugins.classification.tasks import Task
from tests.support import patients
from toolkit.errors import ToolkitError
from toolkit.interfaces import Metric
from toolkit.registry import METRICS
from toolkit.run.test import test as run_test
from toolkit.run.train import train

HOOKS = {'calibrate': {'type': 'Calibrate', 'threshold': 'sensitivity', 'at_least': 0.8}}
REPORT = {'report': {'type': 'ClinicalReport', 'resamples': 300}}


@pytest.fixture(scope='module', autouse=True)
def parts() -> Iterator[None]:
    with patients.parts():
        yield


@pytest.fixture(scope='module')
def tested(parts: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained and tested with the report."""
    folder = tmp_path_factory.mktemp('clinical') / 'run'
    config = patients.run(custom_hooks={**HOOKS, **REPORT})
    train(config, folder)
    run_test(config, folder, folder / 'checkpoints' / 'best.pth')
    return folder


def test_values_are_those_of_the_test(tested: Path) -> None:
    metrics = json.loads((tested / 'metrics.json').read_text())['metrics']
    record = json.loads((tested / 'clinical.json').read_text())
    assert record['note'] == 'Research use only, not a medical device.'
    for name, task in record['tasks'].items():
        for value, found in task['values'].items():
            assert found['value'] == pytest.approx(metrics[f'{name}.{value}'])
            if found['low'] is not None:
                assert found['low'] <= found['value'] <= found['high']
        counts = task['counts']
        assert (counts['all_images'], counts['images'], counts['missing_labels']) == (60, 51, 9)
        assert np.sum(task['confusion']) == 51
        assert task['patients']['patients'] == counts['patients'] == 30
        assert sum(c['images'] for c in counts['by_class'].values()) == 51


def test_the_operating_point_says_where_it_is_from(tested: Path) -> None:
    task = json.loads((tested / 'clinical.json').read_text())['tasks']['pathology']
    best = torch.load(tested / 'checkpoints' / 'best.pth', weights_only=True)['state_dict']
    assert task['threshold'] == float(best['calibration.threshold_pathology'])
    assert task['temperature'] == float(best['calibration.temperature_pathology'])
    assert task['chosen'] == (
        'on validation data (sensitivity at least 0.8), stored in the checkpoint'
    )
    found = task['calibration']
    # The temperature is a factor of the log odds, so that it is one of their slope.
    expected = found['before']['slope']['value'] * task['temperature']
    assert found['after']['slope']['value'] == pytest.approx(expected, rel=1e-3)


def test_subgroups_add_up(tested: Path) -> None:
    task = json.loads((tested / 'clinical.json').read_text())['tasks']['pathology']
    assert list(task['subgroups']) == ['centre', 'sex', 'age']
    assert list(task['subgroups']['age']) == ['below 40', '40 to below 60', '60 and above']
    for groups in task['subgroups'].values():
        assert sum(group['images'] for group in groups.values()) == 51
        assert sum(group['patients'] for group in groups.values()) == 30


def test_text(tested: Path) -> None:
    text = (tested / 'clinical.md').read_text()
    assert '**Research use only, not a medical device.**' in text
    for heading in ('## pathology', '### By patient', '### Calibration', '### By centre'):
        assert heading in text
    widths = [line.count('|') for line in text.splitlines() if line.startswith('|')]
    assert min(widths) >= 3
    rows = list(csv.DictReader((tested / 'clinical.csv').open()))
    by_level = [row for row in rows if row['name'] == 'AUC' and row['level'] == 'patient']
    assert len(by_level) == 1
    assert float(by_level[0]['low']) <= float(by_level[0]['value'])
    places = {'', 'calibration', 'selective prediction', 'centre', 'sex', 'age'}
    assert {row['attribute'] for row in rows} == places


def test_without_a_choice_the_defaults_are_named(
    tested: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(tested / 'checkpoints' / 'best.pth', weights_only=True)
    for name in content['state_dict']:
        if name.startswith('calibration.'):
            start = 0.5 if 'threshold' in name else 0.0 if 'log_prior' in name else 1.0
            content['state_dict'][name].fill_(start)
    torch.save(content, tmp_path / 'plain.pth')
    run_test(patients.run(custom_hooks=REPORT), tmp_path / 'run', tmp_path / 'plain.pth')
    task = json.loads((tmp_path / 'run' / 'clinical.json').read_text())['tasks']['pathology']
    assert (task['temperature'], task['threshold']) == (1, 0.5)
    assert task['chosen'] == 'the defaults; nothing was chosen on validation data'
    said = capsys.readouterr().out
    assert 'pathology: 51 images of 30 patients, 9 more without a label' in said
    assert 'at threshold 0.500' in said
    assert 'Research use only' in said


def summary(rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    tasks = {'t': Task(('a', 'b'), 'b')}
    settings = ReportSettings(BootstrapSettings(200, **changes))
    return summarize_task(ClinicalMetrics('t', tasks), rows, settings)


def row(i: int, label: int, p: float, **more: Any) -> dict[str, Any]:
    logits = [0.0, math.log(p / (1 - p))]
    known = {'patient': f'p{i}', 'centre': '', 'attributes': {}, 'threshold': 0.5}
    given = {'label': label, 'logits': logits, 'probabilities': [1 - p, p]}
    return {'id': f'i{i}', **known, **given, 'decision': int(p >= 0.5), **more}


def test_what_is_not_defined_says_why() -> None:
    found = summary([row(i, 1, 0.3 + 0.05 * i, centre='x|y') for i in range(8)])
    assert found['values']['AUC'] == {
        'value': None,
        'low': None,
        'high': None,
        'undefined': None,
        'why': 'all samples are b',
    }
    assert found['values']['sensitivity']['value'] == 0.5
    assert found['patients'] is None  # each has one image
    json.dumps(found, allow_nan=False)
    # All of the four that are called positive are.
    assert found['values']['PPV']['exact'] == 4
    assert found['values']['PPV']['low'] == pytest.approx(0.025 ** (1 / 4))
    assert found['values']['PPV']['high'] == 1
    empty = summary([row(0, -1, 0.5)])
    assert empty['values']['accuracy']['why'] == 'nothing has a label'
    texts = to_markdown(
        {
            'note': 'n',
            'interval': 'i',
            'resamples': 1,
            'seed': 0,
            'stratified': False,
            'tasks': {
                'u': {'temperature': 1.0, 'threshold': 0.5, 'chosen': 'c', **found},
                'v': {'temperature': None, 'threshold': None, 'chosen': 'c', **empty},
            },
        }
    )
    assert 'Not defined: AUC (all samples are b)' in texts
    assert 'x\\|y' in texts


def test_conflicts_and_rare_values() -> None:
    rows = [row(i, i % 2, 0.2 + 0.6 * (i % 2), patient=f'p{i // 2}') for i in range(6)]
    rows.append(row(9, 0, 0.1))
    found = summary(rows)['patients']
    assert found['conflicting_labels'] == ['p0', 'p1', 'p2']
    assert found['by_class']['b'] == {'images': 3, 'patients': 3}
    # Of two patients, one of each class, half of the resamples have one class only.
    pair = summary([row(0, 0, 0.2), row(1, 1, 0.7)])['values']['AUC']
    assert pair['undefined'] == pytest.approx(0.5, abs=0.12)
    both = summary([row(0, 0, 0.2), row(1, 1, 0.7)], stratified=True)['values']['AUC']
    assert both['undefined'] == 0


def test_groups() -> None:
    limits = [40, 60]
    assert [find_group(text, limits) for text in ('39', '040Y', '59.5', '60', 'old')] == [
        *('below 40', '40 to below 60', '40 to below 60', '60 and above', 'unknown')
    ]
    assert find_group('GE', None) == 'GE'
    many = [row(i, i % 2, 0.4, centre=f'c{i // 2}') for i in range(60)]
    groups = summary(many)['subgroups']['centre']
    assert len(groups) == 21
    assert groups['10 others']['images'] == 20


def test_what_is_refused(tmp_path: Path, tested: Path) -> None:
    with pytest.raises(ValueError, match='at least 100'):
        ClinicalReport(resamples=10)
    with pytest.raises(ValueError, match='rising limits'):
        ClinicalReport(bands={'age': [60, 40]})
    evaluator = {'metrics': {'n': {'type': 'MeanLogit'}}}

    class MeanLogit(Metric):
        directions = {'value': True}

        def measure(self, outputs: Any, batch: Any) -> list[dict[str, Any]]:
            return [{'value': float(x[0])} for x in outputs['logits']['kind']]

    METRICS.register(MeanLogit)
    try:
        with pytest.raises(ToolkitError, match='test_evaluator has none'):
            run_test(
                patients.run(custom_hooks=REPORT, test_evaluator=evaluator),
                tmp_path / 'run',
                tested / 'checkpoints' / 'best.pth',
            )
    finally:
        del METRICS._module_dict['MeanLogit']


@pytest.mark.slow
def test_two_processes_are_one_run(tested: Path, tmp_path: Path) -> None:
    (tmp_path / 'run.yaml').write_text(
        yaml.safe_dump(patients.tree(custom_hooks={**HOOKS, **REPORT}))
    )
    best = str(tested / 'checkpoints' / 'best.pth')
    for world in (1, 2):
        done = subprocess.run(
            [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node', str(world)]
            + ['-m', 'toolkit', 'test', str(tmp_path / 'run.yaml'), '--checkpoint', best]
            + ['--work-dir', str(tmp_path / str(world))],
            capture_output=True,
            text=True,
            timeout=180,
            env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[5])},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count('more in') == 1
    one, two = (json.loads((tmp_path / w / 'clinical.json').read_text()) for w in '12')
    assert one == two


def test_decisions_that_contradict_each_other_are_counted() -> None:
    def predictions(classes: tuple[str, ...], labels: list[int], decisions: list[int]) -> Any:
        rows = [
            {
                'id': f'i{i}',
                'label': label,
                'logits': [0.0] * len(classes),
                'probabilities': [1 / len(classes)] * len(classes),
                'decision': decision,
            }
            for i, (label, decision) in enumerate(zip(labels, decisions))
        ]
        return read_rows(rows, Task(classes))

    kind = predictions(('benign', 'FTC', 'MTC'), [0, 0, 1, 2, -1, 1], [0, 0, 1, 2, 0, 2])
    malignancy = predictions(('benign', 'malignant'), [0, 0, 1, 1, 1, -1], [1, 0, 1, 0, 1, 1])
    (found,) = find_contradictions({'kind': kind, 'malignancy': malignancy})
    assert found == {
        'tasks': ['kind', 'malignancy'],
        'labelled': 4,
        'images': 6,
        'contradicted': 3,
        'combinations': [['benign', 'malignant', 2], ['MTC', 'benign', 1]],
    }
    unlabelled = predictions(('a', 'b'), [-1] * 6, [0] * 6)
    assert find_contradictions({'kind': kind, 'other': unlabelled}) == []
    lines = list(format_main_lines({'tasks': {}, 'contradictions': [found]}))
    assert lines == [
        'kind and malignancy contradict each other in 3 of 6 images, such as benign and malignant '
        'in 2'
    ]
