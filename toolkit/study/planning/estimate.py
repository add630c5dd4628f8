"""Estimates the time and the disk space that the pending runs of a study need."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.io.tables.formatting import format_duration, format_memory
from toolkit.study.reconcile import ReconciledRun


@dataclass(frozen=True)
class Estimate:
    """Needs of the pending runs of a study.

    Attributes:
        seconds: time until all have ended; None before the first run has finished.
        size: bytes on disk; None likewise.
        measured: number of finished runs that it is based on.
        free: bytes that are free on the disk.
    """

    seconds: float | None
    size: float | None
    measured: int
    free: int

    @property
    def is_too_large(self) -> bool:
        """True if the runs need more space than there is."""
        return self.size is not None and self.size > self.free

    def __str__(self) -> str:
        if self.seconds is None or self.size is None:
            return 'time and disk: not known before the first run has finished'
        runs = '1 finished run' if self.measured == 1 else f'{self.measured} finished runs'
        text = (
            f'about {format_duration(self.seconds)} and {format_memory(self.size)} on disk for the '
            f'runs to do (from {runs}; {format_memory(self.free)} are free)'
        )
        return f'{text}: TOO LITTLE' if self.is_too_large else text


def estimate_needs(entries: Sequence[ReconciledRun], folder: Path, slots: int = 1) -> Estimate:
    """Estimate the needs of the pending runs from the finished runs of a study.

    A run needs as much as the mean finished run of its variant, or else of all variants.

    Args:
        entries: all runs of the study.
        folder: of the study.
        slots: number of runs at a time.
    """
    free = shutil.disk_usage(_find_existing(folder)).free
    done = {e.folder: e for e in entries if e.is_finished and e.status.seconds is not None}
    if not done:
        return Estimate(None, None, 0, free)
    seconds = [(e.run.variant, e.status.seconds or 0.0) for e in done.values()]
    sizes = [(e.run.variant, float(measure_folder(path))) for path, e in done.items()]
    # Runs that share a training take little longer than one of them.
    jobs: dict[Path, float] = {}
    size = 0.0
    for entry in entries:
        if entry.pending:
            spent = 0.0 if entry.discard else entry.status.seconds or 0.0
            rest = max(_expect(seconds, entry.run.variant) - spent, 0.0)
            job = entry.run.trained_in or entry.folder
            jobs[job] = max(rest, jobs.get(job, 0.0))
            size += _expect(sizes, entry.run.variant)
    longest = max(jobs.values(), default=0.0)
    return Estimate(max(sum(jobs.values()) / slots, longest), size, len(done), free)


def measure_folder(folder: Path) -> int:
    """Measure the bytes of the files below a folder; 0 where there is none."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            path = Path(parent, name)
            total += path.stat().st_size if path.is_file() else 0
    return total


def _expect(measured: Sequence[tuple[str, float]], variant: str) -> float:
    own = [value for name, value in measured if name == variant]
    return statistics.fmean(own or [value for _, value in measured])


def _find_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
