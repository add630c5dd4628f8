"""The plan of a study, and one condition of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toolkit.config import Config, Problem
from toolkit.config.dump import dump_inline
from toolkit.io.run_records import PlannedRun
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
        data_problems: data that cannot be used; no run can be started before they are solved.
    """

    study: Study
    runs: list[PlannedRun]
    configs: dict[str, Config]
    base_costs: dict[str | None, tuple[int | None, int | None]]
    warnings: list[str] = field(default_factory=list)
    data_problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class PlannedCondition:
    """A variant with one setting of the axes and one data set."""

    variant: str
    settings: dict[str, Any]
    data: str | None

    def __str__(self) -> str:
        settings = [f'{path}={dump_inline(value)}' for path, value in self.settings.items()]
        return ', '.join([self.variant, *settings, *filter(None, [self.data])])
