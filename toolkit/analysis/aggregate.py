"""From a study's runs to what its table says: cells, means, paired comparisons, costs.

A cell is a variant under one setting of the axes and one data set; its runs differ by seed and
fold. Each cell is compared with that of `compare_to` under the same setting and data, run by run of
equal seed and fold. The family of Holm's correction is all comparisons of the study over all its
metrics: one family of tests over runs, one of tests over items.
"""

from __future__ import annotations

import math
import statistics as plain
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from toolkit.analysis.paired_tests import PairedTest, holm, paired_bootstraps, paired_t
from toolkit.analysis.results import StudyResults
from toolkit.analysis.sample_values import ItemValues, item_values
from toolkit.config.dump import dump_inline
from toolkit.io.run_layout import RunResult


@dataclass(frozen=True)
class Cell:
    """The runs of one variant under one setting and data set.

    Attributes:
        variant: its name.
        settings: the axes' values by dotted path.
        data: the data set, None where these are no axis.
        runs: all that are planned.
    """

    variant: str
    settings: Mapping[str, Any]
    data: Any
    runs: tuple[RunResult, ...]

    @cached_property
    def surroundings(self) -> str:
        """What a cell shares with the one that it is compared with."""
        return dump_inline({'settings': dict(self.settings), 'data': self.data})

    @cached_property
    def label(self) -> str:
        """The cell in one line."""
        settings = [f'{path.split(".")[-1]}={dump_inline(v)}' for path, v in self.settings.items()]
        data = [] if self.data is None else [words(self.data)]
        return ', '.join([self.variant, *settings, *data])

    def of_status(self, status: str) -> list[RunResult]:
        return [run for run in self.runs if run.status == status]

    def values(self, metric: str) -> dict[tuple[int, int | None], float]:
        """The metric by (seed, fold), of the runs that have it."""
        found = {(run.seed, run.fold): run.metrics.get(metric) for run in self.runs}
        return {pair: value for pair, value in found.items() if value is not None}


@dataclass(frozen=True)
class Score:
    """A metric over a cell's runs: mean, standard deviation (n - 1), and of how many runs."""

    n: int
    planned: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class Cost:
    """What a cell's runs take: means over those that finished, the highest memory."""

    parameters: int | None
    macs: int | None
    seconds: float | None
    memory: int | None


@dataclass(frozen=True)
class Comparison:
    """A cell's metric against that of the cell it is compared with.

    Attributes:
        runs: the test over (seed, fold) pairs.
        runs_holm: its p by Holm's correction.
        unpaired: planned pairs of which one run or both lack the value.
        items: the test over test items, by the means over those pairs.
        items_holm: its p by Holm's correction.
        better: whether the difference is for the better; None where that is not known or it is 0.
    """

    runs: PairedTest
    unpaired: int
    items: PairedTest
    better: bool | None
    runs_holm: float | None = None
    items_holm: float | None = None


@dataclass(frozen=True)
class Analysis:
    """What a study has found so far.

    Attributes:
        results: as read.
        cells: in the plan's order.
        comparisons: by (place of the cell, metric); none for the cells of `compare_to`.
    """

    results: StudyResults
    cells: tuple[Cell, ...]
    comparisons: Mapping[tuple[int, str], Comparison] = field(default_factory=dict)

    @property
    def metrics(self) -> Mapping[str, bool | None]:
        return self.results.metrics

    @property
    def axes(self) -> list[str]:
        """The dotted paths of all axes."""
        return list(dict.fromkeys(path for cell in self.cells for path in cell.settings))

    @property
    def has_data(self) -> bool:
        """Whether data sets are an axis."""
        return any(cell.data is not None for cell in self.cells)

    def reference(self, cell: Cell) -> Cell | None:
        """The cell that this one is compared with; None for itself, or where there is none."""
        if cell.variant == self.results.compare_to:
            return None
        same = [c for c in self.cells if c.surroundings == cell.surroundings]
        return next((c for c in same if c.variant == self.results.compare_to), None)

    def score(self, cell: Cell, metric: str) -> Score:
        values = list(cell.values(metric).values())
        mean = math.fsum(values) / len(values) if values else None
        sd = plain.stdev(values) if len(values) > 1 else None
        return Score(len(values), len(cell.runs), mean, sd)

    def best(self, metric: str) -> list[Cell]:
        """The best cell of each data set; none where the better direction is unknown."""
        better = self.metrics[metric]
        if better is None:
            return []
        groups: dict[str, list[tuple[float, Cell]]] = {}
        for cell in self.cells:
            mean = self.score(cell, metric).mean
            if mean is not None:
                groups.setdefault(dump_inline(cell.data), []).append((mean, cell))
        pick = max if better else min
        return [
            cell
            for scored in groups.values()
            if len(scored) > 1
            for mean, cell in scored
            if mean == pick(mean for mean, _ in scored)
        ]

    def family(self) -> tuple[int, int]:
        """How many tests over runs, and over items, the corrections count."""
        found = self.comparisons.values()
        return (
            sum(c.runs.p is not None for c in found),
            sum(c.items.p is not None for c in found),
        )


def analyse(results: StudyResults) -> Analysis:
    """Group a study's runs into cells and compare them.

    Raises:
        ToolkitError: a run's rows are damaged.
    """
    analysis = Analysis(results, _cells(results))
    rows: dict[str, ItemValues | None] = {}
    found: dict[tuple[int, str], Comparison] = {}
    items: list[list[float]] = []
    for place, cell in enumerate(analysis.cells):
        if (reference := analysis.reference(cell)) is not None:
            for metric, better in results.metrics.items():
                comparison, differences = _compare(cell, reference, metric, better, rows)
                found[place, metric] = comparison
                items.append(differences)
    for (key, comparison), test in zip(list(found.items()), paired_bootstraps(items)):
        if not comparison.items.why:
            found[key] = replace(comparison, items=test)
    runs_holm = holm([c.runs.p for c in found.values()])
    items_holm = holm([c.items.p for c in found.values()])
    corrected = {
        key: replace(comparison, runs_holm=runs, items_holm=items)
        for (key, comparison), runs, items in zip(found.items(), runs_holm, items_holm)
    }
    return replace(analysis, comparisons=corrected)


def cost(cell: Cell) -> Cost:
    """What the cell's runs take."""
    done = cell.of_status('finished')
    seconds = [run.seconds for run in done if run.seconds is not None]
    memory = [run.memory for run in done if run.memory is not None]
    return Cost(
        next((run.parameters for run in cell.runs if run.parameters is not None), None),
        next((run.macs for run in cell.runs if run.macs is not None), None),
        math.fsum(seconds) / len(seconds) if seconds else None,
        max(memory, default=None),
    )


def words(value: Any) -> str:
    """A value as text; a string without quotes."""
    return value if isinstance(value, str) else dump_inline(value)


def _cells(results: StudyResults) -> tuple[Cell, ...]:
    groups: dict[str, list[RunResult]] = {}
    for run in results.runs:
        key = dump_inline(
            {'variant': run.variant, 'settings': dict(run.settings), 'data': run.data}
        )
        groups.setdefault(key, []).append(run)
    return tuple(
        Cell(runs[0].variant, runs[0].settings, runs[0].data, tuple(runs))
        for runs in groups.values()
    )


def _compare(
    cell: Cell,
    reference: Cell,
    metric: str,
    better: bool | None,
    rows: dict[str, ItemValues | None],
) -> tuple[Comparison, list[float]]:
    """The comparison, its test over items left open, and the differences of the items."""
    ours, theirs = cell.values(metric), reference.values(metric)
    pairs = [pair for pair in ours if pair in theirs]
    planned = {(run.seed, run.fold) for run in (*cell.runs, *reference.runs)}
    folds = len({run.fold for run in cell.runs if run.fold is not None})
    runs = paired_t([ours[pair] - theirs[pair] for pair in pairs], max(folds, 1))
    improved = None
    if better is not None and runs.difference:
        improved = (runs.difference > 0) == better
    items = _item_differences(cell, reference, metric, pairs, rows)
    why = 'not the mean of test items' if items is None else ''
    open_ = PairedTest(0, why=why)
    return Comparison(runs, len(planned) - len(pairs), open_, improved), items or []


def _item_differences(
    cell: Cell,
    reference: Cell,
    metric: str,
    pairs: list[tuple[int, int | None]],
    rows: dict[str, ItemValues | None],
) -> list[float] | None:
    """Each test item's mean difference over the pairs of runs; None where the metric is no mean."""
    differences: dict[Any, list[float]] = {}
    for pair in pairs:
        ours, theirs = (
            _cached(run, metric, rows) for run in (_run(cell, pair), _run(reference, pair))
        )
        if ours is None or theirs is None:
            return None
        for item, difference in _matched(ours, theirs):
            # Without names, the first item of one fold is not that of another.
            item = item if isinstance(item, str) else (pair[1], item)
            differences.setdefault(item, []).append(difference)
    return [math.fsum(found) / len(found) for found in differences.values()]


def _matched(ours: ItemValues, theirs: ItemValues) -> Iterator[tuple[Any, float]]:
    if len(ours) != len(theirs) and not all(isinstance(item, str) for item in (*ours, *theirs)):
        return  # places in different data tell nothing of which items are the same
    for item, value in ours.items():
        if item in theirs:
            yield item, value - theirs[item]


def _cached(run: RunResult, metric: str, rows: dict[str, ItemValues | None]) -> ItemValues | None:
    key = f'{run.id}\0{metric}'
    if key not in rows:
        rows[key] = item_values(run, metric)
    return rows[key]


def _run(cell: Cell, pair: tuple[int, int | None]) -> RunResult:
    return next(run for run in cell.runs if (run.seed, run.fold) == pair)
