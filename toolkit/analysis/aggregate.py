"""Paired comparisons between the conditions of a study.

Each condition is compared with the condition of `compare_to` that has the same setting and
dataset, by pairs of runs with the same seed and fold. Holm's correction counts all comparisons of
the study over all metrics, or over the primary one: one family of tests over runs, one of tests
over items. Conditions can also be compared along an axis with its first value.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from toolkit.analysis.conditions import Condition, MetricSummary, group_runs, list_pairs
from toolkit.analysis.paired_tests import (
    ALPHA,
    PairedTest,
    adjust_holm,
    paired_bootstraps,
    paired_t,
)
from toolkit.analysis.results import StudyResults
from toolkit.analysis.sample_values import SampleValues, find_sample_values
from toolkit.analysis.sequential_tests import anytime_t
from toolkit.config.dump import dump_inline
from toolkit.io.run_results import RunResult


@dataclass(frozen=True)
class Comparison:
    """Comparison of a metric between a condition and the reference.

    Attributes:
        runs: test over (seed, fold) pairs.
        runs_holm: p of `runs` after Holm's correction.
        unpaired: number of planned pairs without a value of one or both runs.
        items: test over test items, each by its mean difference over the pairs.
        items_holm: p of `items` after Holm's correction.
        better: True if the condition is better; None if unknown or if the difference is 0.
    """

    runs: PairedTest
    unpaired: int
    items: PairedTest
    better: bool | None
    runs_holm: float | None = None
    items_holm: float | None = None


@dataclass(frozen=True)
class Analysis:
    """Conditions and comparisons of a study so far.

    Attributes:
        results: of the study, as read.
        conditions: in the order of the plan.
        comparisons: by (index of the condition, metric); none for conditions of `compare_to`.
        along: comparisons along an axis with the condition at its first value, by (index of the
            condition, axis, metric).
    """

    results: StudyResults
    conditions: tuple[Condition, ...]
    comparisons: Mapping[tuple[int, str], Comparison] = field(default_factory=dict)
    along: Mapping[tuple[int, str, str], Comparison] = field(default_factory=dict)

    @property
    def metrics(self) -> Mapping[str, bool | None]:
        return self.results.metrics

    @property
    def axes(self) -> list[str]:
        """The dotted paths of all axes."""
        return list(
            dict.fromkeys(path for condition in self.conditions for path in condition.settings)
        )

    @property
    def has_data(self) -> bool:
        """True if datasets are an axis."""
        return any(condition.data is not None for condition in self.conditions)

    def find_reference(self, condition: Condition) -> Condition | None:
        """Finds the condition that this one is compared with; None for a reference itself."""
        if condition.variant == self.results.compare_to:
            return None
        same = [c for c in self.conditions if c.context == condition.context]
        return next((c for c in same if c.variant == self.results.compare_to), None)

    def find_first(self, condition: Condition, axis: str) -> Condition | None:
        """Finds the condition at the first value of an axis, else equal; None for itself."""
        first = next(c.settings[axis] for c in self.conditions if axis in c.settings)
        wanted = replace(condition, settings={**condition.settings, axis: first})
        same = (c for c in self.conditions if c.variant == condition.variant)
        other = next((c for c in same if c.context == wanted.context), None)
        return None if other is condition else other

    def summarize(self, condition: Condition, metric: str) -> MetricSummary:
        """Summarizes a metric over the runs of a condition."""
        values = list(condition.get_values(metric).values())
        mean = math.fsum(values) / len(values) if values else None
        sd = statistics.stdev(values) if len(values) > 1 else None
        return MetricSummary(len(values), len(condition.runs), mean, sd)

    def find_best(self, metric: str) -> list[Condition]:
        """Finds the condition of each dataset that is better than every other one of it.

        A difference within noise is none: the best mean must differ from each other one in a paired
        test over runs, or over items where the runs do not vary, after Bonferroni's correction for
        the number of the others.
        """
        better = self.metrics[metric]
        if better is None:
            return []
        groups: dict[str, list[tuple[float, Condition]]] = {}
        for condition in self.conditions:
            mean = self.summarize(condition, metric).mean
            if mean is not None:
                groups.setdefault(dump_inline(condition.data), []).append((mean, condition))
        sign = 1 if better else -1
        found = []
        for scored in groups.values():
            scored.sort(key=lambda entry: -sign * entry[0])
            first, *others = (condition for _, condition in scored)
            effect = self.results.options.sequential
            if others and _is_better_than_all(first, others, metric, better, effect):
                found.append(first)
        return found

    def count_tests(self) -> tuple[int, int]:
        """Counts the tests over runs and over items that the corrections take into account."""
        found = [*self.comparisons.values(), *self.along.values()]
        return (
            sum(c.runs_holm is not None for c in found),
            sum(c.items_holm is not None for c in found),
        )


def analyze_study(results: StudyResults) -> Analysis:
    """Groups the runs of a study into conditions and compares them with their references.

    Raises:
        ToolkitError: the rows of a run are damaged.
    """
    analysis = Analysis(results, group_runs(results))
    rows: dict[str, SampleValues | None] = {}
    found: dict[tuple[int, str | None, str], Comparison] = {}
    items: list[list[float]] = []
    for place, condition in enumerate(analysis.conditions):
        references = {None: analysis.find_reference(condition)}
        references |= {axis: analysis.find_first(condition, axis) for axis in results.options.along}
        for axis, reference in references.items():
            for metric, better in results.metrics.items() if reference is not None else ():
                comparison, differences = _compare(
                    condition, reference, metric, better, rows, results.options.sequential
                )
                found[place, axis, metric] = comparison
                items.append(differences)
    for (key, comparison), test in zip(list(found.items()), paired_bootstraps(items)):
        if not comparison.items.why:
            found[key] = replace(comparison, items=test)
    primary = results.options.primary
    family = [key for key in found if primary is None or key[2] == primary]
    runs_holm = adjust_holm([found[key].runs.p for key in family])
    items_holm = adjust_holm([found[key].items.p for key in family])
    for key, runs, over_items in zip(family, runs_holm, items_holm):
        found[key] = replace(found[key], runs_holm=runs, items_holm=over_items)
    return replace(
        analysis,
        comparisons={(n, metric): c for (n, axis, metric), c in found.items() if axis is None},
        along={(n, axis, m): c for (n, axis, m), c in found.items() if axis is not None},
    )


def _is_better_than_all(
    condition: Condition,
    others: list[Condition],
    metric: str,
    better: bool,
    sequential: float | None,
) -> bool:
    """Tells whether a condition is better than each of the others by more than noise."""
    rows: dict[str, SampleValues | None] = {}
    for other in others:
        comparison, differences = _compare(condition, other, metric, better, rows, sequential)
        p = comparison.runs.p
        # Runs that do not vary say nothing of noise; the test items may. One run may vary.
        if p is None and comparison.runs.n > 1 and not comparison.items.why:
            p = paired_bootstraps([differences] * len(others))[0].p
        if not comparison.better or p is None or p * len(others) >= ALPHA:
            return False
    return True


def _compare(
    condition: Condition,
    reference: Condition,
    metric: str,
    better: bool | None,
    rows: dict[str, SampleValues | None],
    sequential: float | None,
) -> tuple[Comparison, list[float]]:
    """Compares two conditions; the differences of items are returned for a test of all at once."""
    planned = list_pairs([condition, reference])
    ours, theirs = (c.get_values_at(metric, planned) for c in (condition, reference))
    both = [pair for pair in ours if pair in theirs]
    # A difference between runs of other code would be one of the code, too.
    pairs = [p for p in both if condition.has_other_code(p) == reference.has_other_code(p)]
    folds = len({run.fold for run in condition.runs if run.fold is not None})
    differences = [ours[pair] - theirs[pair] for pair in pairs]
    if sequential is None:
        runs = paired_t(differences, max(folds, 1))
    else:
        runs = anytime_t(differences, sequential)
    if both and not pairs:
        runs = replace(runs, why='made with different code')
    improved = None
    if better is not None and runs.difference:
        improved = (runs.difference > 0) == better
    items = _item_differences(condition, reference, metric, pairs, rows)
    why = 'not the mean of test items' if items is None else '' if pairs else runs.why
    if sequential is not None:
        why = 'the number of seeds was not fixed'
    untested = PairedTest(0, why=why)
    return Comparison(runs, len(planned) - len(pairs), untested, improved), items or []


def _item_differences(
    condition: Condition,
    reference: Condition,
    metric: str,
    pairs: list[tuple[int, int | None]],
    rows: dict[str, SampleValues | None],
) -> list[float] | None:
    """Averages the difference of each test item over the pairs; None if the metric is no mean."""
    differences: dict[Any, list[float]] = {}
    for pair in pairs:
        ours, theirs = (
            _read_values(run, metric, rows)
            for run in (condition.get_run(pair), reference.get_run(pair))
        )
        if ours is None or theirs is None:
            return None
        for item, difference in _match_items(ours, theirs):
            # Without names, the first item of one fold is not that of another.
            item = item if isinstance(item, str) else (pair[1], item)
            differences.setdefault(item, []).append(difference)
    return [math.fsum(found) / len(found) for found in differences.values()]


def _match_items(ours: SampleValues, theirs: SampleValues) -> Iterator[tuple[Any, float]]:
    if len(ours) != len(theirs) and not all(isinstance(item, str) for item in (*ours, *theirs)):
        return  # positions in different data do not tell which items are the same
    for item, value in ours.items():
        if item in theirs:
            yield item, value - theirs[item]


def _read_values(
    run: RunResult, metric: str, rows: dict[str, SampleValues | None]
) -> SampleValues | None:
    key = f'{run.id}\0{metric}'
    if key not in rows:
        rows[key] = find_sample_values(run, metric)
    return rows[key]
