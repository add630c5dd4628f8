"""Runs a search: batch by batch of trials on the validation, then the best one on the test."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from toolkit.config import ConfigError
from toolkit.config.dump import dump_inline
from toolkit.io.tables.formatting import format_duration
from toolkit.study.planning.planned_study import Plan
from toolkit.study.reconcile import RunFilter
from toolkit.study.search.keys import PlannedTrial
from toolkit.study.search.sampler import import_optuna
from toolkit.study.search.trials import (
    Trial,
    check_unchanged,
    choose_batch,
    find_best,
    read_trials,
)
from toolkit.study.spec import Study

# Trials in a row that fail with the same message before a search stops.
EQUAL_FAILURES = 3


class SearchRunner:
    """Runs a search; one that was killed chooses the same trials again and ends the same.

    Args:
        study: with `search`.
        folder: of the study.
        plan: plans the study with the trials that it has.
        run: runs the trials of a plan, or what is tested; returns the exit status.
        choice: the runs that are to be run; failed ones again once, and not after each batch.
        keep_going: continue where trials fail one after the other with the same message.
    """

    def __init__(
        self,
        study: Study,
        folder: Path,
        plan: Callable[[Study], Plan],
        run: Callable[[Plan, RunFilter], int],
        choice: RunFilter | None = None,
        keep_going: bool = False,
    ) -> None:
        self.study = study
        self.folder = folder
        self._plan = plan
        self._run_plan = run
        self._choice = choice or RunFilter()
        self._again = {True, False}
        self._keep_going = keep_going

    def run(self) -> int:
        """Run all trials, then the best one and the other variants with all seeds.

        Returns:
            The exit status.
        Raises:
            ToolkitError: the folder is another search's, Optuna is not installed, or data cannot be
                used, that of the test at the end included.
        """
        search = self.study.spec.search
        assert search is not None
        if search.sampler != 'grid':
            import_optuna()  # before anything runs
        check_unchanged(self.study, self.folder)
        first = self._plan(self.study)
        if problems := first.find_data_problems():
            raise ConfigError(*problems)
        higher = first.higher
        assert higher is not None
        trials = read_trials(self.study, self.folder)
        if trials and (status := self._run_trials(trials, [])):
            return status
        while True:
            trials = read_trials(self.study, self.folder)
            if self._fails(trials):
                return 1
            if why := self._explain_end(trials):
                break
            left = search.batch if search.trials is None else search.trials - len(trials)
            further = choose_batch(search, trials, higher, min(search.batch, left))
            if not further:
                why = f'the grid has {len(trials)} points'
                break
            if status := self._run_trials(trials, further):
                return status
            if best := find_best(read_trials(self.study, self.folder), higher):
                name = self.study.search_metric
                print(f'best so far: trial {best.plan.number}, {name} {best.value:.6g}')
        return self._finish(trials, higher, why)

    def _run_trials(self, trials: Sequence[Trial], further: Sequence[PlannedTrial]) -> int:
        """Run the trials that have not ended; returns 0 where all have, whatever their end."""
        for trial in further:
            values = ', '.join(f'{p}={dump_inline(v)}' for p, v in trial.settings.items())
            print(f'trial {trial.number}: {values}')
        planned = (*(trial.plan for trial in trials), *further)
        status = self._run(replace(self.study, trials=planned), is_trial=True)
        after = read_trials(self.study, self.folder)
        if status in (0, 1) and all(trial.is_ended for trial in after):
            return 0
        return status or 1

    def _finish(self, trials: Sequence[Trial], higher: bool, why: str) -> int:
        """Run the best trial and the other variants with all seeds, and test them."""
        best = find_best(trials, higher)
        if best is None:
            print(f'the search ended ({why}), and no trial has a result: nothing is tested')
            return 1
        print(
            f'the search ended: {why}; trial {best.plan.number} is the best on the validation '
            'and is now run with the seeds of the study, and tested'
        )
        planned = tuple(trial.plan for trial in trials)
        return self._run(replace(self.study, trials=planned, best=best.plan), is_trial=False)

    def _run(self, study: Study, is_trial: bool) -> int:
        choice = replace(self._choice, trials=is_trial)
        if is_trial not in self._again:
            choice = replace(choice, rerun=())
        self._again.discard(is_trial)
        return self._run_plan(self._plan(study), choice)

    def _fails(self, trials: Sequence[Trial]) -> bool:
        """Tell whether one trial after the other fails alike, or all fail, and say so."""
        last = trials[-EQUAL_FAILURES:]
        messages = {trial.run.message for trial in last}
        failed = all(trial.run.status == 'failed' for trial in last)
        alike = len(messages) == 1 or all(trial.run.status == 'failed' for trial in trials)
        if len(last) < EQUAL_FAILURES or not failed or not alike or self._keep_going:
            return False
        print(
            f'{EQUAL_FAILURES} trials in a row failed ({last[-1].run.message}): the search stops '
            'here; mend it, then use --rerun failed, or go on with --keep-going'
        )
        return True

    def _explain_end(self, trials: Sequence[Trial]) -> str:
        """Explain why no further trials are chosen; '' if some are."""
        search = self.study.spec.search
        assert search is not None
        if search.trials is not None and len(trials) >= search.trials:
            return f'{len(trials)} trials'
        spent = math.fsum(trial.run.seconds or 0.0 for trial in trials)
        if search.seconds is not None and spent >= search.seconds:
            return f'its trials took {format_duration(spent)} of {format_duration(search.seconds)}'
        return ''
