"""What a study's folder holds of its runs: planned, waiting, failed or finished, and measured.

Reading needs neither torch nor the study's configs, and works at any time: while the study runs,
after it was killed, on another machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from toolkit.errors import ToolkitError

PLAN = 'plan.json'
STUDY = 'study.yaml'
STATUS = 'status.json'
METRICS = 'metrics.json'

Status = Literal['waiting', 'running', 'finished', 'failed']
Row = dict[str, Any]


@dataclass(frozen=True)
class RunResult:
    """One run of a study.

    Attributes:
        id: its name in the study.
        variant: the variant; what `compare_to` names.
        settings: the axes' values by dotted path.
        data: its data set where these are an axis.
        seed: of the run.
        fold: of the data, None where there are none.
        folder: of the run, absolute.
        trained_in: where its training is, absolute: runs that differ in the data of their test
            share one. The same as `folder` for others.
        key: hash of all that determines the run.
        status: what became of it.
        message: the last line of its log, or why it failed.
        attempts: times that it was started.
        seconds: that it ran, None where it has not.
        memory: highest resident memory in bytes.
        parameters: of the system.
        macs: multiply-accumulates of one forward.
        changes: lines of the semantic diff from the base.
        metrics: values of its test by name; None where one is not finite. Empty before the test.
        directions: for each metric whether higher is better.
    """

    id: str
    variant: str
    settings: Mapping[str, Any]
    data: Any
    seed: int
    fold: int | None
    folder: Path
    key: str
    trained_in: Path
    status: Status = 'waiting'
    message: str = ''
    attempts: int = 0
    seconds: float | None = None
    memory: int | None = None
    parameters: int | None = None
    macs: int | None = None
    changes: tuple[str, ...] = ()
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    directions: Mapping[str, bool] = field(default_factory=dict)

    def rows(self) -> dict[str, list[Row]]:
        """For each metric's key one row per test item; read from the run's folder at each call.

        Raises:
            ToolkitError: the file is damaged.
        """
        record = _object(self.folder / METRICS) or {}
        rows = record.get('rows') or {}
        if not isinstance(rows, dict):
            raise ToolkitError(f'{self.folder / METRICS} is damaged: rows is no mapping')
        return rows


@dataclass(frozen=True)
class StudyResults:
    """A study as far as it has come.

    Attributes:
        name: of the study.
        folder: absolute.
        compare_to: the variant that all others are compared with, None for no comparison.
        metrics: name -> whether higher is better, None where no run has said so yet. Where the
            study names none, all that its runs report.
        runs: all that are planned, in the plan's order.
    """

    name: str
    folder: Path
    compare_to: str | None
    metrics: Mapping[str, bool | None]
    runs: tuple[RunResult, ...]


def holds_study(folder: Path) -> bool:
    """Whether a folder is a study's."""
    return (folder / PLAN).is_file()


def load(folder: Path | str) -> StudyResults:
    """Read a study's folder.

    Raises:
        ToolkitError: it holds no study, or a file in it is damaged.
    """
    folder = Path(folder).absolute()
    plan = _object(folder / PLAN)
    if plan is None:
        what = f'no {PLAN} in it' if folder.is_dir() else 'there is no such folder'
        raise ToolkitError(f'{folder} holds no study: {what}')
    try:
        runs = tuple(_run(folder, planned) for planned in plan['runs'])
        compare_to = plan.get('compare_to')
        metrics = directions(dict(plan.get('metrics') or {}), runs)
        name = str(plan['study'])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ToolkitError(f'{folder / PLAN} is damaged: {_reason(error)}') from error
    if not runs:
        raise ToolkitError(f'{folder / PLAN} is damaged: it has no runs')
    if compare_to is not None and all(run.variant != compare_to for run in runs):
        raise ToolkitError(
            f'{folder / PLAN} is damaged: compare_to is {compare_to!r}, and no run is of it'
        )
    return StudyResults(name, folder, compare_to, metrics, runs)


def _run(study: Path, planned: Mapping[str, Any]) -> RunResult:
    folder = study / planned['folder']  # an absolute one stays as it is
    trained_in = study / (planned.get('trained_in') or planned['folder'])
    status = _object(folder / STATUS) or {}
    state = status.get('status', 'waiting')
    if state not in get_args(Status):
        expected = ', '.join(get_args(Status))
        raise ToolkitError(
            f'{folder / STATUS} is damaged: status is {state!r}, expected one of {expected}'
        )
    # What an earlier attempt has tested is not the result of a run that goes on.
    metrics, directions_ = measured(folder) if state == 'finished' else ({}, {})
    return RunResult(
        id=str(planned['id']),
        variant=str(planned['variant']),
        settings=dict(planned.get('settings') or {}),
        data=planned.get('data'),
        seed=planned['seed'],
        fold=planned.get('fold'),
        folder=folder,
        key=str(planned.get('key', '')),
        trained_in=trained_in,
        status=state,
        message=str(status.get('message') or ''),
        attempts=int(status.get('attempts') or 0),
        seconds=status.get('seconds'),
        memory=status.get('memory'),
        parameters=planned.get('parameters'),
        macs=planned.get('macs'),
        changes=tuple(planned.get('changes') or ()),
        metrics=metrics,
        directions=directions_,
    )


def measured(folder: Path) -> tuple[dict[str, float | None], dict[str, bool]]:
    """What the test of a run found: values by name, and whether higher is better; none untested.

    Raises:
        ToolkitError: the file is damaged.
    """
    record = _object(folder / METRICS) or {}
    try:
        metrics = {str(name): _finite(value) for name, value in record.get('metrics', {}).items()}
        better = {str(name): bool(value) for name, value in record.get('directions', {}).items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise ToolkitError(f'{folder / METRICS} is damaged: {error}') from error
    return metrics, better


def directions(
    named: Mapping[str, bool | None], runs: Sequence[RunResult]
) -> dict[str, bool | None]:
    """Metrics with whether higher is better, from the runs where it is left open.

    Args:
        named: the study's; empty for all that the runs report.
        runs: which may say so.
    Raises:
        ToolkitError: the runs disagree.
    """
    reported: dict[str, bool] = {}
    for run in runs:
        for name, better in run.directions.items():
            if reported.setdefault(name, better) != better and named.get(name) is None:
                raise ToolkitError(
                    f'runs disagree whether a higher {name} is better ({run.id} against others); '
                    'name the metric with its direction in the study file'
                )
    if not named:
        return dict(reported)
    return {n: reported.get(n) if better is None else better for n, better in named.items()}


def _object(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, None where there is no file."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ToolkitError(f'cannot read {path}: {error.strerror}') from error
    except ValueError as error:
        raise ToolkitError(f'{path} is damaged: {error}') from error
    if not isinstance(content, dict):
        raise ToolkitError(f'{path} is damaged: an object expected')
    return content


def _finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _reason(error: Exception) -> str:
    return f'no {error} in it' if isinstance(error, KeyError) else str(error)
