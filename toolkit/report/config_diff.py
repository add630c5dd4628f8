"""What each cell changed: its semantic diff, and its config against that of the reference."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.analysis.aggregate import Analysis, Cell
from toolkit.io.run_layout import CONFIG, RunResult

CONTEXT = 2  # unchanged lines around a change
MOST_LINES = 400


@dataclass(frozen=True)
class Line:
    """A line of a diff: 'same', 'added', 'removed', or 'gap' where unchanged lines are left out."""

    what: str
    text: str


@dataclass(frozen=True)
class Change:
    """What a cell changed.

    Attributes:
        cell: whose.
        place: of the cell.
        summary: lines of the semantic diff from the base.
        against: label of the cell that `diff` starts from; '' where there is nothing to compare.
        diff: of the YAML; empty where nothing differs.
        config: the whole resolved config, '' where no run has left one.
    """

    cell: Cell
    place: int
    summary: tuple[str, ...]
    against: str
    diff: list[Line]
    config: str


def changes(analysis: Analysis) -> list[Change]:
    """A change for each cell that has anything to show."""
    found = []
    for place, cell in enumerate(analysis.cells):
        config, run = _config(cell)
        reference = _compared_with(analysis, cell)
        against, diff = '', []
        if reference is not None and run is not None:
            before, other = _config(reference, run)
            if other is not None:
                against, diff = reference.label, list(_diff(before, config))[:MOST_LINES]
        summary = cell.runs[0].changes
        if summary or config or against:
            found.append(Change(cell, place, summary, against, diff, config))
    return found


def _compared_with(analysis: Analysis, cell: Cell) -> Cell | None:
    """The reference; where a study has none, its first cell."""
    if analysis.results.compare_to is not None:
        return analysis.reference(cell)
    first = analysis.cells[0]
    return None if cell is first else first


def _config(cell: Cell, like: RunResult | None = None) -> tuple[str, RunResult | None]:
    """The config of one of the cell's runs: of that with the seed and fold of `like`, if it can be.

    Otherwise the seeds would stand in the diff of two variants.
    """
    runs = list(cell.runs)
    if like is not None:
        runs.sort(key=lambda run: (run.seed, run.fold) != (like.seed, like.fold))
    for run in runs:
        for folder in (run.folder, run.trained_in):
            path: Path = folder / CONFIG
            if path.is_file():
                return path.read_text(encoding='utf-8', errors='replace'), run
    return '', None


def _diff(before: str, after: str) -> Iterator[Line]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=CONTEXT, lineterm='')
    kinds = {'+': 'added', '-': 'removed', ' ': 'same'}
    for number, line in enumerate(lines):
        if number < 2:
            continue  # names of files
        if line.startswith('@@'):
            yield Line('gap', '')
        else:
            yield Line(kinds[line[0]], line[1:])
