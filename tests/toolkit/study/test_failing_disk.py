"""A disk that fails at any one write of a study costs at most what came after a checkpoint.

The study, its runs, its tables and its report are one process here, on one disk.
The slow test fails a sample of the operations; `make failing-disk` fails each.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.support import studies, subprocesses
from tests.support.failing_disk import FailingDisk, check_files
from toolkit import cli
from toolkit.engine import checkpoint
from toolkit.io.run_records import RunStatus
from toolkit.study.launchers import Launcher, supervisor, worker
from toolkit.study.launchers.job import EndedJob, Job
from toolkit.study.spec import Study

FAULTS: dict[str, dict[str, Any]] = {
    'an error once': {'error': errno.EIO},
    'no room once': {'error': errno.ENOSPC},
    'a short write': {'error': errno.ENOSPC, 'short': True},
    'full from then on': {'error': errno.ENOSPC, 'lasting': True},
}
STEP = int(os.environ.get('TOOLKIT_DISK_STEP', 72))
LENGTH = {'train_cfg.max_iters': 4, 'default_hooks.checkpoint.interval': 2}
RUN = 'full-s0'


class WorkerHere:
    """Stands for the process of a job: does the job as soon as it is sent.

    It opens the job's log before, as the study does for a process.
    """

    pid = 0
    returncode = 0

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        reader, self._writer = os.pipe()
        self.stdout = os.fdopen(reader, 'rb')
        self.stdin = self

    def write(self, text: bytes) -> None:
        self._job = Job.from_json(text.decode())

    def flush(self) -> None:
        outcome = worker.work(self._job)
        statuses = {name: status.to_json() for name, status in outcome.statuses.items()}
        answer = {'full': outcome.full, 'mistake': outcome.mistake, 'statuses': statuses}
        os.write(self._writer, json.dumps(answer).encode() + b'\n')

    def close(self) -> None:
        os.close(self._writer)

    def poll(self) -> int:
        return 0


class LauncherHere(Launcher):
    """Launcher that supervises one job after the other in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self._ended: list[EndedJob] = []
        self._stopped = False

    def start(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if not self._stopped:
                self._ended.append(supervisor.supervise(job))
                self._stopped = self._ended[-1].full

    def poll(self) -> list[EndedJob]:
        found, self._ended = self._ended, []
        return found

    def done(self) -> bool:
        return not self._ended

    def stop(self, now: bool = False) -> None:
        self._stopped = True

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    popen = mock.Mock(PIPE=-1, Popen=WorkerHere)
    monkeypatch.setattr(supervisor, 'subprocess', popen)
    monkeypatch.setattr(supervisor, 'kill_session', lambda pid: None)
    monkeypatch.setattr(supervisor, 'POLL_SECONDS', 0.0)
    monkeypatch.setattr(Study, 'launcher', lambda self, jobs=None: LauncherHere())


def start(file: Path, folder: Path, *options: str) -> tuple[int, str, str]:
    """Runs the command; returns its exit status, output and errors."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        status = cli.main(['study', str(file), '--work-dir', str(folder), *options])
    return status, output.getvalue(), errors.getvalue()


def check_told(status: int, output: str, errors: str) -> None:
    """A failure is told in one line, and once."""
    assert 'Traceback' not in output + errors
    assert errors.count('\n') <= 1, errors
    assert status in (0, 1)
    if status:
        told = [line for line in output.splitlines() if 'rror' in line or 'space' in line]
        assert errors or told, output


def sweep_study(tmp_path: Path, fault: str, part: slice) -> dict[str, int]:
    """Fails operations of a study one after the other; returns how many ended how."""
    file = studies.write(tmp_path, variants={'full': {}}, seeds=[0], common=LENGTH, launcher=None)
    # Folders of their own, since runs of a study beside are taken over.
    calm, hurt = tmp_path / 'calm' / 'work', tmp_path / 'hurt' / 'work'
    with FailingDisk(calm).mounted() as disk:
        assert start(file, calm)[0] == 0
    operations, expected = disk.operations, studies.results(calm)
    assert len(operations) > 120, operations
    last = checkpoint.load(calm / 'runs' / RUN / 'checkpoints' / 'last.pth')
    ends = {'finished': 0, 'ended': 0}
    for number in list(range(1, len(operations) + 1))[part]:
        case = f'{fault} at {number}, {operations[number - 1]}'
        with FailingDisk(hurt, number, **FAULTS[fault]).mounted():
            try:
                told = start(file, hurt)
            except Exception as error:
                raise AssertionError(case) from error
        try:
            check_told(*told)
            ends['ended' if told[0] else 'finished'] += 1
            if hurt.exists():
                check_files(hurt)
            if (hurt / 'plan.json').exists():
                assert start(file, hurt, '--table')[0] == 0
            if 'replace .last.pth.tmp' in operations[: number - 1]:
                checkpoints = hurt / 'runs' / RUN / 'checkpoints'
                assert checkpoint.load(checkpoints / 'last.pth')['meta']['iter'] >= 2
            options = []
            if RunStatus.read(hurt / 'runs' / RUN).status == 'failed':
                assert FAULTS[fault]['error'] == errno.EIO  # a full disk fails no run
                options = ['--rerun', 'failed']
            status, output, errors = start(file, hurt, *options)
            assert (status, errors) == (0, ''), output
            assert studies.results(hurt) == expected
            again = checkpoint.load(hurt / 'runs' / RUN / 'checkpoints' / 'last.pth')
            assert subprocesses.first_difference(last, again) is None
            assert (hurt / 'report.html').exists()
            check_files(hurt)
        except Exception as error:
            raise AssertionError(f'{case}: {told}') from error
        shutil.rmtree(hurt.parent)
    return ends


@pytest.mark.slow
@pytest.mark.parametrize('fault', FAULTS)
def test_operations_of_a_study_fail(tmp_path: Path, fault: str) -> None:
    first = STEP // len(FAULTS) * list(FAULTS).index(fault)
    ends = sweep_study(tmp_path, fault, slice(first, None, STEP))
    assert ends['ended'] > 0, ends
