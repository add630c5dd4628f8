"""Says what the planned seeds of a study can show, and how many a difference needs."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.analysis.aggregate import Analysis
from toolkit.analysis.conditions import group_runs
from toolkit.analysis.designs.effect_power import EffectPower
from toolkit.analysis.power import (
    MOST_SEEDS,
    Spread,
    count_needed_seeds,
    estimate_spread,
    find_smallest_difference,
)
from toolkit.analysis.results import StudyResults, read_run, resolve_directions
from toolkit.analysis.sequential_tests import find_sequential_difference, simulate_study
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.io.tables.formatting import format_text_table
from toolkit.study.planning.planned_study import Plan
from toolkit.study.reconcile import ReconciledRun
from toolkit.study.sequential import list_looks


class PlannedPower:
    """Power of the tests of a planned study, with the spread of the results that it has so far.

    Args:
        plan: of the study.
        entries: its runs, from `reconcile`.
    """

    def __init__(self, plan: Plan, entries: Sequence[ReconciledRun]) -> None:
        study = plan.study
        runs = tuple(read_run(entry.run) for entry in entries)
        metrics = resolve_directions(study.metrics, runs)
        results = StudyResults(
            study.name, runs[0].folder, study.compare_to, metrics, runs, study.options
        )
        self.analysis = Analysis(results, group_runs(results))
        self.seeds = max(len({run.seed for run in c.runs}) for c in self.analysis.conditions)
        self.folds = max(1, len(study.spec.folds.values) if study.spec.folds else 1)
        self.options = options = study.options
        self.metrics = [options.primary] if options.primary is not None else list(metrics)
        compared = [
            reference
            for c in self.analysis.conditions
            for reference in (
                self.analysis.find_reference(c),
                *(self.analysis.find_first(c, axis) for axis in options.along),
            )
            if reference is not None
        ]
        self.tests = max(1, len(compared) * len(self.metrics))
        self.reference = study.compare_to
        self.rule = study.spec.sequential
        self.looks = [] if self.rule is None else list_looks(study)
        self.effects = self._make_effects()
        self.trains = study.is_program or any(r.fingerprint.train is not None for r in plan.runs)

    def _make_effects(self) -> EffectPower | None:
        """Makes the power of the effects of a design; None without one."""
        options, conditions = self.options, self.analysis.conditions
        if not options.switches or len({c.is_seedless for c in conditions}) > 1:
            return None  # variants without training have no spread, and effects that of their own
        variants = dict.fromkeys(condition.variant for condition in conditions)
        points = [[name in v.split('+') for name in options.switches] for v in variants]
        groups = len({c.context for c in conditions}) * len(self.metrics)
        return EffectPower(points, options, self.seeds * self.folds, self.folds, groups)

    def _describe_effects(self) -> list[str]:
        """Describes the smallest effects of a design, a line per metric and kind of effect."""
        effects = self.effects
        if effects is None:
            return []
        rows = [['metric', 'effect', 'smallest', 'at most']]
        for metric in self.metrics:
            if (spread := estimate_spread(self.analysis, metric)) is not None:
                for kind in effects.kinds:
                    found = (effects.find_smallest(kind, s) for s in (spread.sd, spread.highest))
                    texts = ['none' if value is None else f'{value:.2g}' for value in found]
                    rows.append([metric, kind, *texts])
        sampled = ' and the spread between orders not counted' if self.options.orders else ''
        return [
            *(f'  {line}' for line in format_text_table(rows, left=2, rule=False).splitlines()),
            f'  the same for effects, corrected for {effects.tests} tests of their own{sampled}',
        ]

    def describe(self) -> list[str]:
        """Describe the smallest differences that the planned seeds show, a line per metric."""
        if not self.trains:
            return ['  none: nothing is trained, and seeds change nothing']
        if self.seeds * self.folds < 2:
            return ['  none: one pair of runs has no spread; plan two seeds or more']
        rows = [['metric', 'smallest difference', 'at most', 'spread from']]
        for metric in self.metrics:
            spread = estimate_spread(self.analysis, metric)
            if spread is None:
                continue
            found = [self._find_smallest(sd) for sd in (spread.sd, spread.highest)]
            texts = ['none' if value is None else f'{value:.2g}' for value in found]
            rows.append([metric, *texts, _describe(spread)])
        if len(rows) == 1:
            return [
                '  not known before two runs of a condition are done: '
                f'a pilot of the reference tells it (--only {self.reference})'
            ]
        simulated = ' (simulated)' if self.looks else ''
        lines = format_text_table(rows, left=1, rule=False).splitlines()
        return [
            *(f'  {line}' for line in lines),
            f'  power 80 %{simulated}, two-sided 5 %, corrected for {self.tests} tests; "at most" '
            'takes the upper 95 % bound of the spread',
            *self._describe_effects(),
        ]

    def _find_smallest(self, sd: float) -> float | None:
        if not self.looks:
            return find_smallest_difference(sd, self.seeds, self.tests, self.folds)
        rule = self.rule
        return find_sequential_difference(
            sd, self.looks, rule.reach, rule.decided, self.tests, rule.effect
        )

    def _describe_detection(self, difference: float, metric: str, spread: Spread) -> str:
        """Describe the power and the seeds of a sequential study, from simulations."""
        rule = self.rule
        power, _, seeds = simulate_study(
            difference, spread.sd, self.looks, rule.reach, rule.decided, self.tests, rule.effect
        )
        return (
            f'{metric}: this sequential study shows a difference of {difference:g} with a power of '
            f'{power:.0%}, after {seeds:.1f} seeds in the mean (two-sided 5 %, corrected for '
            f'{self.tests} tests, at most {rule.most} seeds; simulated). '
            f'Spread from {_describe(spread)}.'
        )

    def detect(self, difference: float, metric: str | None) -> str:
        """Say how many seeds show a difference.

        Raises:
            ToolkitError: the metric is not known, or nothing is known of its spread.
        """
        if metric is None and len(self.metrics) == 1:
            metric = self.metrics[0]
        known = list(self.analysis.metrics)
        if metric not in known:
            near = did_you_mean(metric or '', known) or f'; there are: {", ".join(known) or "none"}'
            found = 'give one' if metric is None else f'no metric {metric!r}'
            raise ToolkitError(f'--metric: {found}{near}')
        spread = estimate_spread(self.analysis, metric)
        if spread is None:
            raise ToolkitError(
                f'--detect: the spread of {metric} is not known before two runs of a condition are '
                f'done; run a pilot of the reference first: --only {self.reference}'
            )
        if self.looks:
            return self._describe_detection(difference, metric, spread)
        counts = [
            count_needed_seeds(difference, sd, self.tests, self.folds)
            for sd in (spread.sd, spread.highest)
        ]
        needed, most = (f'more than {MOST_SEEDS:,}' if n is None else f'{n:,}' for n in counts)
        return (
            f'{metric}: {needed} seeds show a difference of {difference:g} with 80 % power '
            f'(two-sided 5 %, corrected for {self.tests} tests; {self.seeds} are planned). '
            f'Spread from {_describe(spread)}; at the upper 95 % bound of the spread: {most}.'
            + (' The difference is one of two variants.' if self.options.switches else '')
        )


def _describe(spread: Spread) -> str:
    what = 'differences' if spread.is_of_pairs else 'single runs, times √2'
    return f'{what}, {spread.freedom} degrees of freedom'
