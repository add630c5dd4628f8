"""Runs on Ray and by SLURM's job arrays: the same study, the same figures."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest

from tests.support import studies
from tests.support.study_folders import planned
from toolkit.cli import main
from toolkit.io.run_records import PlannedRun, RunStatus

SLOW = {
    'common': {'train_dataloader.dataset.slow': 0.03, 'train_cfg.max_iters': 60},
    'seeds': [0],
}


def test_launchers_are_imported_only_where_they_are_used(tmp_path):
    code = (
        'import sys\nfrom toolkit.study.study_file import read_study\n'
        'study = read_study(sys.argv[1])\nstudy.launcher()\n'
        'found = {"ray", "submitit", "toolkit.study.launchers.ray"} & set(sys.modules)\n'
        'assert not found, found'
    )
    file = studies.write(tmp_path)
    subprocess.run([sys.executable, '-c', code, str(file)], check=True, env=studies.environment())


def test_a_worker_starts_without_torch():
    """What it had in memory at a program's start would count as memory of the program."""
    code = 'import sys, toolkit.study.launchers.worker\nassert "torch" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], check=True, env=studies.environment())


@pytest.mark.parametrize(
    ('launcher', 'module', 'expected'),
    [
        ({'type': 'ray'}, 'ray', "needs Ray: pip install 'ablakit[ray]'"),
        ({'type': 'slurm'}, 'submitit', "needs submitit: pip install 'ablakit[slurm]'"),
    ],
)
def test_an_extra_that_is_not_installed(launcher, module, expected, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    file = studies.write(tmp_path, launcher=launcher)
    assert main(['study', str(file), '--work-dir', str(tmp_path / 'work')]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count('\n') == 1


def test_slurm_that_is_not_there(tmp_path, capsys):
    pytest.importorskip('submitit')
    file = studies.write(tmp_path, launcher={'type': 'slurm'})
    assert main(['study', str(file), '--work-dir', str(tmp_path / 'work')]) == 2
    assert 'SLURM cannot be used: ' in capsys.readouterr().err


def test_slurm_gives_no_share_of_a_gpu(tmp_path, capsys):
    file = studies.write(tmp_path, launcher={'type': 'slurm', 'gpus': 0.5})
    assert main(['study', str(file)]) == 2
    assert (
        'launcher: SlurmLauncher: gpus must be a whole number with SLURM' in capsys.readouterr().err
    )


@pytest.fixture(scope='module')
def calm(tmp_path_factory):
    """The study as it comes out on this machine alone."""
    folder = tmp_path_factory.mktemp('calm')
    file = studies.write(folder, **studies.drop_pauses(SLOW))
    status, said = studies.run(file, folder / 'work')
    assert status == 0, said
    return folder / 'work'


@pytest.mark.slow
def test_a_job_array(tmp_path, calm):
    pytest.importorskip('submitit')
    launcher = {'type': 'slurm', 'cluster': 'local', 'threads': 1, 'options': {'timeout_min': 10}}
    file = studies.write(tmp_path, launcher=launcher, **studies.drop_pauses(SLOW))
    status, said = studies.run(file, tmp_path / 'work')
    assert status == 0, said
    assert studies.results(tmp_path / 'work') == studies.results(calm)
    assert list((tmp_path / 'work' / 'slurm').glob('*_submitted.pkl'))


@pytest.mark.slow
def test_ctrl_c_stops_a_job_array(tmp_path, calm):
    pytest.importorskip('submitit')
    launcher = {'type': 'slurm', 'cluster': 'local', 'threads': 1}
    file, work = studies.write(tmp_path, launcher=launcher, **SLOW), tmp_path / 'work'
    process = studies.start(file, work)
    deadline = time.monotonic() + 120
    while not list(work.glob('runs/*/metrics.jsonl')):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    assert process.wait(90) == 143
    assert 'running' not in studies.statuses(work).values()
    assert list(work.glob('runs/*/checkpoints/last.pth'))
    status, said = studies.run(file, work)
    assert status == 0, said
    assert studies.results(work) == studies.results(calm)


@pytest.fixture
def cluster(monkeypatch):
    """A Ray cluster of two nodes on this machine, beside a head that runs nothing."""
    pytest.importorskip('ray')
    from ray.cluster_utils import Cluster

    monkeypatch.setenv('PYTHONPATH', studies.environment()['PYTHONPATH'])
    made = Cluster(initialize_head=True, head_node_args={'num_cpus': 0, 'include_dashboard': False})
    yield made
    made.shutdown()


@pytest.mark.slow
def test_a_ray_cluster_of_which_a_node_dies(tmp_path, calm, cluster):
    """Each node has room for one run; the one that is lost is gone on with on the other."""
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    launcher = {'type': 'ray', 'address': cluster.address, 'threads': 1}
    file, work = studies.write(tmp_path, launcher=launcher, **SLOW), tmp_path / 'work'
    process = studies.start(file, work)
    deadline = time.monotonic() + 180
    while len(list(work.glob('runs/*/checkpoints/last.pth'))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, _said(work)
        time.sleep(0.05)
    cluster.remove_node(nodes[1], allow_graceful=False)
    assert process.wait(300) == 0, _said(work)
    assert 'its machine is gone; it is started on another' in _said(work)
    attempts = [RunStatus.read(work / 'runs' / name).attempts for name in ('full-s0', 'wide-s0')]
    assert sorted(attempts) == [1, 2]
    resumed = [
        json.loads((work / 'runs' / name / 'capsule.json').read_text())['resumed']
        for name in ('full-s0', 'wide-s0')
    ]
    assert sorted(map(len, resumed)) == [0, 1]
    assert studies.results(work) == studies.results(calm)


def test_no_ray_cluster(tmp_path, capsys):
    pytest.importorskip('ray')
    launcher = {'type': 'ray', 'address': '127.0.0.1:1'}
    file = studies.write(tmp_path, launcher=launcher)
    assert main(['study', str(file), '--work-dir', str(tmp_path / 'work')]) == 2
    error = capsys.readouterr().err
    assert "no Ray cluster at '127.0.0.1:1'" in error
    assert 'ray start --head' in error
    assert error.count('\n') == 1


def _said(work):
    return work.with_name('work.out').read_text()


def test_threads_are_divided_among_jobs(monkeypatch, tmp_path):
    from toolkit.study.launchers import local
    from toolkit.study.launchers.job import EndedJob, Job

    seen = []
    together = threading.Barrier(3)

    def supervise(job, threads, devices, stopped):
        together.wait(20)
        seen.append((threads, devices))
        return EndedJob(job, {})

    monkeypatch.setattr(local, 'supervise', supervise)
    monkeypatch.setattr(local, 'count_cores', lambda: 13)
    jobs = [Job((PlannedRun.from_json(planned(str(n)), tmp_path),)) for n in range(3)]
    for gpus, visible, expected in (
        (None, [], [(4, None)] * 3),
        (None, ['4', '7'], [(4, '4'), (4, '4'), (4, '7')]),
        (0, ['4', '7'], [(4, '')] * 3),
    ):
        seen.clear()
        monkeypatch.setattr(local, '_devices', lambda visible=visible: visible)
        launcher = local.LocalLauncher(jobs=3, gpus=gpus)
        launcher.start(jobs)
        while not launcher.done():
            time.sleep(0.01)
        assert len(launcher.poll()) == 3
        launcher.close()
        assert sorted(seen, key=str) == expected
