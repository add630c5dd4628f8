"""Processes that do not end as they should: deaf, killed, silent; and how far a run is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.study_folders import FINGERPRINT, planned
from toolkit.io.read_metrics_log import last_iteration, last_loss
from toolkit.io.run_records import Fingerprint, PlannedRun, RunStatus
from toolkit.study.launchers import supervisor
from toolkit.study.launchers.job import Job


def job(folder, **arguments):
    return Job((PlannedRun.from_json(planned('x', id='x', folder='x'), folder),), **arguments)


@pytest.fixture
def command(monkeypatch):
    """Has a job's process run a program of the test's."""
    return lambda code: monkeypatch.setattr(supervisor, 'COMMAND', ['-c', code])


def test_a_process_that_hangs_is_killed(tmp_path, command, monkeypatch):
    monkeypatch.setattr(supervisor, 'GRACE_SECONDS', 0.5)
    monkeypatch.setattr(supervisor, 'START_SECONDS', 0.0)  # it never says that it has begun
    code = (
        'import signal, sys, time; signal.signal(15, signal.SIG_IGN); '
        'print("deaf", file=sys.stderr, flush=True); time.sleep(60)'
    )
    command(code)
    deaf = job(tmp_path, time=1.0)
    begun = time.monotonic()
    ended = supervisor.supervise(deaf)
    assert time.monotonic() - begun < 20
    assert ended.statuses['x'].status == 'failed'
    assert 'time budget of 1 s' in ended.statuses['x'].message
    assert deaf.log.read_text() == 'deaf\n'


@pytest.mark.parametrize(
    ('code', 'expected'),
    [
        ('import os; os.kill(os.getpid(), 9)', 'killed by SIGKILL (by the system, out of mem'),
        ('import os; os.kill(os.getpid(), 11)', 'killed by SIGSEGV'),
        ('import sys; sys.exit("no such thing")', 'no such thing (exit status 1)'),
        ('import sys; sys.exit(7)', 'exit status 7, and it said nothing'),
        ('1 / 0', 'ZeroDivisionError: division by zero (exit status 1)'),
    ],
)
def test_why_a_process_died(code, expected, tmp_path, command):
    command(code)
    ended = supervisor.supervise(job(tmp_path, retries=0))
    assert ended.statuses['x'].status == 'failed'
    assert ended.statuses['x'].message.startswith(expected)
    assert RunStatus.read(tmp_path / 'x') == ended.statuses['x']
    assert ended.statuses['x'].fingerprint == Fingerprint(**FINGERPRINT)


@pytest.mark.parametrize('retries', [0, 2])
def test_so_many_attempts(retries, tmp_path, command):
    command('import sys; print("once", file=sys.stderr); sys.exit(1)')
    tried = job(tmp_path, retries=retries)
    supervisor.supervise(tried)
    assert tried.log.read_text() == 'once\n' * (retries + 1)


def test_the_cause_of_every_attempt_is_named(tmp_path, command):
    command(
        'import os, pathlib, sys; mark = pathlib.Path("MARK")\n'
        'if mark.exists(): sys.exit(3)\n'
        'mark.touch(); os.kill(os.getpid(), 9)'.replace('MARK', str(tmp_path / 'mark'))
    )
    tried = job(tmp_path, retries=1)
    message = supervisor.supervise(tried).statuses['x'].message
    assert message.startswith('attempt 1: killed by SIGKILL')
    assert message.endswith('; attempt 2: exit status 3, and it said nothing')
    assert RunStatus.read(tmp_path / 'x').message == message
    tried = job(tmp_path, retries=2)
    message = supervisor.supervise(tried).statuses['x'].message
    assert message == 'exit status 3, and it said nothing (in each of 3 attempts)'


def test_a_time_budget_counts_the_time_that_is_reported(tmp_path, monkeypatch):
    """Imports are not counted; a process that is silent counts on."""
    now = [100.0]
    monkeypatch.setattr(supervisor.time, 'monotonic', lambda: now[0])
    run = tmp_path / 'x'
    RunStatus('failed', 1, 2.0).write(run)
    clock = supervisor._Clock(job(tmp_path))
    now[0] += 50  # imports
    assert clock.seconds == 2.0
    RunStatus('running', 2, 2.0).write(run)
    now[0] += 1
    assert clock.seconds == 2.0
    now[0] += 3
    assert clock.seconds == 5.0
    RunStatus('running', 2, 7.5).write(run)
    now[0] += 1
    assert clock.seconds == 7.5
    now[0] += 60
    assert clock.seconds == 67.5


@pytest.mark.parametrize(('mistake', 'attempts'), [(True, 1), (False, 3)])
def test_a_mistake_of_the_user_is_not_tried_again(mistake, attempts, tmp_path, command):
    answer = {'full': False, 'mistake': mistake, 'statuses': {'x': {'status': 'failed'}}}
    command(f'import sys; print("once", file=sys.stderr); print({json.dumps(json.dumps(answer))})')
    tried = job(tmp_path, retries=2)
    supervisor.supervise(tried)
    assert tried.log.read_text() == 'once\n' * attempts


@pytest.mark.parametrize('how', [supervisor.COMMAND, ['-m', 'toolkit', 'list']])
def test_packages_of_the_working_folder_hide_none_of_the_projects(how, tmp_path):
    """A `plugins` package is common; `toolkit` can be hidden by `python -m toolkit` alone."""
    for name in ('plugins', 'toolkit')[: 1 if '-m' in how else 2]:
        (tmp_path / name).mkdir()
        (tmp_path / name / '__init__.py').write_text('raise RuntimeError("the wrong package")')
    root = str(Path(supervisor.__file__).parents[3])
    done = subprocess.run(
        [sys.executable, *how],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': root},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert 'wrong package' not in done.stderr
    if '-m' in how:
        assert 'LDPNet' in done.stdout
    else:
        assert 'the job is expected on the standard input' in done.stderr


def test_a_process_gets_its_job_threads_and_gpus(tmp_path, command):
    command(
        'import json, os, sys; job = sys.stdin.readline(); '
        'print(job, os.environ["OMP_NUM_THREADS"], os.environ["CUDA_VISIBLE_DEVICES"], '
        'file=sys.stderr); '
        'answer = {"full": False, "mistake": False, "statuses": {"x": {"status": "finished"}}}; '
        'print(json.dumps(answer))'
    )
    given = job(tmp_path)
    ended = supervisor.supervise(given, threads=3, devices='5')
    assert ended.statuses == {'x': RunStatus('finished')}
    text, rest = given.log.read_text().split('\n', 1)
    assert Job.from_json(text) == given
    assert rest == ' 3 5\n'


def test_a_study_that_stops_is_no_failure(tmp_path, command):
    command('import time; time.sleep(60)')
    begun = time.monotonic()
    ended = supervisor.supervise(job(tmp_path), stopped=lambda: int(time.monotonic() - begun > 0.5))
    assert time.monotonic() - begun < 20
    assert ended.statuses['x'].status == 'waiting'


def test_time_that_was_spent_before_counts(tmp_path, command):
    command('raise SystemExit("started")')
    RunStatus('waiting', 1, 12.0).write(tmp_path / 'x')
    ended = supervisor.supervise(job(tmp_path, time=10.0))
    assert 'longer than its time budget of 10 s' in ended.statuses['x'].message


def test_how_far_a_run_is(tmp_path):
    assert last_iteration(tmp_path) is None
    assert last_loss(tmp_path) is None
    lines = [{'iter': n, 'loss': n / 2, 'note': 'x' * 90} for n in range(1, 200)]
    text = ''.join(json.dumps(line) + '\n' for line in [*lines, {'iter': 199, 'val': {}}])
    (tmp_path / 'metrics.jsonl').write_text(text + '{"iter": 20')
    assert last_iteration(tmp_path) == 199
    assert last_loss(tmp_path) == 99.5


def test_what_a_killed_process_has_started_is_killed(tmp_path, command):
    """Also what has a group of its own, as the program of a study has."""
    mark = tmp_path / 'child'
    command(
        'import os, pathlib, subprocess, sys\n'
        'sleep = [sys.executable, "-c", "import time; time.sleep(30)"]\n'
        'child = subprocess.Popen(sleep, preexec_fn=lambda: os.setpgid(0, 0))\n'
        f'pathlib.Path({str(mark)!r}).write_text(str(child.pid)); os.kill(os.getpid(), 9)'
    )
    supervisor.supervise(job(tmp_path, retries=0))
    stat = Path('/proc', mark.read_text(), 'stat')
    deadline = time.monotonic() + 5
    # One that has ended waits to be collected, or is gone.
    while stat.exists() and stat.read_text().rpartition(')')[2].split()[0] not in 'ZX':
        assert time.monotonic() < deadline
        time.sleep(0.02)
