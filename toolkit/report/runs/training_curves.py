"""Training curves from `metrics.jsonl`, thinned so that a report of many runs stays small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolkit.analysis.conditions import Condition
from toolkit.io.read_metrics_log import LogLine, read_metrics_log

# Limit of numbers in all curves of a section; each takes about eight bytes in the page.
NUMBERS = 120_000
FEWEST, MOST = 40, 500  # points of a curve
_POSITION = ('iter', 'epoch', 'seconds')
VALIDATION = 'val: '

Lines = list[LogLine]


def make_curves(conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    """Makes the curves of all runs with a log.

    Returns:
        For each run `condition` (its index), `run`, `seed`, and `train` and `val`, each with `x`
        (iterations), `epoch` and `seconds` (of training so far; empty where the log lacks them)
        and `y`: quantity -> values, None for one that is not finite. A point of a long log is the
        mean of several lines; runs that log alike keep common iterations.
    """
    found = [
        (place, run, read_metrics_log(run.trained_in))
        for place, condition in enumerate(conditions)
        for run in condition.runs
    ]
    found = [(place, run, _add_seconds(lines)) for place, run, lines in found if lines]
    training = [[line for line in lines if 'val' not in line] for _, _, lines in found]
    validation = [
        [
            {**_get_position(line), **{f'{VALIDATION}{k}': v for k, v in line['val'].items()}}
            for line in lines
        ]
        for lines in ([line for line in lines if 'val' in line] for _, _, lines in found)
    ]
    steps = _choose_step(training), _choose_step(validation)
    return [
        {
            'condition': place,
            'run': run.id,
            'seed': run.seed,
            'train': _thin(training[i], steps[0]),
            'val': _thin(validation[i], steps[1]),
        }
        for i, (place, run, _) in enumerate(found)
    ]


def _add_seconds(lines: Lines) -> Lines:
    """Adds the seconds of training so far, from the mean time of an iteration in each line."""
    total, last, found = 0.0, 0, []
    for line in lines:
        time = line.get('time')
        if isinstance(time, (int, float)):
            total, last = total + time * (line['iter'] - last), line['iter']
        found.append({**line, 'seconds': total} if total else line)
    return found


def _get_position(line: dict[str, Any]) -> dict[str, Any]:
    return {key: line[key] for key in _POSITION if key in line}


def _choose_step(runs: Sequence[Lines]) -> int:
    """Chooses the number of lines per point, equal for all runs so that their iterations agree."""
    quantities = sum(len(lines[0]) for lines in runs if lines)
    points = min(max(NUMBERS // max(quantities, 1), FEWEST), MOST)
    longest = max((len(lines) for lines in runs), default=0)
    return max(1, -(-longest // points))


def _thin(lines: Lines, step: int) -> dict[str, Any]:
    names = list(dict.fromkeys(key for line in lines for key in line if key not in _POSITION))
    groups = [lines[start : start + step] for start in range(0, len(lines), step)]
    return {
        'x': [group[-1]['iter'] for group in groups],
        **{name: _list_positions(groups, name) for name in _POSITION[1:]},
        'y': {name: [_mean(group, name) for group in groups] for name in names},
    }


def _list_positions(groups: Sequence[Lines], name: str) -> list[float]:
    """Lists the last epoch or second of each group; empty where one has none."""
    values = [group[-1].get(name) for group in groups]
    if not all(isinstance(value, (int, float)) for value in values):
        return []
    return [float(f'{value:.6g}') for value in values]


def _mean(group: Lines, name: str) -> float | None:
    """Averages a quantity over lines; None if one value was not finite."""
    values = [line.get(name) for line in group]
    if not all(isinstance(value, (int, float)) for value in values):
        return None
    return float(f'{sum(values) / len(values):.5g}')
