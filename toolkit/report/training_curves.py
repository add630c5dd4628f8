"""Training curves from `metrics.jsonl`, thinned so that a report of many runs stays small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolkit.analysis.aggregate import Cell
from toolkit.io.read_metrics_log import LogLine, read_metrics_log

# Numbers that all curves of a section may hold together, some eight bytes each in the page.
NUMBERS = 120_000
FEWEST, MOST = 40, 500  # points of a curve
_PLACE = ('iter', 'epoch')
VALIDATION = 'val: '

Lines = list[LogLine]


def curves(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """The curves of all runs that have some.

    Returns:
        For each run `cell` (its place), `run`, `seed`, and `train` and `val`, each with `x`
        (iterations) and `y`: quantity -> values, None where one is not finite. Of many lines a
        point is the mean of several in a row; runs that log alike keep common iterations.
    """
    found = [
        (place, run, read_metrics_log(run.trained_in))
        for place, cell in enumerate(cells)
        for run in cell.runs
    ]
    found = [(place, run, lines) for place, run, lines in found if lines]
    training = [[line for line in lines if 'val' not in line] for _, _, lines in found]
    validation = [
        [
            {**_place(line), **{f'{VALIDATION}{k}': v for k, v in line['val'].items()}}
            for line in lines
        ]
        for lines in ([line for line in lines if 'val' in line] for _, _, lines in found)
    ]
    steps = _step(training), _step(validation)
    return [
        {
            'cell': place,
            'run': run.id,
            'seed': run.seed,
            'train': _thinned(training[i], steps[0]),
            'val': _thinned(validation[i], steps[1]),
        }
        for i, (place, run, _) in enumerate(found)
    ]


def _place(line: dict[str, Any]) -> dict[str, Any]:
    return {key: line[key] for key in _PLACE if key in line}


def _step(runs: Sequence[Lines]) -> int:
    """How many lines make a point; the same for all runs, so that their iterations agree."""
    quantities = sum(len(lines[0]) for lines in runs if lines)
    points = min(max(NUMBERS // max(quantities, 1), FEWEST), MOST)
    longest = max((len(lines) for lines in runs), default=0)
    return max(1, -(-longest // points))


def _thinned(lines: Lines, step: int) -> dict[str, Any]:
    names = list(dict.fromkeys(key for line in lines for key in line if key not in _PLACE))
    groups = [lines[start : start + step] for start in range(0, len(lines), step)]
    return {
        'x': [group[-1]['iter'] for group in groups],
        'y': {name: [_mean(group, name) for group in groups] for name in names},
    }


def _mean(group: Lines, name: str) -> float | None:
    """The mean of a quantity over some lines; a value that was not finite makes it None."""
    values = [line.get(name) for line in group]
    if not all(isinstance(value, (int, float)) for value in values):
        return None
    return float(f'{sum(values) / len(values):.5g}')
