"""Single runs, read as a study without comparison: one cell for each run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from toolkit.analysis.results import StudyResults, resolve_directions
from toolkit.errors import ToolkitError
from toolkit.io.run_layout import CAPSULE, Fingerprint, RunResult, RunState, read_metrics
from toolkit.run import capsule

NAME = 'runs'


def holds_run(folder: Path) -> bool:
    """Whether a folder is a run's."""
    return (folder / CAPSULE).is_file()


def of_runs(folders: Sequence[Path]) -> StudyResults:
    """Runs by the names of their folders, in the order given.

    Raises:
        ToolkitError: a folder holds no run, or a file in it is damaged.
    """
    runs = []
    for folder, name in zip(folders, _names(folders)):
        try:
            runs.append(_run(folder, name))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            path = folder / CAPSULE
            raise ToolkitError(f'{path} is damaged: {type(error).__name__}: {error}') from error
    metrics = resolve_directions({}, runs)
    return StudyResults(NAME, Path(folders[0]).absolute(), None, metrics, tuple(runs))


def _run(folder: Path, name: str) -> RunResult:
    record = capsule.read(folder)
    metrics, better = read_metrics(folder)
    status, message = _status(str(record.get('status', '')))
    return RunResult(
        id=name,
        variant=name,
        settings={},
        data=None,
        seed=record.get('seed') or 0,
        fold=None,
        folder=folder.absolute(),
        fingerprint=Fingerprint(),
        trained_in=folder.absolute(),
        status=status,
        message=message,
        attempts=1 + len(record.get('resumed') or []),
        seconds=_seconds(record),
        metrics=metrics,
        directions=better,
    )


def _status(text: str) -> tuple[RunState, str]:
    """What a capsule calls 'finished', 'running', 'interrupted' or 'failed: why'."""
    if text in ('finished', 'running'):
        return text, ''
    word, _, why = text.partition(': ')
    return 'failed', why if word == 'failed' else text


def _seconds(record: dict[str, Any]) -> float | None:
    """From start to end; None for a run that goes on, or that stood still before it was resumed."""
    if not record.get('ended') or record.get('resumed'):
        return None
    start, end = (datetime.fromisoformat(record[key]) for key in ('started', 'ended'))
    return (end - start).total_seconds()


def _names(folders: Sequence[Path]) -> list[str]:
    """Last parts of paths, as many as tell them apart."""
    parts = [folder.absolute().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ['/'.join(path[-length:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    return ['/'.join(path) for path in parts]
