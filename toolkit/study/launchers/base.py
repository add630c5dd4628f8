"""What a launcher is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from toolkit.study.launchers.job import EndedJob, Job


class Launcher(ABC):
    """Runs jobs somewhere, so many at a time, each by
    `toolkit.study.launchers.supervisor.supervise`.

    Args:
        jobs: at a time; None for as many as there is room for.
        threads: CPU threads of each run.
        gpus: GPUs, or a share of one below 1, of each run.
    """

    def __init__(
        self, jobs: int | None = None, threads: int | None = None, gpus: float | None = None
    ) -> None:
        for name, value in (('jobs', jobs), ('threads', threads)):
            if value is not None and value < 1:
                raise ValueError(f'{name} must be at least 1, found {value}')
        if gpus is not None and not 0 <= gpus <= 1:
            raise ValueError(
                f'gpus must be 0 to 1, found {gpus}: a run uses one GPU at most, or a share of it'
            )
        self.jobs = jobs
        self.threads = threads
        self.gpus = gpus

    @abstractmethod
    def start(self, jobs: Sequence[Job]) -> None:
        """Begin to run the jobs, beside those that run already; returns at once.

        Raises:
            ToolkitError: there is nothing to run them on.
        """

    @abstractmethod
    def poll(self) -> list[EndedJob]:
        """The jobs that have ended since the last call."""

    @abstractmethod
    def done(self) -> bool:
        """Whether no job runs or waits any more; what has ended may still be polled."""

    @abstractmethod
    def stop(self, now: bool = False) -> None:
        """Start no more jobs, and have the others save and end; `now`: end them without saving."""

    @abstractmethod
    def close(self) -> None:
        """Give back what was taken; nothing of this launcher runs after it."""
