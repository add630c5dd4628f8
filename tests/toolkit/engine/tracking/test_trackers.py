"""Trackers show a run and a study, change no result, and end no training."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support import studies, subprocesses
from tests.support.study_folders import planned, write_plan
from tests.toolkit.run.test_resume import run_in
from toolkit.config.schema import RunConfig
from toolkit.engine.hook_building import build_hooks
from toolkit.engine.tracking.tracker import TrackedRun, Tracker, describe_run
from toolkit.engine.tracking.tracker_group import TrackerGroup, build_trackers
from toolkit.errors import ComponentError
from toolkit.registry import HOOKS, build
from toolkit.run.changes import check_config
from toolkit.run.test import test as run_test
from toolkit.run.train import train
from toolkit.study.planning.plan import make_plan
from toolkit.study.study_file import read_study

LENGTH = {'max_iters': 6, 'val_interval': 3}
HOOK = {'logger': {'type': 'MetricsLog', 'interval': 2}}


class Recorder(Tracker):
    """Notes its calls, and fails at one of them."""

    package = 'json'
    extra = 'none'

    def __init__(self, fails_at: str = '') -> None:
        self.fails_at = fails_at
        self.calls: list[tuple[str, Any]] = []

    def _note(self, name: str, value: Any) -> None:
        self.calls.append((name, value))
        if name == self.fails_at:
            raise OSError(f'the store is away ({name})')

    def open(self, run: TrackedRun, known: str | None) -> str:
        self._note('open', known)
        return known or 'mine'

    def log(self, values: Any, iteration: int) -> None:
        self._note('log', (iteration, sorted(values)))

    def log_result(self, values: Any) -> None:
        self._note('log_result', sorted(values))

    def close(self, is_finished: bool) -> None:
        self._note('close', is_finished)

    def log_table(self, study: TrackedRun, header: list[str], rows: list[list[str]]) -> None:
        self._note('log_table', (study.name, header, rows))


def test_a_run_that_goes_on_and_its_test_are_one_run_of_the_store(
    config: Any, tmp_path: Path
) -> None:
    recorder = Recorder()
    run: RunConfig = config(train_cfg=LENGTH, default_hooks=HOOK)
    run.trackers = {'mine': lambda: recorder}
    train(run, tmp_path, stop_at=4)
    train(run, tmp_path, resume=True)
    opened = [value for name, value in recorder.calls if name == 'open']
    logged = [value for name, value in recorder.calls if name == 'log']
    assert opened == [None, 'mine']
    assert [iteration for iteration, _ in logged] == [2, 3, 4, 4, 6, 6]
    assert {'train/loss', 'train/lr', 'train/fit'} <= set(logged[0][1])
    assert 'val/mse' in logged[1][1]
    assert json.loads((tmp_path / 'trackers.json').read_text()) == {'mine': 'mine'}
    recorder.calls.clear()
    run_test(run, tmp_path, tmp_path / 'checkpoints' / 'last.pth')
    assert [name for name, _ in recorder.calls] == ['open', 'log_result', 'close']
    assert recorder.calls[0][1] == 'mine' and 'test/mse' in recorder.calls[1][1]


@pytest.mark.parametrize('fails_at', ['open', 'log', 'log_result', 'close', 'log_table'])
def test_a_tracker_that_fails_is_warned_of_once(fails_at: str, tmp_path: Path) -> None:
    bad, good = Recorder(fails_at), Recorder()
    group = TrackerGroup({'bad': bad, 'good': good})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        group.open(tmp_path, {})
        for iteration in (1, 2):
            group.log('train', {'loss': 1.0, 'odd': float('nan')}, iteration)
        group.log_result({'mse': 0.5})
        group.close(True)
        group.log_table(TrackedRun(tmp_path, 's', 's', tmp_path), ['a'], [['b']])
    (only,) = caught
    assert str(only.message).startswith('trackers.bad tracks no more, the run goes on: OSError')
    assert [name for name, _ in bad.calls].count(fails_at) == 1 and bad.calls[-1][0] == fails_at
    names = ['open', 'log', 'log', 'log_result', 'close', 'log_table']
    assert [name for name, _ in good.calls] == names
    assert good.calls[1] == ('log', (1, ['train/loss']))


@pytest.mark.parametrize('name', ['TensorBoardTracker', 'MLflowTracker', 'WandbTracker'])
def test_a_missing_package_is_one_line(
    tree: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = HOOKS.get(name)
    monkeypatch.setattr(cls, 'package', 'package_that_is_not_there')
    run = build.fill(RunConfig, tree(trackers={'one': {'type': name}}))
    expected = rf"trackers.one: {name} needs package_that.*: pip install 'ablakit\[\w+\]'$"
    with pytest.raises(ComponentError, match=expected):
        build_trackers(run)
    run = build.fill(RunConfig, tree(trackers={'one': {'type': 'EMA'}}))
    with pytest.raises(ComponentError, match='trackers.one: EMA is no tracker'):
        build_trackers(run)
    run = build.fill(RunConfig, tree(custom_hooks={'one': {'type': name}}))
    with pytest.raises(ComponentError, match=f'custom_hooks.one: {name} is a tracker: it belongs'):
        build_hooks(run)


def test_trackers_change_no_identity(tree: Any, tmp_path: Path) -> None:
    found = []
    for trackers in ({}, {'+trackers.board.type': 'TensorBoardTracker'}):
        file = studies.write(tmp_path, seeds=[0], variants={'full': {}}, common=trackers)
        found.append(make_plan(read_study(file)).runs[0].fingerprint)
    assert found[0] == found[1]
    check_config(tmp_path, tree(), tree(trackers={'board': {'type': 'TensorBoardTracker'}}))


def test_a_run_of_a_study_bears_its_names(tmp_path: Path) -> None:
    runs = [planned('full', 3, settings={'model.width': 8}, data='x')]
    write_plan(tmp_path, runs)
    folder = tmp_path / 'runs' / 'full-s3'
    found = describe_run(folder, {'model': {'width': 8, 'empty': {}}})
    assert (found.name, found.group, found.home) == ('full-s3', 'tiny', tmp_path)
    assert found.tags == {'variant': 'full', 'seed': '3', 'data': 'x', 'model.width': '8'}
    assert found.config == {'model.width': 8, 'model.empty': {}}
    (tmp_path / 'plan.json').write_text('{')
    assert describe_run(folder, {}).group is None


def check_store(tree: Any, folder: Path, tracker: dict[str, Any]) -> Path:
    """Trains, resumes and tests a run of a study with a tracker; the weights stay the same."""
    study = folder / 'study'
    write_plan(study, [planned('full', 0)])
    run = study / 'runs' / 'full-s0'
    options = {'train_cfg': LENGTH, 'default_hooks': HOOK}
    tracked = tree(**options, trackers={'one': tracker})
    run_in(run, tracked, stop_at=4)
    run_in(run, tracked, resume=True)
    run_test(build.fill(RunConfig, tracked), run, run / 'checkpoints' / 'last.pth')
    trackers = build_trackers(build.fill(RunConfig, tracked))
    table = TrackedRun(study, 'tiny', 'tiny', study)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        TrackerGroup(trackers).log_table(table, ['variant', 'mse'], [['full', '0.5']])
    run_in(folder / 'alone', tree(**options))
    ends = [
        torch.load(one / 'checkpoints' / 'last.pth', weights_only=True)
        for one in (run, folder / 'alone')
    ]
    for key in ('state_dict', 'optimizer', 'randomness'):
        assert subprocesses.first_difference(ends[0][key], ends[1][key]) is None
    return study


def test_tensorboard(tree: Any, tmp_path: Path) -> None:
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    study = check_store(tree, tmp_path, {'type': 'TensorBoardTracker'})
    events = EventAccumulator(str(study / 'runs' / 'full-s0' / 'tensorboard'))
    events.Reload()
    assert [e.step for e in events.Scalars('train/loss')] == [2, 4, 6]
    assert {'train/lr', 'val/mse', 'test/mse'} <= set(events.Tags()['scalars'])
    table = EventAccumulator(str(study / 'tensorboard'))
    table.Reload()
    assert table.Tags()['tensors'] == ['results/text_summary']


@pytest.mark.slow
def test_mlflow(tree: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store of files, as without a server."""
    pytest.importorskip('mlflow')
    monkeypatch.delenv('MLFLOW_TRACKING_URI', raising=False)
    study = check_store(tree, tmp_path, {'type': 'MLflowTracker'})
    from mlflow import MlflowClient

    client = MlflowClient((study / 'mlruns').as_uri())
    experiment = client.get_experiment_by_name('tiny').experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert set(runs) == {'full-s0', 'tiny: results'}
    run = runs['full-s0']
    assert run.info.status == 'FINISHED'
    assert (run.data.tags['variant'], run.data.tags['seed']) == ('full', '0')
    assert run.data.params['train_cfg.max_iters'] == '6'
    history = client.get_metric_history(run.info.run_id, 'train/loss')
    assert [(m.step, m.value > 0) for m in history] == [(2, True), (4, True), (6, True)]
    assert 'test/mse' in run.data.metrics
    odd = HOOKS.get('MLflowTracker')()
    name = odd.open(TrackedRun(study, 'odd', 'tiny', study, {}, {'a.+b': 1, 'c' * 300: 2}), None)
    odd.log({'val/HER2+ (x)': 0.5}, 1)
    found = client.get_run(name).data
    assert (found.params['a._b'], found.metrics['val/HER2_ _x_']) == ('1', 0.5)
    table = runs['tiny: results'].info.run_id
    assert [f.path for f in client.list_artifacts(table)] == ['results.csv']


@pytest.mark.slow
def test_wandb_offline(tree: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('wandb')
    monkeypatch.delenv('WANDB_MODE', raising=False)
    study = check_store(tree, tmp_path, {'type': 'WandbTracker'})
    name = json.loads((study / 'runs' / 'full-s0' / 'trackers.json').read_text())['one']
    files = sorted((study / 'wandb').glob('offline-run-*/*.wandb'))
    assert len(files) == 4  # two sessions of the training, the test, the table
    assert [name in file.name for file in files].count(True) == 3
    content = b''.join(file.read_bytes() for file in files)
    assert all(word in content for word in (b'train/loss', b'test/mse', b'variant=full', b'tiny'))
