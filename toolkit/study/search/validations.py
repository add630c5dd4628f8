"""The values of a trial's metric after each of its validations, while it runs and afterwards."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import ToolkitError
from toolkit.io.json_values import write_json
from toolkit.io.read_metrics_log import LogLine, read_metrics_log
from toolkit.io.reported_metrics import read_number
from toolkit.io.run_layout import METRICS_FILE, VALIDATIONS, read_object
from toolkit.io.run_records import PlannedRun
from toolkit.study.programs.keys import ResultsSpec
from toolkit.study.programs.read_results import list_values
from toolkit.study.search.halving import Cut, find_cut

if TYPE_CHECKING:  # it needs torch, which would count as memory of a program's run
    from toolkit.config.schema import TrainCfg


def read_training_values(folder: Path, metric: str) -> list[float | None]:
    """Read the values of a metric from the log of a training of ours."""
    return _to_numbers(
        metric, (line['val'].get(metric) for line in read_metrics_log(folder) if 'val' in line)
    )


def read_program_values(
    record: Mapping[str, Any], output: Path, said: str, metric: str
) -> list[float | None]:
    """Read the values of a metric that a program has written so far.

    Args:
        record: of the program.
        output: folder that it was given as {run}.
        said: its output.
        metric: name of the metric.
    """
    try:
        return _to_numbers(
            metric, list_values(ResultsSpec(**record['results']), metric, output, said)
        )
    except (OSError, ValueError, csv.Error, ToolkitError):
        return []  # a line that is just being written


def judge(trial: Mapping[str, Any] | None, values: list[float | None]) -> Cut | None:
    """Find whether a trial is ended, and where; None for a run that is no trial."""
    if trial is None:
        return None
    return find_cut(trial['thresholds'], values, trial['higher'])


def write_values(folder: Path, metric: str, values: list[float | None]) -> None:
    """Write the values of a trial that has ended.

    Raises:
        RunError: they cannot be written.
    """
    write_json(folder / VALIDATIONS, {'metric': metric, 'values': values})


def read_values(run: PlannedRun) -> list[float | None]:
    """Read the values of a trial that has ended.

    Where it was a trial of another search too, which looked at another metric, they are in its log.

    Raises:
        ToolkitError: the file is damaged.
    """
    assert run.trial is not None
    metric, path = run.trial['metric'], run.folder / VALIDATIONS
    record = read_object(path) or {}
    if record.get('metric') != metric:
        return read_training_values(run.trained_in or run.folder, metric)
    if not isinstance(record.get('values'), list):
        raise ToolkitError(f'{path} is damaged: it has no list of values')
    return _to_numbers(metric, record['values'])


class PrunedError(Exception):
    """A trial was ended early and has saved; its text tells where."""


def make_judge(trial: PlannedRun | None, training: Path) -> Callable[[], bool] | None:
    """Make a call that tells whether a trial is to end; None for a run that is no trial.

    Args:
        trial: the planned run.
        training: folder of its training.
    """
    if trial is None:
        return None
    return lambda: _judge_training(trial, training)[0] is not None


def end_if_pruned(trial: PlannedRun | None, training: Path, length: TrainCfg) -> None:
    """End a trial where its validations say so, also one that was killed while it ended.

    The last validation of a training ends none, also where it was killed after that.

    Raises:
        PrunedError: it is to end.
        RunError: its validations cannot be written.
    """
    if trial is None or _has_reached(length, read_metrics_log(training)):
        return
    cut, values = _judge_training(trial, training)
    if cut is not None:
        assert trial.trial is not None
        write_values(trial.folder, trial.trial['metric'], values)
        raise PrunedError(cut)


def _has_reached(length: TrainCfg, lines: list[LogLine]) -> bool:
    """Tell whether a training has done its last iteration."""
    if not lines:
        return False
    if length.max_iters is not None:
        return lines[-1]['iter'] >= length.max_iters
    return lines[-1]['epoch'] >= (length.max_epochs or math.inf)


def write_validation(run: PlannedRun, training: Path, directions: Mapping[str, bool]) -> None:
    """Write the validation of the checkpoint that a test would use as the result of a trial.

    Args:
        run: the trial.
        training: folder of its training.
        directions: for each metric whether higher is better.
    Raises:
        ToolkitError: there was no validation.
    """
    from toolkit.engine import checkpoint

    path = checkpoint.find_best_or_last(training)
    lines = [line for line in read_metrics_log(training) if 'val' in line]
    if path is None or not lines:
        raise ToolkitError('the training ended without a validation, which a search needs')
    reached = checkpoint.load(path)['meta']['iter']
    line = ([line for line in lines if line['iter'] <= reached] or lines[:1])[-1]
    record = {'metrics': line['val'], 'directions': dict(directions), 'rows': {}}
    assert run.trial is not None
    write_json(run.folder / METRICS_FILE, record)
    write_values(run.folder, run.trial['metric'], _judge_training(run, training)[1])


def _judge_training(run: PlannedRun, training: Path) -> tuple[Cut | None, list[float | None]]:
    assert run.trial is not None
    values = read_training_values(training, run.trial['metric'])
    return judge(run.trial, values), values


def _to_numbers(metric: str, values: Iterable[Any]) -> list[float | None]:
    return [None if value is None else read_number(metric, value) for value in values]
