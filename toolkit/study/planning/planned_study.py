"""The plan of a study, and one condition of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toolkit.config import Config, Problem
from toolkit.config.dump import dump_inline
from toolkit.io.run_layout import RUNS
from toolkit.io.run_records import Fingerprint, PlannedRun
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
    """

    study: Study
    runs: list[PlannedRun]
    configs: dict[str, Config]
    base_costs: dict[str | None, tuple[int | None, int | None]]
    warnings: list[str] = field(default_factory=list)
    run_problems: dict[str, list[Problem]] = field(default_factory=dict)

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
    """A variant with one setting of the axes and one data set."""

    variant: str
    settings: dict[str, Any]
    data: str | None

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
            **others,
        )
