"""What passes between a study, its launchers and the processes of its runs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from toolkit.errors import ToolkitError
from toolkit.io.atomic_write import write

# In a study's folder.
PLAN = 'plan.json'
STUDY = 'study.yaml'
RUNS = 'runs'
# In a run's.
STATUS = 'status.json'
METRICS = 'metrics.json'
OUTPUT = 'output.log'
State = Literal['waiting', 'running', 'finished', 'failed']


@dataclass
class Status:
    """How far a run is; in its folder as `status.json`.

    Attributes:
        attempts: times that it was started.
        seconds: that it has run in all, without imports; a training that several runs share is
            included in each.
        train_seconds: those of the training, in whose folder this is.
        memory: highest resident memory of its process in bytes.
        started: when first, in ISO 8601.
        message: why it failed.
        identity: hashes of the config, code and data that it was made with.
    """

    status: State = 'waiting'
    attempts: int = 0
    seconds: float | None = None
    train_seconds: float | None = None
    memory: int | None = None
    started: str | None = None
    ended: str | None = None
    message: str = ''
    identity: dict[str, str | None] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it whole or not at all.

        Raises:
            RunError: it cannot be written.
        """
        write(folder / STATUS, json.dumps(dataclasses.asdict(self), indent=1) + '\n')

    def replaced(self, **changes: Any) -> Status:
        return dataclasses.replace(self, **changes)


def read_status(folder: Path) -> Status:
    """A run's status; waiting where there is none.

    Raises:
        ToolkitError: it is damaged.
    """
    path = folder / STATUS
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
        known = {f.name for f in dataclasses.fields(Status)}
        return Status(**{name: value for name, value in record.items() if name in known})
    except FileNotFoundError:
        return Status()
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ToolkitError(
            f'{path} is damaged ({error}); remove it to run this run anew'
        ) from error


@dataclass(frozen=True)
class JobRun:
    """One run of a job: its name, its folder (absolute, holds its config.yaml) and its identity."""

    id: str
    folder: str
    identity: dict[str, str | None]

    @property
    def path(self) -> Path:
        return Path(self.folder)


@dataclass(frozen=True)
class Job:
    """What one process does: train where there is something to train, then test each run of it.

    Runs that differ in their test alone share a training and are one job.

    Attributes:
        trained_in: folder of the training, which is that of one of the runs, of this job or not;
            None where nothing is trained.
        time: seconds that a run may take in all.
        retries: after a failure.
    """

    runs: tuple[JobRun, ...]
    trained_in: str | None = None
    time: float | None = None
    retries: int = 1

    @property
    def name(self) -> str:
        return self.runs[0].id

    @property
    def log(self) -> Path:
        """Where its process prints to."""
        return self.runs[0].path / OUTPUT

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        record = json.loads(text)
        runs = tuple(JobRun(**run) for run in record.pop('runs'))
        return cls(runs=runs, **record)


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes:
        statuses: of its runs by name, whether or not they could be written.
        full: the disk had no room; starting others is of no use.
        lost: the machine that it was on is gone.
    """

    job: Job
    statuses: dict[str, Status]
    full: bool = False
    lost: bool = False


def note(folder: Path, status: Status) -> None:
    """Write a status where that is possible; on a full disk it is told on the screen alone."""
    with contextlib.suppress(ToolkitError):
        status.write(folder)


def now() -> str:
    """The time in ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec='seconds')
