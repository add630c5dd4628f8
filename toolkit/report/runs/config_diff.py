"""Changes of the config in each condition, from the base and from the reference."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.analysis.aggregate import Analysis
from toolkit.analysis.conditions import Condition
from toolkit.io.run_layout import CONFIG
from toolkit.io.run_results import RunResult

CONTEXT = 2  # unchanged lines around a change
MOST_LINES = 400


@dataclass(frozen=True)
class DiffLine:
    """A line of a diff; `kind` is 'same', 'added', 'removed', or 'gap' for lines left out."""

    kind: str
    text: str


@dataclass(frozen=True)
class ConditionChange:
    """Changes of the config in a condition.

    Attributes:
        condition: the condition.
        place: its index.
        summary: lines of the semantic diff from the base.
        against: label of the condition that `diff` starts from; '' if there is none.
        diff: of the YAML; empty if nothing differs.
        config: the whole resolved config; '' if no run has left one.
    """

    condition: Condition
    place: int
    summary: tuple[str, ...]
    against: str
    diff: list[DiffLine]
    config: str


def find_config_changes(analysis: Analysis) -> list[ConditionChange]:
    """Finds the changes of each condition that has a config or a difference."""
    found = []
    for place, condition in enumerate(analysis.conditions):
        config, run = _read_config(condition)
        reference = _choose_reference(analysis, condition)
        against, diff = '', []
        if reference is not None and run is not None:
            before, other = _read_config(reference, run)
            if other is not None:
                against, diff = reference.label, list(_diff(before, config))[:MOST_LINES]
        summary = condition.runs[0].changes
        if summary or config or against:
            found.append(ConditionChange(condition, place, summary, against, diff, config))
    return found


def _choose_reference(analysis: Analysis, condition: Condition) -> Condition | None:
    """Chooses the reference; the first condition if the study names none."""
    if analysis.results.compare_to is not None:
        return analysis.find_reference(condition)
    first = analysis.conditions[0]
    return None if condition is first else first


def _read_config(
    condition: Condition, like: RunResult | None = None
) -> tuple[str, RunResult | None]:
    """Reads the config of one run of a condition, and returns the run too.

    A run with the seed and fold of `like` comes first, so that a diff of two variants has no seeds.
    """
    runs = list(condition.runs)
    if like is not None:
        runs.sort(key=lambda run: (run.seed, run.fold) != (like.seed, like.fold))
    for run in runs:
        for folder in (run.folder, run.trained_in):
            path: Path = folder / CONFIG
            with contextlib.suppress(OSError):  # none yet, or none any more
                return path.read_text(encoding='utf-8', errors='replace'), run
    return '', None


def _diff(before: str, after: str) -> Iterator[DiffLine]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=CONTEXT, lineterm='')
    kinds = {'+': 'added', '-': 'removed', ' ': 'same'}
    for number, line in enumerate(lines):
        if number < 2:
            continue  # names of files
        if line.startswith('@@'):
            yield DiffLine('gap', '')
        else:
            yield DiffLine(kinds[line[0]], line[1:])
