"""Reads the results of a study: its runs with their status and metrics.

Needs neither torch nor the study's configs, and works at any time: while the study runs, after it
was killed, on another machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.io.run_layout import PLAN, explain_damage, read_object
from toolkit.io.run_records import PlannedRun
from toolkit.io.run_results import RunResult
from toolkit.io.verification.input_files import StudyInputs


@dataclass(frozen=True)
class TableOptions:
    """Choices of a study file for its tests and tables.

    Attributes:
        primary: the metric whose tests are corrected; those of other metrics only explore. None
            for all metrics.
        along: axes along which each value is tested against the first one.
        names: names to show in place of variants, metrics, axes and data sets.
        columns: columns of the results after the names, in order; None for all.
        digits: digits after the point of a metric; chosen by its spread where none are given.
        switches: of a design, in which a variant is named after those that are on.
        design: factorial, fractional or shapley; says nothing without switches.
        orders: sampled orders of the switches, for Shapley values; empty for all of them.
        sequential: effect size of the tests of a study that adds seeds (`anytime_t`); None for one
            with a fixed number of them.
    """

    primary: str | None = None
    along: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] | None = None
    digits: Mapping[str, int] = field(default_factory=dict)
    switches: tuple[str, ...] = ()
    design: str = 'factorial'
    orders: tuple[tuple[int, ...], ...] = ()
    sequential: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TableOptions:
        values = {f.name: record[f.name] for f in fields(cls) if f.name in record}
        for name in ('along', 'columns', 'switches'):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        values['orders'] = tuple(tuple(order) for order in values.get('orders') or ())
        return cls(**values)

    def show(self, name: str) -> str:
        """Gets the name to show."""
        return self.names.get(name, name)


@dataclass(frozen=True)
class StudyResults:
    """The results of a study so far.

    Attributes:
        name: of the study.
        folder: absolute.
        compare_to: the variant that all others are compared with, None for no comparison.
        metrics: name -> whether higher is better, None where no run has said so yet. Where the
            study names none, all that its runs report.
        runs: all planned runs, in the plan's order, but for the trials of a search.
        options: of the tests and tables.
        trials: runs of a search, whose results are those of the validation.
        search: what decided the trials; empty without a search.
        changed: for runs by their id the files that have changed since the study was planned: their
            results are of what these files held then.
    """

    name: str
    folder: Path
    compare_to: str | None
    metrics: Mapping[str, bool | None]
    runs: tuple[RunResult, ...]
    options: TableOptions = field(default_factory=TableOptions)
    trials: tuple[RunResult, ...] = ()
    search: Mapping[str, Any] = field(default_factory=dict)
    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def holds_study(folder: Path) -> bool:
    """Tell whether a folder is a study's."""
    return (folder / PLAN).is_file()


def load(folder: Path | str) -> StudyResults:
    """Read the folder of a study.

    Raises:
        ToolkitError: it holds no study, or its plan is damaged.
    """
    folder = Path(folder).absolute()
    plan = read_object(folder / PLAN)
    if plan is None:
        what = f'no {PLAN} in it' if folder.is_dir() else 'there is no such folder'
        raise ToolkitError(f'{folder} holds no study: {what}')
    try:
        planned = [PlannedRun.from_json(record, folder) for record in plan['runs']]
        compare_to = plan.get('compare_to')
        named = dict(plan.get('metrics') or {})
        name = str(plan['study'])
        options = TableOptions.from_json(plan.get('options') or {})
        search = dict(plan.get('search') or {})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ToolkitError(f'{folder / PLAN} is damaged: {explain_damage(error)}') from error
    if not planned:
        raise ToolkitError(f'{folder / PLAN} is damaged: it has no runs')
    if compare_to is not None and all(run.variant != compare_to for run in planned):
        raise ToolkitError(
            f'{folder / PLAN} is damaged: compare_to is {compare_to!r}, and no run is of it'
        )
    every = [read_run(run) for run in planned]
    runs = tuple(run for run in every if run.trial is None)
    directions = resolve_directions(named, runs)
    trials = tuple(run for run in every if run.trial is not None)
    finished = {run.id for run in every if run.status in ('finished', 'pruned')}
    changes = StudyInputs.read(folder).find_changes() if finished else {}
    changed = {run: paths for run, paths in changes.items() if run in finished}
    return StudyResults(
        name, folder, compare_to, directions, runs, options, trials, search, changed
    )


def read_run(planned: PlannedRun) -> RunResult:
    """Reads a run; one with a damaged file has failed, and does not hide the others."""
    try:
        return RunResult.read(planned)
    except ToolkitError as error:
        values = {f.name: getattr(planned, f.name) for f in fields(PlannedRun)}
        values['trained_in'] = planned.trained_in or planned.folder
        return RunResult(**values, status='failed', message=' '.join(str(error).split()))


def resolve_directions(
    named: Mapping[str, bool | None], runs: Sequence[RunResult]
) -> dict[str, bool | None]:
    """Find for each metric whether higher is better.

    Args:
        named: metrics of the study with their direction, None to take it from the runs; empty for
            all metrics that the runs report.
        runs: of the study.
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
