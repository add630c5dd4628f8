"""Reads single runs as a study without comparisons: one condition per run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from toolkit.analysis.results import StudyResults, resolve_directions
from toolkit.errors import ToolkitError
from toolkit.io.run_layout import CAPSULE, TestRecord
from toolkit.io.run_records import Fingerprint, RunState
from toolkit.io.run_results import RunResult
from toolkit.run import capsule

NAME = 'runs'


def holds_run(folder: Path) -> bool:
    """Tells whether a folder is that of a run."""
    return (folder / CAPSULE).is_file()


def read_single_runs(folders: Sequence[Path]) -> StudyResults:
    """Reads runs in the order given, named by their folders.

    Raises:
        ToolkitError: a folder holds no run, or a file in it is damaged.
    """
    runs = []
    for folder, name in zip(folders, _name_folders(folders)):
        try:
            runs.append(_read_run(folder, name))
        except (TypeError, ValueError) as error:  # times, one without a zone
            path = folder / CAPSULE
            raise ToolkitError(f'{path} is damaged: {type(error).__name__}: {error}') from error
    metrics = resolve_directions({}, runs)
    return StudyResults(NAME, Path(folders[0]).absolute(), None, metrics, tuple(runs))


def _read_run(folder: Path, name: str) -> RunResult:
    record = capsule.read(folder)
    test = TestRecord.read(folder)
    status, message = _split_status(record['status'])
    return RunResult(
        id=name,
        variant=name,
        settings={},
        data=None,
        seed=record['seed'],
        fold=None,
        folder=folder.absolute(),
        fingerprint=Fingerprint(),
        trained_in=folder.absolute(),
        status=status,
        message=message,
        attempts=1 + len(record['resumed']),
        seconds=_compute_seconds(record),
        metrics=test.metrics,
        directions=test.directions,
        overlap=test.overlap,
        test_data=test.test_data,
    )


def _split_status(text: str) -> tuple[RunState, str]:
    """Splits the status of a capsule ('finished', 'running', 'interrupted', 'failed: reason')."""
    if text in ('finished', 'running'):
        return text, ''
    word, _, why = text.partition(': ')
    return 'failed', why if word == 'failed' else text


def _compute_seconds(record: dict[str, Any]) -> float | None:
    """Computes the time from start to end; None if the run goes on or was resumed."""
    if not record['ended'] or record['resumed']:
        return None
    start, end = (datetime.fromisoformat(record[key]) for key in ('started', 'ended'))
    return (end - start).total_seconds()


def _name_folders(folders: Sequence[Path]) -> list[str]:
    """Names paths by their last parts, as many as make the names unique."""
    parts = [folder.absolute().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ['/'.join(path[-length:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    return ['/'.join(path) for path in parts]
