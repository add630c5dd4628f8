"""Conditions of a study: their runs by seed and fold, their means and costs.

A condition is a variant with one setting of the axes and one dataset; its runs differ by seed and
fold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from toolkit.analysis.results import StudyResults
from toolkit.config.dump import dump_inline
from toolkit.io.run_results import RunResult


@dataclass(frozen=True)
class Condition:
    """The runs of one variant with one setting of the axes and one dataset.

    Attributes:
        variant: name of the variant.
        settings: value of each axis by dotted path.
        data: the dataset; None if datasets are not an axis.
        runs: all planned runs.
    """

    variant: str
    settings: Mapping[str, Any]
    data: Any
    runs: tuple[RunResult, ...]

    @cached_property
    def context(self) -> str:
        """Settings and dataset as text, in which 1, 1.0 and true differ.

        A condition shares it with the one that it is compared with.
        """
        return dump_inline({'settings': dict(sorted(self.settings.items())), 'data': self.data})

    @cached_property
    def label(self) -> str:
        """Variant, settings and dataset in one line."""
        settings = [f'{path.split(".")[-1]}={dump_inline(v)}' for path, v in self.settings.items()]
        data = [] if self.data is None else [format_setting(self.data)]
        return ', '.join([self.variant, *settings, *data])

    def select_runs(self, status: str) -> list[RunResult]:
        """Selects the runs that have this status."""
        return [run for run in self.runs if run.status == status]

    @cached_property
    def is_seedless(self) -> bool:
        """True if nothing is trained, so that one run stands for every seed."""
        trains = any(run.fingerprint.train is not None for run in self.runs)
        return not trains and len({run.seed for run in self.runs}) == 1

    @cached_property
    def has_several_codes(self) -> bool:
        """True if its results were made with more than one version of code or packages."""
        done = self.select_runs('finished')
        return len({(run.other_code, run.fingerprint.code) for run in done}) > 1

    def has_other_code(self, pair: tuple[int, int | None]) -> bool:
        """Tells whether the run of a (seed, fold) was made with other code than the plan's."""
        return self.get_run(pair).other_code

    def get_run(self, pair: tuple[int, int | None]) -> RunResult:
        """Gets the run of a (seed, fold); without seeds, that of the fold."""
        seed, fold = pair
        return next(r for r in self.runs if r.fold == fold and (r.seed == seed or self.is_seedless))

    def get_values(self, metric: str) -> dict[tuple[int, int | None], float]:
        """Gets the values of a metric by (seed, fold), for the runs that have it."""
        found = {(run.seed, run.fold): run.metrics.get(metric) for run in self.runs}
        return {pair: value for pair, value in found.items() if value is not None}

    def get_values_at(
        self, metric: str, pairs: Iterable[tuple[int, int | None]]
    ) -> dict[tuple[int, int | None], float]:
        """Gets the values of a metric at those of some (seed, fold) that have one.

        Without seeds, the value of a fold is that of each of its pairs.
        """
        found = self.get_values(metric)
        if self.is_seedless:
            by_fold = {fold: value for (_, fold), value in found.items()}
            return {pair: by_fold[pair[1]] for pair in pairs if pair[1] in by_fold}
        return {pair: found[pair] for pair in pairs if pair in found}


@dataclass(frozen=True)
class MetricSummary:
    """Mean and standard deviation of a metric over the runs of a condition.

    Attributes:
        n: number of runs with a value.
        planned: number of planned runs.
        mean: None without values.
        sd: standard deviation with n - 1; None for fewer than two values.
    """

    n: int
    planned: int
    mean: float | None
    sd: float | None


@dataclass(frozen=True)
class ConditionCosts:
    """Costs of the runs of a condition; None if unknown.

    Attributes:
        parameters: number of parameters.
        macs: multiply-accumulates of one forward.
        seconds: mean over the finished runs.
        memory: highest peak memory of a finished run, in bytes.
    """

    parameters: int | None
    macs: int | None
    seconds: float | None
    memory: int | None


def summarize_costs(condition: Condition) -> ConditionCosts:
    """Summarizes the costs of the runs of a condition."""
    done = condition.select_runs('finished')
    seconds = [run.seconds for run in done if run.seconds is not None]
    memory = [run.memory for run in done if run.memory is not None]
    return ConditionCosts(
        next((run.parameters for run in condition.runs if run.parameters is not None), None),
        next((run.macs for run in condition.runs if run.macs is not None), None),
        math.fsum(seconds) / len(seconds) if seconds else None,
        max(memory, default=None),
    )


def format_setting(value: Any) -> str:
    """Formats a value of a config as text; a string has no quotes."""
    return value if isinstance(value, str) else dump_inline(value)


def group_runs(results: StudyResults) -> tuple[Condition, ...]:
    """Groups the runs of a study into conditions."""
    groups: dict[str, list[RunResult]] = {}
    for run in results.runs:
        key = dump_inline(
            {'variant': run.variant, 'settings': dict(run.settings), 'data': run.data}
        )
        groups.setdefault(key, []).append(run)
    return tuple(
        Condition(runs[0].variant, runs[0].settings, runs[0].data, tuple(runs))
        for runs in groups.values()
    )


def list_pairs(conditions: Sequence[Condition]) -> list[tuple[int, int | None]]:
    """Lists the planned (seed, fold) of conditions; one without seeds adds none to the others'."""
    seeded = [c for c in conditions if not c.is_seedless] or conditions
    return list(dict.fromkeys((run.seed, run.fold) for c in seeded for run in c.runs))
