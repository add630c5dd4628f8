"""Temperature and threshold come from validation, are in each checkpoint, and the test's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plugins.classification.calibration import Calibration, Choice
from plugins.classification.metrics.calibration_hook import Calibrate
from plugins.classification.metrics.functional.temperature_scaling import fit_temperature
from plugins.classification.metrics.functional.thresholds import choose_threshold
from plugins.classification.metrics.predictions import decide, read_rows
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
    return {
        k.removeprefix('calibration.'): float(v)
        for k, v in found
        if 'calibration.' in k and not v.ndim and 'patient' not in k
    }


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
    for name, choice in (('best', best), ('last', chosen[-1][1])):
        found = stored(tmp_path / 'run', name)
        assert found['temperature_pathology'] == pytest.approx(choice.temperature)
        assert found['threshold_pathology'] == pytest.approx(choice.threshold)
        assert found['temperature_kind'] != 1
    # What they are is what the rows say.
    rows, choice = chosen[-1]
    temperature, threshold = choice.temperature, choice.threshold
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
    assert said.count('labelled images of 1 classes in validation, 10 of 2 needed') == 1
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
    temperature, cut = choice.temperature, choice.threshold
    p = torch.tensor(logits).float().softmax(1)[:, 1].numpy()
    assert (temperature, cut, why) == (1, choose_threshold(p, labels == 1, rule, at_least), [])


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


KIND = Task(('common', 'other', 'rare'))


def make_rows(task: Task, labels: Any, logits: Any, owners: Any = None) -> Any:
    owners = range(len(labels)) if owners is None else owners
    return read_rows(
        [
            {
                'id': str(i),
                'patient': f'p{owner}',
                'label': int(label),
                'logits': z.tolist(),
                'probabilities': np.full(len(z), 1 / len(z)).tolist(),
                'decision': 0,
            }
            for i, (label, z, owner) in enumerate(zip(labels, logits, owners))
        ],
        task,
    )


def test_a_rare_class_does_not_keep_the_temperature_from_being_fitted() -> None:
    generator = np.random.default_rng(0)
    labels = np.r_[np.zeros(30, int), np.ones(30, int), 2]
    logits = 4 * generator.normal(size=(61, 3)) + 4 * np.eye(3)[labels]
    choice, warnings = Calibrate().fit(make_rows(KIND, labels, logits))
    assert choice.temperature == fit_temperature(logits, labels) != 1 and not warnings
    few, warnings = Calibrate().fit(make_rows(KIND, labels[:9], logits[:9]))
    assert few.temperature == 1 and '9 labelled images of 1 classes' in warnings[0]
    # A floor of the rare class cannot be known from one image.
    hook = Calibrate(floors={'kind': {'rare': 0.8}})
    choice, warnings = hook.fit(make_rows(KIND, labels, logits), 'kind')
    assert choice.weights is None and '1 rare images in validation' in warnings[0]


def test_a_floor_is_reached_by_the_smallest_weight() -> None:
    generator = np.random.default_rng(1)
    labels = np.r_[np.zeros(60, int), np.ones(40, int), np.full(10, 2)]
    logits = generator.normal(size=(110, 3)) + 1.5 * np.eye(3)[labels] - [0, 0, 3]
    images = make_rows(KIND, labels, logits)
    hook = Calibrate(floors={'kind': {'rare': 0.8, 'other': 0.7}}, temperature=False)
    choice, warnings = hook.fit(images, 'kind')
    assert not warnings and choice.weights is not None and choice.weights[0] == 1
    p = torch.tensor(logits).softmax(1).numpy()

    def recalls(weights: Any) -> Any:
        decided = (p * weights).argmax(1)
        return [(decided[labels == k] == k).mean() for k in range(3)]

    found = recalls(choice.weights)
    assert found[2] >= 0.8 and found[1] >= 0.7 and recalls([1, 1, 1])[2] < 0.8
    assert recalls(np.array(choice.weights) / [1, 1, 1.2])[2] < 0.8
    calibration = Calibration({'kind': KIND})
    calibration.store('kind', choice)
    decided = calibration.decide('kind', calibration.probabilities('kind', torch.tensor(logits)))
    assert (decided.numpy() == (p * choice.weights).argmax(1)).all()
    hook = Calibrate(floors={'kind': {'common': 1.0, 'other': 1.0, 'rare': 1.0}})
    choice, warnings = hook.fit(images, 'kind')
    assert choice.weights is None and 'floors' in warnings[0]


def test_priors_are_those_of_validation() -> None:
    """Logits of a balanced sampler, on data in which one class is rare."""
    generator = np.random.default_rng(2)
    labels = generator.choice(3, 20_000, p=[0.8, 0.15, 0.05])
    x = generator.normal(size=(20_000, 3)) + np.eye(3)[labels]  # its log density ratio is x
    choice, _ = Calibrate(temperature=False, priors=['kind']).fit(
        make_rows(KIND, labels, x), 'kind'
    )
    truth = np.log([0.8, 0.15, 0.05])
    assert choice.log_prior == pytest.approx(truth - truth.mean(), abs=0.1)
    calibration = Calibration({'kind': KIND})
    calibration.store('kind', choice)
    mean = calibration.probabilities('kind', torch.tensor(x)).mean(0).numpy()
    assert mean == pytest.approx(np.bincount(labels) / len(labels), abs=1e-4)


def test_the_threshold_of_patients_is_chosen_on_patients() -> None:
    generator = np.random.default_rng(3)
    owners = np.repeat(np.arange(40), 5)
    labels = owners % 2
    # One of five images shows what makes a patient positive.
    shown = labels * (np.arange(200) % 5 == 0)
    logits = generator.normal(size=(200, 2)) + 3 * np.eye(2)[shown]
    images = make_rows(PATHOLOGY, labels, logits, owners)
    hook = Calibrate(temperature=False)
    choice, warnings = hook.fit(images, 'pathology', 'max')
    assert not warnings
    p = torch.tensor(logits).float().softmax(1).numpy()
    joined = replace(images, probabilities=p).by_patient('max')
    assert choice.patient_threshold == choose_threshold(
        joined.probabilities[:, 1], joined.labels == 1
    )
    assert choice.threshold == choose_threshold(p[:, 1], labels == 1)
    assert choice.patient_threshold > choice.threshold
    # What a row holds decides for patients.
    tested = replace(
        images,
        probabilities=p,
        threshold=choice.threshold,
        patient_threshold=choice.patient_threshold,
    ).by_patient('max')
    assert tested.threshold == choice.patient_threshold
    expected = joined.probabilities[:, 1] >= choice.patient_threshold
    assert (tested.decisions == expected).all()


@pytest.mark.parametrize(
    'task',
    [
        PATHOLOGY,
        KIND,
        Task(KIND.classes, costs=((0, 1, 9), (1, 0, 9), (1, 5, 0))),
        Task(('no', 'yes'), costs=((0, 1), (9, 0))),
    ],
)
def test_system_and_tables_decide_by_one_rule(task: Task) -> None:
    generator = np.random.default_rng(4)
    count = len(task.classes)
    p = generator.dirichlet(np.ones(count), 500).astype(np.float32)
    weights = None if task.positive else tuple(generator.uniform(0.5, 3, count))
    choice = Choice(1.3, 0.3 if task.positive else None, weights=weights)
    calibration = Calibration({'t': task})
    calibration.store('t', choice)
    again = Calibration({'t': task})
    again.load_state_dict(calibration.state_dict())
    assert again.choice('t') == calibration.choice('t')
    decided = again.decide('t', torch.tensor(p)).numpy()
    stored_weights = again.choice('t').weights
    expected = decide(
        p, task, again.choice('t').threshold, None if weights is None else np.array(stored_weights)
    )
    assert (decided == expected).all() and len(set(decided.tolist())) == count
    if task.costs is not None:
        cost = (p * (stored_weights or 1)) @ np.array(task.costs)
        assert (cost[np.arange(500), decided] == cost.min(1)).all()


def test_floors_and_costs_that_do_not_fit_are_refused() -> None:
    for wrong, said in (
        ({'costs': ((0, 1), (1, 0))}, '3 rows of 3'),
        ({'costs': ((0, 1, 1), (1, 0, 1), (1, 0, 0.5))}, "deciding for 'rare' itself"),
        ({'costs': ((0, -1, 1), (1, 0, 1), (1, 1, 0))}, 'negative'),
    ):
        with pytest.raises(ValueError, match=said):
            Task(KIND.classes, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='its threshold'):
        Task(('no', 'yes'), 'yes', ((0, 1), (1, 0)))
    tasks = {'kind': KIND, 'pathology': PATHOLOGY}
    for floors, said in (
        ({'knd': {'rare': 0.5}}, "did you mean 'kind'"),
        ({'kind': {'rar': 0.5}}, "did you mean 'rare'"),
        ({'pathology': {'malignant': 0.5}}, 'its threshold'),
    ):
        with pytest.raises(ToolkitError, match=said):
            Calibrate(floors=floors)._check_tasks(tasks)
    with pytest.raises(ValueError, match='floors.kind.rare'):
        Calibrate(floors={'kind': {'rare': 1.5}})
