"""Jobs: the work that a study hands to its launchers and to the processes of its runs."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from toolkit.errors import ToolkitError
from toolkit.io.json_values import parse_json
from toolkit.io.run_layout import OUTPUT
from toolkit.io.run_records import PlannedRun, RunStatus, utc_now

Keep = Literal['all', 'best', 'last', 'none']


@dataclass(frozen=True)
class Job:
    """The work of one process: trains if there is something to train, then tests each run.

    Runs that differ only in their test share a training and are one job.

    Attributes:
        runs: planned runs, whose folders hold their `config.yaml`.
        trained_in: folder of the training, that of a run of this job or of another one; None where
            nothing is trained.
        time: time limit of a run in seconds, all attempts together.
        retries: number of attempts after a failure.
        keep: checkpoints that stay after the tests: all, best, last, none.
        program: record of its only run, if that is one of a foreign program.
        processes: number of processes that train together.
        planned: time at which it was made in ISO 8601; another process did what ended later.
    """

    runs: tuple[PlannedRun, ...]
    trained_in: Path | None = None
    time: float | None = None
    retries: int = 1
    keep: Keep = 'all'
    program: dict[str, Any] | None = None
    processes: int = 1
    planned: str = field(default_factory=utc_now)

    @property
    def folder(self) -> Path:
        """The folder of its training, or of its first run where nothing is trained."""
        return self.trained_in or self.runs[0].folder

    @property
    def name(self) -> str:
        return self.runs[0].id

    @property
    def log(self) -> Path:
        """The file that its process prints to."""
        return self.runs[0].folder / OUTPUT

    def to_json(self) -> str:
        return json.dumps(
            {
                'runs': [run.to_json() for run in self.runs],
                'trained_in': None if self.trained_in is None else str(self.trained_in),
                'time': self.time,
                'retries': self.retries,
                'keep': self.keep,
                'program': self.program,
                'processes': self.processes,
                'planned': self.planned,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Job:
        record = parse_json(text)
        runs = tuple(PlannedRun.from_json(run) for run in record.pop('runs'))
        trained_in = record.pop('trained_in')
        return cls(runs, None if trained_in is None else Path(trained_in), **record)


@dataclass(frozen=True)
class EndedJob:
    """The end of a job.

    Attributes:
        job: the job.
        statuses: status of each run by its name, also where it could not be written.
        full: the disk is full, so starting other jobs is of no use.
        lost: the machine that it was on is gone.
        elsewhere: another process works on it; there are no statuses then.
    """

    job: Job
    statuses: dict[str, RunStatus]
    full: bool = False
    lost: bool = False
    elsewhere: bool = False


def write_if_possible(folder: Path, status: RunStatus) -> None:
    """Write a status; on a full disk it is shown on the screen only."""
    with contextlib.suppress(ToolkitError):
        status.write(folder)
