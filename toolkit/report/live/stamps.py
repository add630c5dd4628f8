"""Stamps of the files that a report reads, by which a change is noticed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.io.run_layout import (
    CAPSULE,
    IMAGES,
    METRICS_FILE,
    METRICS_LOG,
    PLAN,
    STATUS,
    STUDY,
    read_object,
)

_OF_A_RUN = (STATUS, METRICS_FILE, METRICS_LOG, CAPSULE, IMAGES)


def stamp_folders(folders: Sequence[Path]) -> str:
    """Makes a hash of times and sizes of the files that a report of these folders reads."""
    stamp = hashlib.sha256()
    for path in _list_files(folders):
        try:
            found = os.stat(path)
            entry = f'{path}\0{found.st_mtime_ns}\0{found.st_size}\0{found.st_ino}\n'
        except OSError:
            entry = f'{path}\n'  # not there yet, or not any more
        stamp.update(entry.encode(errors='surrogateescape'))
    return stamp.hexdigest()


def _list_files(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (folder / PLAN, folder / STUDY)
        runs = dict.fromkeys([folder, *_list_runs(folder)])
        yield from (run / name for run in runs for name in _OF_A_RUN)


def _list_runs(folder: Path) -> Iterator[Path]:
    """Lists the folders of runs that a plan names, also those that are elsewhere."""
    try:
        runs = (read_object(folder / PLAN) or {}).get('runs') or []
        for run in runs:
            yield from (folder / run[key] for key in ('folder', 'trained_in') if run.get(key))
    except (ToolkitError, TypeError, KeyError, AttributeError):
        return  # a damaged plan, of which the report tells
