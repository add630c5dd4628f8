"""Writes the plan of a search as text: its space, trials, early ends, budget and cost."""

from __future__ import annotations

import statistics
from collections import Counter

from toolkit.io.tables.formatting import format_duration
from toolkit.study.planning.planned_study import Plan
from toolkit.study.reconcile import ReconciledRun
from toolkit.study.search.halving import list_bracket_sizes
from toolkit.study.search.problems import MOST_TRIALS
from toolkit.study.search.space import count_grid, describe_parameter


def describe_search(plan: Plan, entries: list[ReconciledRun]) -> list[str]:
    """Describe the search of a study; empty without one.

    Args:
        plan: of the study, with the trials so far.
        entries: its runs, from `reconcile`.
    """
    study, search = plan.study, plan.study.spec.search
    if search is None:
        return []
    better = 'higher' if plan.higher else 'lower'
    split = 'the metric of the program' if study.is_program else 'on the validation'
    sampler = {
        'tpe': f'TPE, after {search.startup} random trials',
        'random': 'random points',
        'grid': 'every point of the grid',
    }[search.sampler]
    batch = '' if search.batch == 1 else f', {search.batch} trials at a time'
    lines = [
        '',
        'search',
        f'  for a {better} {study.search_metric}, {split}; the test is not used before the end',
        *(f'  {path}: {describe_parameter(p)}' for path, p in search.space.items()),
        f'  sampler: {sampler} (seed {search.seed}){batch}; each trial is a run of seed '
        f'{study.run_seed}',
    ]
    if search.stop is not None:
        rule = search.rungs
        rungs = ', '.join(map(str, rule.list_rungs(rule.first * rule.factor**2)))
        lines.append(
            f'  {search.stop}: after {rungs} ... validations, one trial in {rule.factor} of those '
            'that came so far goes on'
        )
    if search.stop == 'hyperband':
        sizes = list_bracket_sizes(rule)
        shares = ', '.join(f'{size / sum(sizes):.0%}' for size in sizes)
        lines.append(f'  brackets: {shares} of the trials are spared 0, 1, ... of these rungs')
    return [*lines, *_describe_budget(plan, entries)]


def count_trials(plan: Plan) -> int | None:
    """Count the trials that a search is to have; None where its time decides alone."""
    search = plan.study.spec.search
    assert search is not None
    numbers = [] if search.trials is None else [search.trials]
    if search.sampler == 'grid':
        numbers.append(count_grid(search.space, MOST_TRIALS))
    return min(numbers, default=None)


def _describe_budget(plan: Plan, entries: list[ReconciledRun]) -> list[str]:
    search = plan.study.spec.search
    assert search is not None
    trials = [entry for entry in entries if entry.run.trial is not None]
    counts = Counter(entry.status.status for entry in trials)
    states = ', '.join(f'{count} {state}' for state, count in counts.items())
    count = count_trials(plan)
    asked = 'as many trials as fit' if count is None else f'{count} trials'
    limit = '' if search.seconds is None else f' within {format_duration(search.seconds)}'
    lines = [f'  {asked}{limit}; so far {states or "none"}']
    spent = [e.status.seconds for e in trials if e.status.seconds is not None]
    ended = [e for e in trials if e.status.status in ('finished', 'pruned', 'failed')]
    if spent and count is not None:
        rest = max(count - len(ended), 0) * statistics.fmean(spent)
        if search.seconds is not None:
            rest = min(rest, max(search.seconds - sum(spent), 0.0))
        lines.append(f'  about {format_duration(rest)} of run time for the trials to come')
    spec = plan.study.spec
    final = (len(spec.variants) + 1) * len(spec.seeds)
    lines.append(f'  then the best trial and {", ".join(spec.variants)}: {final} runs, tested')
    return lines
