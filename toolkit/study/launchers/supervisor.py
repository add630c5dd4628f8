"""Starts the process of a job and supervises it: time limit, retries, a stopped study.

Imports nothing heavy, since it runs on other machines too, beside the runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from signal import Signals
from typing import IO, Any

import toolkit
from toolkit.errors import RunError, ToolkitError
from toolkit.io.atomic_write import is_disk_full
from toolkit.io.json_values import parse_json
from toolkit.io.read_metrics_log import last_iteration
from toolkit.io.run_records import RunState, RunStatus, utc_now
from toolkit.study.launchers.claim import claim, find_outcome
from toolkit.study.launchers.job import EndedJob, Job, write_if_possible
from toolkit.study.launchers.process_groups import kill_session

# Python puts the working folder first, and a `toolkit` or `plugins` package there would hide the
# project's. At the end of the path it still gives the user's own modules.
COMMAND = [
    '-c',
    'import sys; sys.path[0] or sys.path.append(sys.path.pop(0)); '
    'from toolkit.study.launchers.worker import main; sys.exit(main())',
]
POLL_SECONDS = 0.05
# Time for a stopped process to save and end.
GRACE_SECONDS = 30.0
# Interval at which a supervisor reads the time that its process reports.
LOOK_SECONDS = 0.5
# Time for imports and checks, after which a process counts as hanging.
START_SECONDS = 300.0


def supervise(
    job: Job,
    threads: int | None = None,
    devices: str | None = None,
    stopped: Callable[[], int] = lambda: 0,
) -> EndedJob:
    """Run a job to its end, with as many retries as it allows.

    Args:
        job: the job.
        threads: CPU threads of its process; None for its own default.
        devices: visible GPUs as in CUDA_VISIBLE_DEVICES; None for its own default.
        stopped: returns 0 to continue, 1 to save and end, 2 to end at once.
    """
    with contextlib.ExitStack() as stack:
        try:
            claimed = stack.enter_context(claim(job.folder))
        except RunError as error:
            full = is_disk_full(error)
            return _closed(job, 'waiting' if full else 'failed', str(error), full=full)
        if not claimed:
            return EndedJob(job, {}, elsewhere=True)
        done = find_outcome(job)
        return _try(job, threads, devices, stopped) if done is None else EndedJob(job, done)


def _try(
    job: Job, threads: int | None, devices: str | None, stopped: Callable[[], int]
) -> EndedJob:
    """Run a job with as many retries as it allows."""
    causes: dict[str, list[str]] = {}
    for attempt in range(job.retries + 1):
        ended, again = _attempt(job, threads, devices, stopped)
        failed = {n: s.message for n, s in ended.statuses.items() if s.status == 'failed'}
        for name, message in failed.items():
            causes.setdefault(name, []).append(message)
        if not failed or not again or ended.full or stopped() or attempt == job.retries:
            break
    return _name_causes(ended, causes)


def _name_causes(ended: EndedJob, causes: dict[str, list[str]]) -> EndedJob:
    """Name the cause of every attempt of the runs that have failed."""
    statuses = dict(ended.statuses)
    for run in ended.job.runs:
        found = causes.get(run.id, [])
        if run.id not in statuses or statuses[run.id].status != 'failed' or len(found) < 2:
            continue
        if len(set(found)) == 1:
            message = f'{found[0]} (in each of {len(found)} attempts)'
        else:
            message = '; '.join(f'attempt {n}: {cause}' for n, cause in enumerate(found, 1))
        statuses[run.id] = statuses[run.id].replace(message=message)
        write_if_possible(run.folder, statuses[run.id])
    return replace(ended, statuses=statuses)


def _attempt(
    job: Job, threads: int | None, devices: str | None, stopped: Callable[[], int]
) -> tuple[EndedJob, bool]:
    """Run the process once; returns its end and whether another attempt makes sense."""
    clock = _Clock(job)
    if job.time is not None and clock.seconds >= job.time:
        return _closed(job, 'failed', _over_budget(job)), False
    try:
        process = _start(job, threads, devices)
    except OSError as error:
        full = is_disk_full(error)
        message = f'cannot be started: {error.strerror} ({error.filename})'
        return _closed(job, 'waiting' if full else 'failed', message, full=full), True
    over = _watch(process, clock, job.time, stopped)
    kill_session(process.pid)  # of a process that was killed, what it had started still runs
    answer = _answer(process)
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            pipe.close()  # type: ignore[union-attr]
    if over:
        return _closed(job, 'failed', _over_budget(job)), False
    if answer is None:
        if stopped():
            return _closed(job, 'waiting', ''), False
        return _closed(job, 'failed', _cause(process.returncode, job)), True
    statuses = {name: RunStatus.from_json(record) for name, record in answer['statuses'].items()}
    done = {run.id: RunStatus.read(run.folder) for run in job.runs if run.id not in statuses}
    # A mistake in what was asked is one again.
    return EndedJob(job, {**done, **statuses}, full=answer['full']), not answer['mistake']


def _start(job: Job, threads: int | None, devices: str | None) -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    root = str(Path(toolkit.__file__).resolve().parents[1])
    environment['PYTHONPATH'] = os.pathsep.join(
        filter(None, [root, environment.get('PYTHONPATH', '')])
    )
    if threads is not None:
        environment.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    if devices is not None:
        environment['CUDA_VISIBLE_DEVICES'] = devices
    job.log.parent.mkdir(parents=True, exist_ok=True)
    if job.log.is_symlink():  # of a received study: its lines would go to another file
        job.log.unlink()
    with open(job.log, 'ab') as log:
        process = subprocess.Popen(
            [sys.executable, *COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C is the study's, which passes it on
        )
    with contextlib.suppress(BrokenPipeError):  # how it ended says why
        _pipe(process.stdin).write(job.to_json().encode() + b'\n')
        _pipe(process.stdin).flush()
    return process


class _Clock:
    """Clock of a job's runs: the time that their statuses report, and that since the last report.

    It starts when the process has imported its components, as the reported time does.

    Args:
        job: the job, before its process starts.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._attempts = {run.id: self._read(run.folder).attempts for run in job.runs}
        self._reported = max(self._read(run.folder).seconds or 0.0 for run in job.runs)
        self._since: float | None = None
        self._begun = self._looked = time.monotonic()

    @property
    def seconds(self) -> float:
        """Run time of the longest active run, all attempts together."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look(now)
        if self._since is None and now - self._begun > START_SECONDS:
            self._since = now  # it hangs before it has begun
        return self._reported + (0.0 if self._since is None else now - self._since)

    def _look(self, now: float) -> None:
        statuses = {run.id: self._read(run.folder) for run in self._job.runs}
        active = [
            status.seconds or 0.0
            for name, status in statuses.items()
            if status.status == 'running' and status.attempts > self._attempts[name]
        ]
        if active and (self._since is None or max(active) != self._reported):
            self._reported, self._since = max(active), now

    @staticmethod
    def _read(folder: Path) -> RunStatus:
        try:
            return RunStatus.read(folder)
        except ToolkitError:
            return RunStatus()


def _watch(
    process: subprocess.Popen[bytes],
    clock: _Clock,
    limit: float | None,
    stopped: Callable[[], int],
) -> bool:
    """Wait for the process to end; returns whether the time limit ended it."""
    begun = time.monotonic()
    asked: float | None = None
    over = False
    while process.poll() is None:
        time.sleep(POLL_SECONDS)
        passed = time.monotonic() - begun
        over = over or (limit is not None and clock.seconds > limit and not stopped())
        if (over or stopped()) and asked is None:
            asked = passed
            _signal(process, signal.SIGTERM)
        if asked is not None and (passed - asked > GRACE_SECONDS or stopped() > 1):
            _signal(process, signal.SIGKILL)
    return over


def _signal(process: subprocess.Popen[bytes], number: Signals) -> None:
    """Send a signal to the process; SIGKILL also to all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        if number == signal.SIGKILL:
            kill_session(process.pid)
        else:
            process.send_signal(number)


def _answer(process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """Read the answer of the process about its runs; None if it died before."""
    output = _pipe(process.stdout)
    os.set_blocking(output.fileno(), False)  # a process of its own may hold the other end
    text = output.read() or b''
    try:
        return parse_json(text)
    except ValueError:
        return None


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _closed(job: Job, state: RunState, message: str, full: bool = False) -> EndedJob:
    """End the open runs of a job from outside."""
    statuses = {}
    for run in job.runs:
        status = RunStatus.read(run.folder)
        if status.status not in ('finished', 'pruned'):
            status = status.replace(
                status=state, ended=utc_now(), message=message, fingerprint=run.fingerprint
            )
            write_if_possible(run.folder, status)
        statuses[run.id] = status
    return EndedJob(job, statuses, full=full)


def _over_budget(job: Job) -> str:
    return f'stopped: it took longer than its time budget of {job.time:g} s{_progress(job)}'


def _progress(job: Job) -> str:
    done = last_iteration(job.trained_in) if job.trained_in is not None else None
    return '' if done is None else f', at iteration {done}'


def _cause(code: int, job: Job) -> str:
    """Find why a process ended without an answer."""
    if code < 0:
        hint = ' (by the system, out of memory?)' if code == -signal.SIGKILL else ''
        return f'killed by {Signals(-code).name}{hint}'
    said = last_line(job.log)
    return f'{said} (exit status {code})' if said else f'exit status {code}, and it said nothing'


def last_line(log: Path) -> str:
    """Read the last line of a log that is not empty; '' if there is none."""
    try:
        with open(log, 'rb') as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().decode('utf-8', 'replace').split('\n')
    except OSError:
        return ''
    return next((line.strip() for line in reversed(lines) if line.strip()), '')
