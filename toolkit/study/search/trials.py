"""Trials of a search as its folder holds them: their outcomes, the next ones, the best one."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.analysis.results import StudyResults, load
from toolkit.errors import ToolkitError
from toolkit.io.run_layout import PLAN, read_object
from toolkit.io.run_results import RunResult
from toolkit.study.search.halving import enter_bracket, find_bracket, find_thresholds
from toolkit.study.search.keys import PlannedTrial, SearchSpec
from toolkit.study.search.sampler import KnownTrial, choose_point, fits_space
from toolkit.study.search.validations import judge, read_values
from toolkit.study.spec import Study

ENDED = ('finished', 'failed', 'pruned')


@dataclass(frozen=True)
class Trial:
    """A trial and its run.

    Attributes:
        plan: the trial.
        run: its run as it is on disk.
        values: of the metric after each validation; empty before its end.
    """

    plan: PlannedTrial
    run: RunResult
    values: tuple[float | None, ...] = ()

    @property
    def is_ended(self) -> bool:
        return self.run.status in ENDED

    @property
    def value(self) -> float | None:
        """The value of the metric of a finished trial."""
        assert self.run.trial is not None
        return self.run.metrics.get(self.run.trial['metric'])

    @property
    def outcome(self) -> KnownTrial | None:
        """The point and value for the sampler; None where it failed, or its value is not finite."""
        point = dict(self.plan.point)
        if self.run.status == 'pruned':
            cut = judge(self.run.trial, list(self.values))
            return None if cut is None else KnownTrial(point, cut.value, cut.validations)
        return None if self.value is None else KnownTrial(point, self.value)


def describe_search(study: Study) -> dict[str, Any]:
    """Describe what decides the trials of a search; as long as it stays, they stay."""
    search = study.spec.search
    assert search is not None
    written = study.config.tree['search']
    return {
        'metric': study.search_metric,
        'split': 'validation',
        'trials': search.trials,
        'space': written['space'],
        'sampler': search.sampler,
        'startup': search.startup,
        'seed': search.seed,
        'run_seed': study.run_seed,
        'batch': search.batch,
        'stop': search.stop,
        'rungs': dict(vars(search.rungs)) if search.stop else None,
    }


def check_unchanged(study: Study, folder: Path) -> None:
    """Refuse a folder whose trials another search has chosen.

    Raises:
        ToolkitError: the folder is another search's.
    """
    written = (read_object(folder / PLAN) or {}).get('search')
    if written is None:
        return
    now = describe_search(study)
    # As text, since the order of the space counts: samplers and grid follow it.
    changed = [
        key
        for key, value in now.items()
        if key != 'trials' and json.dumps(written.get(key)) != json.dumps(value)
    ]
    if changed:
        raise ToolkitError(
            f'{folder} holds the trials of another search: {", ".join(changed)} changed in the '
            'study file, and trials of two searches tell nothing together; choose another '
            '--work-dir (equal runs are taken over from this one), or remove the folder'
        )


def read_trials(study: Study, folder: Path) -> list[Trial]:
    """Read the trials in a folder, in the order of their numbers."""
    search = study.spec.search
    assert search is not None
    if not (folder / PLAN).exists():
        return []
    written = {path.removeprefix('+'): path for path in search.space}
    found = []
    for run in load_trials(folder):
        assert run.trial is not None
        point = {written.get(path, path): value for path, value in run.settings.items()}
        plan = PlannedTrial(run.trial['number'], point, run.trial['thresholds'])
        if not fits_space(search, point):
            raise ToolkitError(
                f'{folder / PLAN} is damaged: {run.id} lies outside of the space; choose another '
                '--work-dir'
            )
        ended = run.status in ENDED
        found.append(Trial(plan, run, tuple(read_values(run)) if ended else ()))
    return found


def with_trials(study: Study, folder: Path) -> Study:
    """Let a study have the trials in a folder; and the best one, if it was planned already.

    Raises:
        ToolkitError: the folder is another search's.
    """
    check_unchanged(study, folder)
    trials = read_trials(study, folder)
    best = None
    if trials and trials[0].run.trial is not None:
        variants = {run.variant for run in load(folder).runs}
        best = next((t.plan for t in trials if f'best_{t.plan.number}' in variants), None)
    return replace(study, trials=tuple(trial.plan for trial in trials), best=best)


def load_trials(folder: Path) -> list[RunResult]:
    """Load the runs of the trials in a folder, in the order of their numbers."""
    results: StudyResults = load(folder)
    return sorted(results.trials, key=lambda run: (run.trial or {})['number'])


def choose_batch(
    search: SearchSpec, known: Sequence[Trial], higher: bool, count: int
) -> list[PlannedTrial]:
    """Choose further trials, all from the results of those before them.

    Args:
        search: the space, sampler and rule.
        known: all trials so far, which have ended.
        higher: whether higher values are better.
        count: their number; fewer where a grid ends.
    """
    outcomes = [outcome for trial in known if (outcome := trial.outcome) is not None]
    found: list[PlannedTrial] = []
    for number in range(len(known), len(known) + count):
        point = choose_point(search, number, outcomes, higher)
        if point is None:
            break
        outcomes.append(KnownTrial(point))
        found.append(PlannedTrial(number, point, _find_thresholds(search, known, number, higher)))
    return found


def _find_thresholds(
    search: SearchSpec, known: Sequence[Trial], number: int, higher: bool
) -> dict[str, float]:
    """Find the thresholds of a trial, from the earlier ones of its bracket."""
    if search.stop is None:
        return {}
    rule, earlier = search.rungs, list(known)
    if search.stop == 'hyperband':
        bracket = find_bracket(rule, number)
        earlier = [t for t in known if find_bracket(rule, t.plan.number) == bracket]
        rule = enter_bracket(rule, bracket)
    return find_thresholds(rule, [trial.values for trial in earlier], higher)


def find_best(trials: Sequence[Trial], higher: bool) -> Trial | None:
    """Find the best finished trial, the first of equal ones; None where none has a value."""
    scored = [
        (trial.value if higher else -trial.value, trial)
        for trial in trials
        if trial.run.status == 'finished' and trial.value is not None and math.isfinite(trial.value)
    ]
    return max(scored, key=lambda entry: entry[0])[1] if scored else None
