"""Temperature and threshold come from validation, are in each checkpoint, and the test's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plugins.classification.metrics.calibration_hook import Calibrate
from plugins.classification.metrics.functional.calibration import fit_temperature
from plugins.classification.metrics.functional.thresholds import choose_threshold
from plugins.classification.metrics.predictions import read_rows
from plugins.classification.tasks import Task
from tests.support import patients
from toolkit.config.schema import RunConfig
from toolkit.errors import ToolkitError
from toolkit.registry import HOOKS, build
from toolkit.run.test import test as run_test
from toolkit.run.train import train

PATHOLOGY = Task(('benign', 'malignant'), 'malignant')


@pytest.fixture(scope='module', autouse=True)
def parts() -> Iterator[None]:
    with patients.parts():
        yield


def state(folder: Path, name: str = 'last') -> dict[str, Any]:
    path = folder / 'checkpoints' / f'{name}.pth'
    return torch.load(path, weights_only=True)['state_dict']


def stored(folder: Path, name: str = 'last') -> dict[str, float]:
    found = state(folder, name).items()
    return {k.removeprefix('calibration.'): float(v) for k, v in found if 'calibration.' in k}


def test_each_checkpoint_holds_its_own(tmp_path: Path) -> None:
    chosen = []

    class Watch(Calibrate):
        def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
            assert runner.system.calibration.temperature('pathology') == 1
            super().after_val_epoch(runner, metrics)
            rows = runner.val_loop.result.rows['pathology']
            chosen.append((rows, self.fit(read_rows(rows, PATHOLOGY).labelled())[0]))

    HOOKS.register(Watch)
    try:
        config = patients.run(
            custom_hooks={'watch': {'type': 'Watch'}}, train_cfg={'max_epochs': 4}
        )
        result = train(config, tmp_path / 'run')
    finally:
        del HOOKS._module_dict['Watch']
    assert result.best is not None
    best = chosen[result.best['iter'] // 5 - 1][1]
    for name, (temperature, threshold) in (('best', best), ('last', chosen[-1][1])):
        found = stored(tmp_path / 'run', name)
        assert found['temperature_pathology'] == pytest.approx(temperature)
        assert found['threshold_pathology'] == pytest.approx(threshold)
        assert found['temperature_kind'] != 1
    # What they are is what the rows say.
    rows, (temperature, threshold) = chosen[-1]
    known = [row for row in rows if row['label'] >= 0]
    assert 0 < len(known) < len(rows)
    logits = np.array([row['logits'] for row in known])
    labels = np.array([row['label'] for row in known])
    assert temperature == fit_temperature(logits, labels)
    p = torch.tensor(logits).float().div(temperature).softmax(1)[:, 1].numpy()
    assert threshold == pytest.approx(choose_threshold(p, labels == 1), abs=1e-6)


def test_the_test_uses_them(tmp_path: Path) -> None:
    train(patients.run(), tmp_path / 'run')
    run_test(patients.run(), tmp_path / 'run', tmp_path / 'run/checkpoints/best.pth')
    found = stored(tmp_path / 'run', 'best')
    record = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    for row in record['rows']['pathology']:
        assert row['threshold'] == found['threshold_pathology']
        scaled = torch.tensor(row['logits']).div(found['temperature_pathology']).softmax(0)
        assert row['probabilities'] == pytest.approx(scaled.tolist(), abs=1e-6)
        assert row['decision'] == (row['probabilities'][1] >= row['threshold'])


def test_averaged_weights_have_the_calibration_of_their_validation(tmp_path: Path) -> None:
    hooks = {
        'ema': {'type': 'EMA', 'decay': 0.7},
        'calibrate': {'type': 'Calibrate'},
    }
    train(patients.run(custom_hooks=hooks), tmp_path / 'run')
    # Validate the saved, averaged weights once more.
    checked = patients.tree(custom_hooks=hooks)
    checked['test_dataloader'] = checked['val_dataloader']

    run_test(build.fill(RunConfig, checked), tmp_path / 'a', tmp_path / 'run/checkpoints/last.pth')
    rows = json.loads((tmp_path / 'a' / 'metrics.json').read_text())['rows']['pathology']
    choice = Calibrate().fit(read_rows(rows, PATHOLOGY).labelled())[0]
    assert choice is not None
    found = stored(tmp_path / 'run')
    assert found['temperature_pathology'] == pytest.approx(choice[0], rel=1e-3)
    assert found['threshold_pathology'] == pytest.approx(choice[1], abs=1e-3)


def test_a_resumed_run_is_the_same(tmp_path: Path) -> None:
    whole = patients.run(train_cfg={'max_epochs': 3})
    train(whole, tmp_path / 'whole')
    half = {'train_cfg': {'max_epochs': 1}}
    train(patients.run(**half), tmp_path / 'half')
    train(whole, tmp_path / 'half', resume=True)
    a, b = state(tmp_path / 'whole'), state(tmp_path / 'half')
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert stored(tmp_path / 'whole', 'best') == stored(tmp_path / 'half', 'best')


def test_too_little_to_choose_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loader = {'dataset': patients.data(only='benign'), 'batch_size': 16}
    loader['dataset']['tasks'] = {'pathology': patients.TASKS['pathology']}
    changes = patients.tree(val_dataloader=loader)
    tasks = loader['dataset']['tasks']
    changes['model']['tasks'] = tasks
    for role in ('train', 'test'):
        changes[f'{role}_dataloader']['dataset']['tasks'] = tasks
    for role in ('val', 'test'):
        changes[f'{role}_evaluator'] = {
            'metrics': {
                'pathology': {'type': 'ClinicalMetrics', 'task': 'pathology', 'tasks': tasks}
            }
        }
    result = train(patients.run(**changes), tmp_path / 'run')
    assert stored(tmp_path / 'run') == {'temperature_pathology': 1, 'threshold_pathology': 0.5}
    said = capsys.readouterr().out
    assert said.count("Calibrate, task 'pathology': found 0 of malignant in validation") == 1
    # What the best is to be chosen by was never defined, and that is said too, once.
    assert result.best is None
    assert said.count('save_best: pathology.AUC is not defined') == 1


def test_a_task_that_is_not_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {'pathology': patients.tree()['val_evaluator']['metrics']['pathology']}
    train(patients.run(val_evaluator={'metrics': metrics}), tmp_path / 'run')
    assert "Calibrate, task 'kind': val_evaluator has no Clin" in capsys.readouterr().out
    assert stored(tmp_path / 'run')['temperature_kind'] == 1


@pytest.mark.parametrize(
    ('rule', 'at_least'), [('youden', 0.9), ('F1', 0.9), ('sensitivity', 0.8), ('half', 0.9)]
)
def test_rules(rule: Any, at_least: float) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 80)
    logits = generator.normal(size=(80, 2)) + np.eye(2)[labels]
    rows = [
        {'id': str(i), 'label': int(label), 'logits': z.tolist(), 'probabilities': [0.5, 0.5]}
        | {'decision': 0}
        for i, (label, z) in enumerate(zip(labels, logits))
    ]
    hook = Calibrate(rule, at_least, temperature=False)
    choice, why = hook.fit(read_rows(rows, PATHOLOGY))
    assert choice is not None
    temperature, cut = choice
    p = torch.tensor(logits).float().softmax(1)[:, 1].numpy()
    assert (temperature, cut, why) == (1, choose_threshold(p, labels == 1, rule, at_least), '')


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='threshold must be one of youden, F1.*best'):
        Calibrate('best')  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='at_least'):
        Calibrate('sensitivity', 95)
    with pytest.raises(ValueError, match='min_samples'):
        Calibrate(min_samples=0)
    hooks = {'default_hooks': {'log': {'type': 'MetricsLog'}}}
    none = patients.run(val_dataloader=None, val_evaluator=None, **hooks)
    with pytest.raises(ToolkitError, match='needs validation data'):
        train(none, tmp_path / 'run')
