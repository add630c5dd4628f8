"""Keys of a study file as typed classes."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from toolkit.analysis.results import TableOptions
from toolkit.analysis.sequential_tests import EFFECT
from toolkit.config import Config, Problem
from toolkit.config.yaml_file import KeyPath
from toolkit.io.tables.formatting import parse_duration
from toolkit.registry.build import ComponentFactory
from toolkit.study.design_points import sample_grid, sample_orders
from toolkit.study.launchers import Launcher, launcher_class
from toolkit.study.programs.keys import ProgramSpec
from toolkit.study.search.keys import PlannedTrial, SearchSpec

# Keys of a variant or a data set that are no paths.
BASE, CHANGES = 'base', 'changes'
DIRECTIONS = {'higher': True, 'lower': False}


@dataclass
class Sample:
    """Random points of the grid of axes, the same for each variant.

    Args:
        points: number of points.
        seed: random seed of the choice.
    """

    points: int
    seed: int = 0


@dataclass
class FoldSpec:
    """Folds of the data: values of one path, or of several paths that change together.

    Args:
        path: dotted path, or several.
        values: one value per fold.
    """

    path: str | list[str]
    values: list[Any]

    @property
    def paths(self) -> list[str]:
        return [self.path] if isinstance(self.path, str) else self.path


@dataclass
class Budget:
    """Limits of each run.

    Args:
        time: time limit, after which a run is stopped and counts as failed: seconds, or text such
            as '90 s', '30 min', '2 h'.
        iterations: training iterations, in place of the length in the config.
        retries: number of attempts after a failure.
    """

    time: str | float | None = None
    iterations: int | None = None
    retries: int = 1

    def __post_init__(self) -> None:
        if self.iterations is not None and self.iterations < 1:
            raise ValueError(f'iterations must be at least 1, found {self.iterations}')
        if self.retries < 0:
            raise ValueError(f'retries must be 0 or more, found {self.retries}')
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise ValueError(f'time must be positive, found {self.time}')

    @property
    def seconds(self) -> float | None:
        if self.time is None or isinstance(self.time, (int, float)):
            return self.time
        try:
            return parse_duration(self.time)
        except ValueError as error:
            raise ValueError(
                f'time is {self.time!r}, expected seconds, or such as 90 s, 30 min, 2 h, 1 d'
            ) from error


@dataclass
class SequentialSpec:
    """The rule by which a study adds seeds, the same for all variants.

    Args:
        most: number of seeds at most.
        reach: half width of the 95 % intervals of the primary metric that is narrow enough.
        decided: a significant difference is clear enough too.
        step: number of seeds to add at a time.
        time: run time of all runs after which none is added, as `budget.time` is written.
        effect: standard deviation of the effect sizes (difference by standard deviation of the
            pairs) that the test is best at finding.
    """

    most: int
    reach: float | None = None
    decided: bool = False
    step: int = 1
    time: str | float | None = None
    effect: float = EFFECT

    @property
    def seconds(self) -> float | None:
        return Budget(time=self.time).seconds

    def __post_init__(self) -> None:
        Budget(time=self.time)


@dataclass
class TableSpec:
    """Names, columns and digits of the tables.

    Args:
        names: names to show in place of variants, metrics, axes (last key) and data sets.
        columns: columns of the results after the names, in order: n, metrics, parameters, MACs,
            time, memory; all by default.
        digits: digits after the point, by metric; chosen by the spread by default.
    """

    names: dict[str, str] = field(default_factory=dict)
    columns: list[str] | None = None
    digits: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for metric, digits in self.digits.items():
            if not 0 <= digits <= 8:
                raise ValueError(f'digits of {metric} must be 0 to 8, found {digits}')


@dataclass
class Spec:
    """Keys of a study file; docs/guides/studies.md explains them."""

    study: str
    base: str | None = None
    command: str | list[str] | None = None
    program: ProgramSpec = field(default_factory=ProgramSpec)
    variants: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    design: Literal['factorial', 'fractional', 'shapley'] | None = None
    resolution: int | None = None
    runs: int | None = None
    permutations: int | None = None
    switches: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    common: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0])
    axes: dict[str, list[Any]] = field(default_factory=dict)
    sample: Sample | None = None
    folds: FoldSpec | None = None
    data: dict[str, dict[str, Any] | str | None] = field(default_factory=dict)
    compare_to: str | None = None
    compare_along: list[str] = field(default_factory=list)
    metrics: Any = None
    primary: str | None = None
    table: TableSpec = field(default_factory=TableSpec)
    budget: Budget = field(default_factory=Budget)
    sequential: SequentialSpec | None = None
    search: SearchSpec | None = None
    keep: Literal['all', 'best', 'last', 'none'] = 'all'
    launcher: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A study file that has been read and checked.

    Attributes:
        config: values of the file with their lines.
        spec: the same values, typed.
        trials: of a search, those that were chosen so far.
        best: the best trial of a search that has ended.
    """

    config: Config
    spec: Spec
    trials: tuple[PlannedTrial, ...] = ()
    best: PlannedTrial | None = None

    @property
    def name(self) -> str:
        return self.spec.study

    @property
    def is_program(self) -> bool:
        """True if the runs are those of a foreign program."""
        return self.spec.command is not None

    @property
    def runs_commands(self) -> bool:
        """True if the study file names commands of the system: a program's, or a launcher's."""
        return self.is_program or self.spec.launcher.get('type', 'local') != 'local'

    @property
    def search_metric(self) -> str:
        """The metric of the validation that a search makes best."""
        search = self.spec.search
        return (search and search.metric) or self.spec.primary or ''

    @property
    def run_seed(self) -> int:
        """The random seed of a search's trials, which is none of the final runs."""
        search = self.spec.search
        chosen = None if search is None else search.run_seed
        return max(self.spec.seeds) + 1 if chosen is None else chosen

    @property
    def compare_to(self) -> str:
        """The reference variant; the first one by default."""
        return self.spec.compare_to or next(iter(self.spec.variants))

    @property
    def metrics(self) -> dict[str, bool | None]:
        """Metrics of the table with their direction; None to take it from the runs."""
        named = self.spec.metrics or []
        if isinstance(named, Mapping):
            return {name: DIRECTIONS.get(str(better)) for name, better in named.items()}
        return dict.fromkeys(named)

    @property
    def orders(self) -> list[tuple[int, ...]]:
        """Sampled orders of the switches; none where Shapley values are exact or not asked for."""
        count = self.spec.permutations
        return [] if count is None else sample_orders(len(self.spec.switches), count)

    @property
    def options(self) -> TableOptions:
        """Choices for tests and tables."""
        table = self.spec.table
        return TableOptions(
            primary=self.spec.primary,
            along=tuple(path.removeprefix('+') for path in self.spec.compare_along),
            names=dict(table.names),
            columns=None if table.columns is None else tuple(table.columns),
            digits=dict(table.digits),
            switches=tuple(self.spec.switches),
            design=self.spec.design or 'factorial',
            orders=tuple(self.orders),
            sequential=self.spec.sequential.effect if self.spec.sequential else None,
        )

    def problem(self, path: KeyPath, message: str) -> Problem:
        return self.config.problem(path, message)

    def variant(self, name: str) -> dict[str, Any]:
        """Get the paths and values of a variant."""
        return _paths(self.spec.variants[name])

    def data(self, name: str) -> dict[str, Any]:
        """Get the paths and values of a data set."""
        entry = self.spec.data[name]
        return {} if isinstance(entry, str) else _paths(entry)

    def launcher(self, limit: int | None = None) -> Launcher:
        """Build the launcher of the runs.

        Args:
            limit: number of runs at a time, in place of the number in the file.
        Raises:
            ConfigError: its arguments contradict each other.
        """
        arguments = {k: v for k, v in self.spec.launcher.items() if k != 'type'}
        if limit is not None:
            arguments['jobs'] = limit
        with self.config.locate_errors():
            return ComponentFactory(launcher_class(self.spec.launcher), arguments, 'launcher')()

    @functools.cached_property
    def processes(self) -> int:
        """Number of processes that train a run together; of a program, the GPUs that it sees.

        Raises:
            ConfigError: the launcher's arguments contradict each other.
        """
        return self.launcher().processes

    def settings(self) -> list[dict[str, Any]]:
        """List the points of the grid of axes, or a random sample of them."""
        axes, sample = self.spec.axes, self.spec.sample
        names = [name.removeprefix('+') for name in axes]
        if sample is None:
            return [dict(zip(names, point)) for point in itertools.product(*axes.values())]
        points = sample_grid(list(axes.values()), sample.points, sample.seed)
        return [dict(zip(names, point)) for point in points]


def _paths(entry: Mapping[str, Any] | None) -> dict[str, Any]:
    return {path: value for path, value in (entry or {}).items() if path not in (BASE, CHANGES)}
