"""Abstract class of the launchers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from toolkit.study.launchers.job import EndedJob, Job


class Launcher(ABC):
    """Base of the launchers, which run jobs by `toolkit.study.launchers.supervisor.supervise`.

    Args:
        jobs: number of jobs at a time; None for as many as there is room for.
        threads: CPU threads per run.
        gpus: GPUs per run: 0, a share of one, or a whole number, of which each process has one.
        processes: processes that train a run together, on one machine; as many as GPUs by default.

    Attributes:
        can_join: another process may work on the same study beside it.
    """

    can_join: ClassVar[bool] = False

    def __init__(
        self,
        jobs: int | None = None,
        threads: int | None = None,
        gpus: float | None = None,
        processes: int | None = None,
    ) -> None:
        for name, value in (('jobs', jobs), ('threads', threads), ('processes', processes)):
            if value is not None and value < 1:
                raise ValueError(f'{name} must be at least 1, found {value}')
        if gpus is not None and (gpus < 0 or (gpus > 1 and gpus != int(gpus))):
            raise ValueError(
                f'gpus must be 0, a share of one, or a whole number per run, found {gpus}'
            )
        if gpus and processes is not None and gpus != processes and (processes > 1 or gpus > 1):
            raise ValueError(
                f'each process uses one GPU: expected gpus: {processes} or gpus: 0 for '
                f'{processes} processes, found gpus: {gpus:g}'
            )
        self.jobs = jobs
        self.threads = threads
        self.gpus = gpus
        self.processes = processes or max(1, int(gpus or 0))

    def check_devices(self) -> None:  # noqa: B027 (a cluster tells itself)
        """Check that there are the GPUs that the study asks for, where this machine can tell.

        Raises:
            ToolkitError: there are fewer.
        """

    def count_slots(self, jobs: int) -> int:
        """Count how many of so many jobs run at a time; one where only a cluster knows."""
        return max(1, min(self.jobs or 1, jobs))

    @abstractmethod
    def start(self, jobs: Sequence[Job]) -> None:
        """Start jobs beside those that run already; returns at once.

        Raises:
            ToolkitError: no machine can run them.
        """

    @abstractmethod
    def poll(self) -> list[EndedJob]:
        """Return the jobs that have ended since the last call."""

    @abstractmethod
    def done(self) -> bool:
        """Tell whether no job runs or waits any more; ended jobs may still be polled."""

    @abstractmethod
    def stop(self, now: bool = False) -> None:
        """Start no more jobs and end the others.

        Args:
            now: end them without saving.
        """

    @abstractmethod
    def close(self) -> None:
        """Release all resources; no process of this launcher runs after it."""
