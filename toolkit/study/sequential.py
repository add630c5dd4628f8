"""Sequential studies: seeds are added until intervals are narrow enough or a budget is spent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from toolkit.analysis.aggregate import Analysis, analyze_study
from toolkit.analysis.paired_tests import ALPHA
from toolkit.analysis.results import StudyResults, load
from toolkit.config import Problem
from toolkit.errors import ToolkitError
from toolkit.io.run_layout import PLAN, read_object
from toolkit.io.tables.formatting import format_duration
from toolkit.study.spec import SequentialSpec, Study


def find_sequential_problems(study: Study) -> Iterator[Problem]:
    """Find mistakes in `sequential` of a study file of the right types."""
    spec, rule = study.spec, study.spec.sequential
    here = ('sequential',)
    if rule is None:
        return
    if rule.reach is None and not rule.decided:
        message = 'expected when to stop: reach, the half width of the intervals, or decided: true'
        yield study.problem(here, message)
    if rule.reach is not None and not 0 < rule.reach < math.inf:
        yield study.problem((*here, 'reach'), f'expected a width above 0, found {rule.reach:g}')
    if not 0 < rule.effect < math.inf:
        yield study.problem((*here, 'effect'), f'expected a number above 0, found {rule.effect:g}')
    if rule.step < 1:
        yield study.problem((*here, 'step'), f'expected 1 or more, found {rule.step}')
    if len(spec.seeds) < 2:
        yield study.problem(('seeds',), 'one pair has no spread: begin with two seeds or more')
    if rule.most <= len(spec.seeds):
        message = f'the study begins with {len(spec.seeds)} seeds; expected more, found {rule.most}'
        yield study.problem((*here, 'most'), message)
    if spec.primary is None and len(study.metrics) != 1:
        yield study.problem(here, 'needs the metric that it decides by: name a `primary` one')
    if len(spec.variants) < 2:
        yield study.problem(('variants',), 'a sequential study compares; expected two or more')
    if spec.folds is not None:
        yield study.problem(here, 'seeds are added, and folds share their data: leave folds out')
    if spec.design is not None:
        yield study.problem(here, 'the effects of a design are for a fixed number of seeds')


def list_looks(study: Study) -> list[int]:
    """List the numbers of seeds at which a sequential study looks at its results."""
    rule, first = get_rule(study), len(study.spec.seeds)
    return [*range(first, rule.most, rule.step), rule.most]


def add_seeds(study: Study, count: int) -> Study:
    """Let a study have so many seeds: its own, then the integers after the largest."""
    seeds = study.spec.seeds[:count]
    after = max(study.spec.seeds) + 1
    seeds = [*seeds, *range(after, after + count - len(seeds))]
    return replace(study, spec=replace(study.spec, seeds=seeds))


def read_seeds(study: Study, folder: Path) -> Study:
    """Let a sequential study have the seeds that were planned at its last look."""
    try:
        planned = {run['seed'] for run in (read_object(folder / PLAN) or {})['runs']}
    except (ToolkitError, KeyError, TypeError):
        return study
    looks = [n for n in list_looks(study) if n <= max(len(planned), len(study.spec.seeds))]
    return add_seeds(study, looks[-1])


def run_sequential(study: Study, folder: Path, run: Callable[[Study], int]) -> int:
    """Run a study look by look; a study that was killed goes through its looks again.

    Args:
        study: with `sequential`.
        folder: of the study.
        run: runs a study with these seeds; returns its exit status.
    Returns:
        The exit status of the last look.
    """
    looks = list_looks(study)
    for count in looks:
        if status := run(add_seeds(study, count)):
            return status
        if reason := explain_stop(load(folder), get_rule(study), count):
            print(f'stopped with {count} seeds: {reason}')
            break
    return 0


def explain_stop(results: StudyResults, rule: SequentialSpec, seeds: int) -> str:
    """Explain why no seeds are added; '' if some are."""
    analysis = analyze_study(results)
    left = list_open(analysis, rule)
    if not left:
        return 'every comparison is clear enough'
    if seeds >= rule.most:
        return f'{rule.most} seeds are the most; not clear enough: {", ".join(left)}'
    spent = math.fsum(run.seconds or 0.0 for run in results.runs)
    if rule.seconds is not None and spent >= rule.seconds:
        return (
            f'the runs took {format_duration(spent)} of {format_duration(rule.seconds)}; '
            f'not clear enough: {", ".join(left)}'
        )
    return ''


def list_open(analysis: Analysis, rule: SequentialSpec) -> list[str]:
    """List the conditions whose comparison is neither narrow enough nor decided."""
    options = analysis.results.options
    metric = options.primary or next(iter(analysis.metrics))
    found = []
    for (place, name), comparison in analysis.comparisons.items():
        test, p = comparison.runs, comparison.runs_holm
        # Pairs that do not vary say all that they ever will.
        constant = test.n > 1 and test.p is None
        decided = rule.decided and p is not None and p < ALPHA
        narrow = rule.reach is not None and test.low is not None and test.high is not None
        narrow = narrow and (test.high - test.low) / 2 <= rule.reach
        if name == metric and not (constant or decided or narrow):
            found.append(analysis.conditions[place].label)
    return found


def get_rule(study: Study) -> SequentialSpec:
    """Get the rule of stopping of a sequential study."""
    rule = study.spec.sequential
    if rule is None:
        raise ValueError(f'{study.name} is no sequential study')
    return rule
