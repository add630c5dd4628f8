"""Records of a study's runs: fingerprint, plan and status, as they are written and read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, get_args

from toolkit.errors import ToolkitError
from toolkit.io import atomic_write
from toolkit.io.run_layout import (
    STATUS,
    explain_damage,
    read_object,
)

RunState = Literal['waiting', 'running', 'finished', 'failed', 'pruned']


@dataclass(frozen=True)
class Fingerprint:
    """Hashes of everything that the result of a run depends on.

    Attributes:
        config: of the resolved config without notes.
        code: of the modules that it reaches, and the versions of the packages that compute.
        data: of the data sets and of the files that the config names; None where unknown.
        train: of everything that the training depends on; None where nothing is trained.
    """

    config: str = ''
    code: str = ''
    data: str | None = None
    train: str | None = None

    @property
    def key(self) -> tuple[str, str, str | None]:
        """The hashes that are equal for runs with the same result."""
        return self.config, self.code, self.data

    def differences(self, made: Fingerprint) -> tuple[str, ...]:
        """Name the parts in which a result that was `made` differs: config, code, data.

        A part that is not known here counts as equal.
        """
        return tuple(
            part
            for part in ('config', 'code', 'data')
            if getattr(self, part) not in (None, getattr(made, part))
        )

    def to_json(self) -> dict[str, str | None]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Fingerprint:
        return cls(**{f.name: record[f.name] for f in dataclasses.fields(cls)})


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study's plan, an entry of `plan.json`.

    Attributes:
        id: name of the run and of its folder.
        variant: name of the variant.
        settings: values of the axes by dotted path.
        data: name of the data set; None where data sets are no axis.
        seed: random seed.
        fold: number of the fold, or its value where all are integers; None without folds.
        folder: absolute folder of the run, or of an equal run whose result is used.
        fingerprint: of the result that belongs to this plan.
        trained_in: absolute folder of the training, which several runs may share; None where
            nothing is trained.
        other_code: whether the result was made with other code or packages than the plan's.
        changes: differences from the base config.
        parameters: of the system; None where it cannot be built without its data.
        macs: multiply-accumulates of one forward; None likewise.
        trial: of a search, whose result is one of the validation: its number, the metric, whether
            higher is better, and the thresholds below which it is ended, by number of validations.
        processes: number of processes that train it together.
    """

    id: str
    variant: str
    settings: Mapping[str, Any]
    data: Any
    seed: int
    fold: int | None
    folder: Path
    fingerprint: Fingerprint
    trained_in: Path | None = None
    other_code: bool = False
    changes: tuple[str, ...] = ()
    parameters: int | None = None
    macs: int | None = None
    trial: Mapping[str, Any] | None = None
    processes: int = 1

    def to_json(self, study: Path | None = None) -> dict[str, Any]:
        """Make the plain values of the record.

        Args:
            study: folder of the study, to which folders inside it are written relative.
        """
        return {
            **{f.name: getattr(self, f.name) for f in dataclasses.fields(PlannedRun)},
            'settings': dict(self.settings),
            'folder': _relative(self.folder, study),
            'fingerprint': self.fingerprint.to_json(),
            'trained_in': None if self.trained_in is None else _relative(self.trained_in, study),
            'changes': list(self.changes),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any], study: Path = Path()) -> PlannedRun:
        """Read the record.

        Args:
            study: folder of the study.
        Raises:
            KeyError, TypeError, ValueError: it is damaged.
        """
        trained_in = record.get('trained_in')
        return cls(
            id=str(record['id']),
            variant=str(record['variant']),
            settings=dict(record.get('settings') or {}),
            data=record.get('data'),
            seed=record['seed'],
            fold=record.get('fold'),
            folder=study / record['folder'],  # an absolute one stays as it is
            fingerprint=Fingerprint.from_json(record['fingerprint']),
            trained_in=None if trained_in is None else study / trained_in,
            other_code=bool(record.get('other_code')),
            changes=tuple(record.get('changes') or ()),
            parameters=record.get('parameters'),
            macs=record.get('macs'),
            trial=record.get('trial'),
            processes=int(record.get('processes', 1)),
        )


@dataclass(frozen=True)
class RunStatus:
    """The progress of a study's run, in its folder as `status.json`.

    Attributes:
        status: waiting, running, finished, failed, or pruned: ended early by a search.
        attempts: number of times that it was started.
        seconds: run time in all, without imports; includes a training that several runs share.
        train_seconds: run time of the training, in the folder that holds it.
        memory: peak resident memory of its process in bytes.
        started: time of the first start in ISO 8601.
        ended: time of the last end in ISO 8601.
        message: reason of a failure or of an early end.
        fingerprint: of the run that this is the status of; None before the first start.
    """

    status: RunState = 'waiting'
    attempts: int = 0
    seconds: float | None = None
    train_seconds: float | None = None
    memory: int | None = None
    started: str | None = None
    ended: str | None = None
    message: str = ''
    fingerprint: Fingerprint | None = None

    def replace(self, **changes: Any) -> RunStatus:
        """Copy the status with some values changed."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RunStatus:
        """Read the record.

        Raises:
            KeyError, TypeError, ValueError: it is damaged.
        """
        state = record.get('status', 'waiting')
        if state not in get_args(RunState):
            expected = ', '.join(get_args(RunState))
            raise ValueError(f'status is {state!r}, expected one of {expected}')
        known = {f.name for f in dataclasses.fields(cls)}
        made = record.get('fingerprint')
        values = {name: value for name, value in record.items() if name in known}
        values['fingerprint'] = None if made is None else Fingerprint.from_json(made)
        return cls(**values)

    def write(self, folder: Path) -> None:
        """Write `status.json` whole or not at all.

        Raises:
            RunError: it cannot be written.
        """
        atomic_write.write(folder / STATUS, json.dumps(self.to_json(), indent=1) + '\n')

    @classmethod
    def read(cls, folder: Path) -> RunStatus:
        """Read `status.json`; the status is waiting where there is no such file.

        Raises:
            ToolkitError: it is damaged.
        """
        path = folder / STATUS
        record = read_object(path)
        try:
            return cls() if record is None else cls.from_json(record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ToolkitError(
                f'{path} is damaged: {explain_damage(error)}; remove it to run this run anew'
            ) from error


def utc_now() -> str:
    """Format the current time in ISO 8601, as the records hold times."""
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


def _relative(path: Path, folder: Path | None) -> str:
    if folder is not None and path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    return str(path)
