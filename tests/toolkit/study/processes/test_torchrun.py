"""Runs that several processes train together: identity, GPUs, failures, a killed process."""

from __future__ import annotations

import errno
import json
import time

import pytest
import torch

from tests.support import studies
from tests.support.study_folders import CAPSULE, planned
from toolkit.config import ConfigError
from toolkit.engine import checkpoint
from toolkit.errors import RunError, ToolkitError
from toolkit.io.atomic_write import is_disk_full
from toolkit.io.run_records import PlannedRun
from toolkit.study.execute import run_study
from toolkit.study.folder import prepare_jobs
from toolkit.study.launchers import local, worker
from toolkit.study.launchers.base import Launcher
from toolkit.study.launchers.job import EndedJob, Job
from toolkit.study.launchers.slurm import SlurmLauncher
from toolkit.study.planning.plan import make_plan
from toolkit.study.processes.torchrun import _judge_answers, train_together
from toolkit.study.processes.training import train_folder
from toolkit.study.reconcile import RunFilter, explain_blocked, reconcile
from toolkit.study.study_file import read_study

KILL = """
import os, signal
from pathlib import Path
from mmengine.hooks import Hook
from toolkit.registry import HOOKS

@HOOKS.register
class KillOnce(Hook):
    '''Kills the second process once, in its sixth iteration.'''

    def __init__(self, mark: str) -> None:
        self.mark = Path(mark)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if os.environ.get('RANK') == '1' and runner.iter == 5 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_number_of_processes_is_part_of_what_is_trained(tmp_path):
    variants = {
        'full': {},
        'untrained': {'model': {'type': 'Constant'}, 'train_cfg': None},
    }
    found = {}
    for count in (1, 2, 3):
        launcher = {'processes': count, 'gpus': 0}
        file = studies.write(tmp_path, seeds=[0], variants=variants, launcher=launcher)
        found[count] = make_plan(read_study(file))
    full, untrained = zip(*(plan.runs for plan in found.values()))
    assert [run.processes for run in full] == [1, 2, 3]
    for part in ('config', 'train'):
        assert len({getattr(run.fingerprint, part) for run in full}) == 3
    assert len({run.fingerprint.key for run in untrained}) == 1
    assert {run.processes for run in untrained} == {1}
    assert PlannedRun.from_json(full[1].to_json()) == full[1]
    # A result of two processes is none of a plan with one.
    folder = tmp_path / 'work'
    run = folder / full[1].folder
    run.mkdir(parents=True)
    record = {'status': 'finished', 'fingerprint': full[1].fingerprint.to_json()}
    (run / 'status.json').write_text(json.dumps(record))
    (run / 'config.yaml').write_text(json.dumps(found[1].configs[full[1].id].tree))
    (run / 'capsule.json').write_text(json.dumps({**CAPSULE, 'processes': 2}))
    entries = reconcile(found[1], folder, RunFilter())
    assert entries[0].blocked
    assert 'trained by 2 processes, the launcher says 1' in explain_blocked(found[1], entries)


@pytest.mark.parametrize(
    ('arguments', 'processes', 'error'),
    [
        ({}, 1, ''),
        ({'gpus': 0.5}, 1, ''),
        ({'gpus': 4}, 4, ''),
        ({'processes': 2}, 2, ''),
        ({'processes': 2, 'gpus': 0}, 2, ''),
        ({'processes': 2, 'gpus': 2}, 2, ''),
        ({'processes': 2, 'gpus': 1}, 0, 'each process uses one GPU'),
        ({'processes': 1, 'gpus': 2}, 0, 'each process uses one GPU'),
        ({'processes': 0}, 0, 'processes must be at least 1'),
        ({'gpus': 1.5}, 0, 'gpus must be 0, a share of one, or a whole number'),
    ],
)
def test_processes_and_gpus_of_a_run(arguments, processes, error):
    def make() -> Launcher:
        return local.LocalLauncher(**arguments)

    if error:
        with pytest.raises(ValueError, match=error):
            make()
    else:
        assert make().processes == processes


def test_gpus_are_shared_out_between_runs(tmp_path, monkeypatch):
    seen = []

    def supervise(job, threads, devices, stopped):
        seen.append((threads, devices))
        time.sleep(0.05)
        return EndedJob(job, {})

    monkeypatch.setattr(local, 'supervise', supervise)
    monkeypatch.setattr(local, 'count_cores', lambda: 16)
    monkeypatch.setattr(local, '_devices', lambda: ['1', '3', '4', '6', '7'])
    jobs = [Job((PlannedRun.from_json(planned(str(n)), tmp_path),)) for n in range(4)]
    launcher = local.LocalLauncher(jobs=4, processes=2)
    assert launcher.count_slots(4) == 2  # not four: two runs would share GPUs
    launcher.start(jobs)
    while not launcher.done():
        time.sleep(0.01)
    launcher.close()
    assert sorted(set(seen)) == [(4, '1,3'), (4, '4,6')]
    with pytest.raises(ToolkitError, match='each run needs 8 GPUs, and this machine shows 5'):
        local.LocalLauncher(gpus=8).check_devices()


@pytest.mark.parametrize('asked', [0.5, 1, 2])
def test_a_run_that_asks_for_a_gpu_never_trains_without_one(tmp_path, monkeypatch, asked):
    monkeypatch.setattr(local, '_devices', lambda: [])
    file = studies.write(tmp_path, launcher={'gpus': asked})
    study = read_study(file)
    with pytest.raises(ToolkitError, match='each run needs .* GPUs?, and this machine shows none'):
        run_study(make_plan(study), tmp_path / 'work', study.launcher(), RunFilter())
    assert not (tmp_path / 'work' / 'plan.json').exists()
    for asked in (None, 0):
        local.LocalLauncher(gpus=asked, processes=2).check_devices()


def test_a_cluster_gives_all_cores_and_gpus_of_a_run(tmp_path, monkeypatch):
    class Executor:
        def __init__(self, **arguments):
            self.parameters = {}

        def update_parameters(self, **parameters):
            self.parameters |= parameters

    submitit = type('Submitit', (), {'AutoExecutor': Executor})
    executor = SlurmLauncher(threads=3, gpus=4)._executor(submitit, tmp_path)
    assert executor.parameters['gpus_per_node'] == 4
    assert executor.parameters['cpus_per_task'] == 12


def test_a_program_starts_its_processes_itself(tmp_path):
    study = {
        'study': 'p',
        'command': 'python train.py {overrides}',
        'variants': {'a': {}},
        'metrics': {'x': 'higher'},
    }
    (tmp_path / 'train.py').write_text('')
    file = tmp_path / 'study.yaml'
    keys = set()
    for gpus in (0, 1, 2):
        file.write_text(json.dumps({**study, 'launcher': {'gpus': gpus}}))
        keys.add(make_plan(read_study(file)).runs[0].fingerprint.key)
    assert len(keys) == 2  # a program may share its batch among all GPUs that it sees
    file.write_text(json.dumps({**study, 'launcher': {'processes': 2}}))
    with pytest.raises(ConfigError, match='launcher.processes: a program starts its processes'):
        read_study(file)


def fail(error, seconds, **facts):
    answer = {'error': error, 'time': seconds, 'is_full': False, 'is_mistake': False}
    return {**answer, 'is_lost': False, **facts}


LOST = fail('process 0 cannot go on', 1.0, is_lost=True)


@pytest.mark.parametrize(
    ('answers', 'stopped', 'expected'),
    [
        ([{'exit_status': 0}, {'exit_status': 0}], False, 0),
        ([{'exit_status': 143}, {'exit_status': 143}], True, 143),
        ([None, None], True, 143),
        ([LOST, fail('NaN', 2.0)], False, RunError('NaN')),
        ([fail('second', 2.0), fail('first', 1.0)], False, RunError('first')),
        ([LOST, fail('typo', 2.0, is_mistake=True)], False, ToolkitError('typo')),
        ([LOST, None], False, RunError('process 1 of 2 of this training was killed by SIGKILL')),
        ([None, None], False, RunError('process 1 of 2 of this training was killed by SIGKILL')),
    ],
)
def test_the_cause_of_an_end_is_that_of_the_first_process(answers, stopped, expected):
    if isinstance(expected, int):
        assert _judge_answers(answers, None, 1, stopped) == expected
        return
    with pytest.raises(type(expected), match=str(expected)) as caught:
        _judge_answers(answers, {'rank': 1, 'exit_status': -9}, 1, stopped)
    assert caught.value.exit_status == expected.exit_status


def test_torchrun_that_is_gone():
    with pytest.raises(RunError, match='the 2 processes of this training have ended without'):
        _judge_answers([None, None], None, -9, False)


def test_a_full_disk_of_one_process_is_a_full_disk():
    with pytest.raises(RunError) as caught:
        _judge_answers([LOST, fail('no space', 1.0, is_full=True)], None, 1, False)
    assert is_disk_full(caught.value)
    assert caught.value.__cause__.errno == errno.ENOSPC


def prepare(tmp_path, name, **study):
    """The jobs of a study of one run, with the folders of its runs."""
    file = studies.write(tmp_path, seeds=[0], variants={'full': {}}, **study)
    plan = make_plan(read_study(file))
    return prepare_jobs(plan, reconcile(plan, tmp_path / name))


def test_a_job_trains_by_as_many_processes_as_its_launcher_says(tmp_path, monkeypatch):
    asked = []

    def train(folder, processes, trial):
        asked.append((folder, processes, trial))
        return train_folder(folder)

    monkeypatch.setattr(worker, 'train_together', train)
    (job,) = prepare(tmp_path, 'work', launcher={'processes': 3, 'gpus': 0})
    job = Job.from_json(job.to_json())
    outcome = worker.work(job)
    assert [status.status for status in outcome.statuses.values()] == ['finished']
    assert asked == [(job.trained_in, 3, None)]


@pytest.mark.slow
def test_two_processes_learn_what_one_does_though_one_of_them_is_killed(tmp_path):
    """One process with their two batches sees the same samples."""
    (tmp_path / 'kill.py').write_text(KILL)
    # Without the statistics of BatchNorm, which are of each process's batch.
    same = {'model.dropout': 0.0, '+model.norm': False, 'default_hooks.progress': None}
    hook = {'type': 'KillOnce', 'mark': str(tmp_path / 'killed')}
    plugins = [str(studies.TINY), str(tmp_path / 'kill.py')]
    common = {**same, '+custom_hooks': {'kill': hook}, 'plugins': plugins}
    (job,) = prepare(tmp_path, 'two', common=common, launcher={'processes': 2})
    with pytest.raises(RunError, match='process 1 of 2 of this training was killed by SIGKILL'):
        train_together(job.trained_in, 2)
    assert train_together(job.trained_in, 2) == 0
    capsule = json.loads((job.trained_in / 'capsule.json').read_text())
    assert (capsule['processes'], len(capsule['resumed'])) == (2, 1)
    common = {**same, 'train_dataloader.batch_size': 8}
    (alone,) = prepare(tmp_path, 'one', common=common, launcher={'processes': 1})
    assert train_folder(alone.trained_in) == 0
    one, two = (
        checkpoint.load(checkpoint.get_folder(job.trained_in) / checkpoint.LAST)['state_dict']
        for job in (alone, job)
    )
    assert one.keys() == two.keys()
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=1e-3, atol=1e-5)
