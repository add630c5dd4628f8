"""Base of launchers that run jobs on other machines; a file in the study's folder stops them."""

from __future__ import annotations

import contextlib
import os
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from toolkit.study.launchers.base import Launcher
from toolkit.study.launchers.job import EndedJob, Job
from toolkit.study.launchers.supervisor import supervise

# File in the study's folder that stops its runs: 1 to save and end, 2 to end at once.
STOP = '.stop'
# Time for runs of a killed study to save and end.
LEFT_SECONDS = 60.0
# Environment variables that runs on other machines need.
PASSED_ON = ('TOOLKIT_DATA', 'PYTHONPATH')


class RemoteLauncher(Launcher):
    """Base of launchers for machines that have the toolkit and share the study's folder and path.

    Args:
        jobs: number of jobs at a time; None for as many as there is room for.
        threads: CPU threads per process, and the cores that it requests.
        gpus: GPUs per run, or a share of one.
        processes: processes that train a run together; as many as GPUs by default.
    """

    def __init__(
        self,
        jobs: int | None = None,
        threads: int | None = 1,
        gpus: float | None = 0,
        processes: int | None = None,
    ) -> None:
        super().__init__(jobs, threads, gpus, processes)
        # Of a run, for the cluster.
        self.cores = (threads or 1) * self.processes
        self._stop_file: Path | None = None

    def start(self, jobs: Sequence[Job]) -> None:
        if self._stop_file is None:
            # A study's runs lie in STUDY/runs/ID.
            self._stop_file = jobs[0].runs[0].folder.parents[1] / STOP
            self._end_what_is_left(jobs)
            self._stop_file.unlink(missing_ok=True)
        for job in jobs:
            self._submit(job, str(self._stop_file))

    def _end_what_is_left(self, jobs: Sequence[Job]) -> None:
        """Stop runs that a killed study left on other machines; they save first."""
        from toolkit.run import work_dir as work_dirs

        deadline = time.monotonic() + LEFT_SECONDS
        folders = [job.trained_in for job in jobs if job.trained_in is not None]
        while any(work_dirs.is_busy(folder) for folder in folders) and time.monotonic() < deadline:
            self.stop()
            time.sleep(1)

    @abstractmethod
    def _submit(self, job: Job, stop_file: str) -> None:
        """Queue a job that runs `remote(job, ...)`."""

    def stop(self, now: bool = False) -> None:
        if self._stop_file is not None:
            with contextlib.suppress(OSError):
                self._stop_file.write_text('2' if now else '1', encoding='utf-8')

    def _forget_stop(self) -> None:
        if self._stop_file is not None:
            self._stop_file.unlink(missing_ok=True)


def remote(
    text: str, threads: int | None, stop_file: str, environment: dict[str, str] | None = None
) -> EndedJob:
    """Run a job on the present machine, with the GPUs assigned to it.

    Args:
        text: the job as JSON.
        threads: CPU threads of its process.
        stop_file: file that stops the job while it exists.
        environment: environment variables of the study's process.
    """
    os.environ.update(environment or {})
    return supervise(Job.from_json(text), threads, None, _reader(stop_file))


def _reader(stop_file: str) -> Callable[[], int]:
    def stopped() -> int:
        try:
            return int(Path(stop_file).read_text(encoding='utf-8') or 1)
        except FileNotFoundError:
            return 0
        except ValueError:
            return 1

    return stopped


def environment() -> dict[str, str]:
    """Get the environment variables that runs on other machines need."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}
