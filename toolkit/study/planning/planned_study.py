"""The plan of a study, and one condition of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toolkit.config import Config, Problem
from toolkit.config.dump import dump_inline
from toolkit.io.run_layout import RUNS
from toolkit.io.run_records import Fingerprint, PlannedRun
from toolkit.io.verification.input_files import StudyInputs
from toolkit.study.planning.run_names import join_names
from toolkit.study.spec import Study


@dataclass
class Plan:
    """All runs of a study.

    Attributes:
        study: the study file, typed.
        runs: the runs in order, with folders relative to the study's.
        configs: the config of each run by its id.
        base_costs: parameters and MACs of the base's system, by data set.
        warnings: settings that are allowed and probably not intended.
        run_problems: by id of a run, data and weights that cannot be used; the run cannot be
            started before they are solved.
        higher: whether a higher metric of a search is better; None without a search.
        inputs: the files that the runs read.
    """

    study: Study
    runs: list[PlannedRun]
    configs: dict[str, Config]
    base_costs: dict[str | None, tuple[int | None, int | None]]
    warnings: list[str] = field(default_factory=list)
    run_problems: dict[str, list[Problem]] = field(default_factory=dict)
    higher: bool | None = None
    inputs: StudyInputs = field(default_factory=StudyInputs)

    def find_data_problems(self, runs: Iterable[PlannedRun] | None = None) -> list[Problem]:
        """Finds the data that cannot be used, each once, with the variants if not all need it.

        Args:
            runs: of the plan; None for all.
        """
        found: dict[Problem, dict[str, None]] = {}
        for run in self.runs if runs is None else runs:
            for problem in self.run_problems.get(run.id, ()):
                found.setdefault(problem, {})[run.variant] = None
        variants = {run.variant for run in self.runs}
        return [
            problem
            if len(names) == len(variants)
            else replace(problem, message=f'{problem.message} (in {join_names(list(names))})')
            for problem, names in found.items()
        ]


@dataclass(frozen=True)
class PlannedCondition:
    """A variant with one setting of the axes and one data set, or a trial of a search.

    Attributes:
        variant: its name; that of a trial, or of the best one, for these.
        settings: values of the axes, or of a trial.
        data: name of the data set.
        point: values of a search, put into the reference variant.
        trial: record of the trial, see `PlannedRun`; None for what is tested.
    """

    variant: str
    settings: dict[str, Any]
    data: str | None
    point: Mapping[str, Any] | None = None
    trial: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        settings = [f'{path}={dump_inline(value)}' for path, value in self.settings.items()]
        return ', '.join([self.variant, *settings, *filter(None, [self.data])])

    def plan_run(
        self, id: str, seed: int, fold: int | None, fingerprint: Fingerprint, **others: Any
    ) -> PlannedRun:
        """Plans one run of this condition; see the attributes of `PlannedRun`."""
        return PlannedRun(
            id=id,
            variant=self.variant,
            settings=self.settings,
            data=self.data,
            seed=seed,
            fold=fold,
            folder=Path(RUNS) / id,
            fingerprint=fingerprint,
            trial=self.trial,
            **others,
        )


def list_conditions(study: Study, higher: bool | None = None) -> list[PlannedCondition]:
    """List the conditions of a study; of a search, its best trial and its trials too.

    Args:
        study: from `read_study`, with the trials that were chosen so far.
        higher: whether a higher metric of a search is better.
    """
    plain = [
        PlannedCondition(variant, settings, name)
        for variant, settings, name in itertools.product(
            study.spec.variants, study.settings(), list(study.spec.data) or [None]
        )
    ]
    best = [] if study.best is None else [study.best]
    return [
        *plain,
        *(PlannedCondition(f'best_{trial.number}', {}, None, trial.point) for trial in best),
        *(
            PlannedCondition(
                f'trial_{trial.number}',
                trial.settings,
                None,
                trial.point,
                {
                    'number': trial.number,
                    'metric': study.search_metric,
                    'higher': higher,
                    'thresholds': dict(trial.thresholds),
                },
            )
            for trial in study.trials
        ),
    ]
