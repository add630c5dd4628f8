"""Record of the statuses of a job's runs, renewed while the runs are active."""

from __future__ import annotations

import threading
import time
from typing import Any

from toolkit.io.process import read_peak_memory
from toolkit.io.run_records import RunStatus, utc_now
from toolkit.study.launchers.job import Job, write_if_possible

# Interval at which the run time in a status is renewed.
BEAT_SECONDS = 5.0


class StatusRecord:
    """Keeps the statuses of a job's runs, and writes them while the runs are active.

    Args:
        job: the job.
    """

    def __init__(self, job: Job) -> None:
        self._lock = threading.Lock()
        self._folders = {run.id: run.folder for run in job.runs}
        self._begun = time.monotonic()
        self._before: dict[str, float] = {}
        self.statuses: dict[str, RunStatus] = {}
        # Whether the memory is that of the largest process that this one has started.
        self._counts_children = job.program is not None or job.processes > 1
        self._tests_itself = job.program is None
        for run in job.runs:
            status = RunStatus.read(run.folder)
            if status.status in ('finished', 'pruned'):
                continue
            self._before[run.id] = status.seconds or 0.0
            self._put(
                run.id,
                status.replace(
                    status='running',
                    seconds=self._before[run.id],
                    attempts=status.attempts + 1,
                    started=status.started or utc_now(),
                    ended=None,
                    message='',
                    fingerprint=run.fingerprint,
                ),
            )
        threading.Thread(target=self._beat, daemon=True).start()

    @property
    def open(self) -> list[str]:
        """Names of the active runs."""
        return [name for name, status in self.statuses.items() if status.status == 'running']

    def restart_clock(self, keep: bool) -> None:
        """Restart the clock.

        Args:
            keep: count the time so far for all active runs; otherwise for none.
        """
        with self._lock:
            passed = time.monotonic() - self._begun
            self._begun += passed
            for name in self.open if keep else ():
                self._before[name] += passed

    def add(self, name: str, seconds: float) -> None:
        """Add the time of a shared training that another run has paid."""
        self._before[name] += seconds

    def end(self, name: str, **changes: Any) -> None:
        """End a run."""
        with self._lock:
            status = self._timed(name)
            memory = read_peak_memory(self._counts_children)
            if self._tests_itself:
                memory = max(memory, read_peak_memory())
            self._put(name, status.replace(ended=utc_now(), memory=memory, **changes))

    def leave(self, message: str) -> None:
        """Fail the runs without writing, since another process works on them."""
        with self._lock:
            for name in self.open:
                self.statuses[name] = self.statuses[name].replace(status='failed', message=message)

    def note_training(self, name: str, seconds: float) -> None:
        """Note the run time of the training in this run's folder."""
        with self._lock:
            self._put(name, self.statuses[name].replace(train_seconds=seconds))

    def seconds(self, name: str) -> float:
        return self._before[name]

    def _timed(self, name: str) -> RunStatus:
        seconds = self._before[name] + time.monotonic() - self._begun
        return self.statuses[name].replace(seconds=round(seconds, 3))

    def _put(self, name: str, status: RunStatus) -> None:
        self.statuses[name] = status
        write_if_possible(self._folders[name], status)

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            with self._lock:
                for name in self.open:
                    self._put(name, self._timed(name))
