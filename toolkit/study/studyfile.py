"""A study's YAML file -> what is asked, with every mistake that can be told from the file alone."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.build import Part, fill
from toolkit.config import Config, ConfigError, Problem
from toolkit.config.check import problems
from toolkit.config.dump import flow
from toolkit.config.find import find
from toolkit.config.yamlfile import Path_, read, shown, split
from toolkit.errors import did_you_mean
from toolkit.study.launchers import LAUNCHERS, Launcher, launcher_class

# What a variant or a data set says beside the paths that it changes.
BASE, CHANGES = 'base', 'changes'
DIRECTIONS = {'higher': True, 'lower': False}
_UNITS = {'s': 1, 'min': 60, 'h': 3600, 'd': 86400}


@dataclass
class Sample:
    """A random part of the axes' grid: `points` of it, the same ones for each variant."""

    points: int
    seed: int = 0


@dataclass
class Folds:
    """What differs between folds of the data: the values of a path, or of several together."""

    path: str | list[str]
    values: list[Any]

    @property
    def paths(self) -> list[str]:
        return [self.path] if isinstance(self.path, str) else self.path


@dataclass
class Budget:
    """What a run may cost.

    Args:
        time: after which a run is stopped and has failed: seconds, or '90 s', '30 min', '2 h'.
        iterations: that each run trains, instead of what its config says.
        retries: of a run that failed.
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
            raise ValueError(f'time must be more than nothing, found {self.time}')

    @property
    def seconds(self) -> float | None:
        if self.time is None or isinstance(self.time, (int, float)):
            return self.time
        match = re.fullmatch(r'\s*([0-9.]+)\s*([a-z]+)\s*', self.time)
        if match is None or match[2] not in _UNITS or match[1].count('.') > 1:
            raise ValueError(
                f'time is {self.time!r}, expected seconds, or such as 90 s, 30 min, 2 h, 1 d'
            )
        return float(match[1]) * _UNITS[match[2]]


@dataclass
class Spec:
    """The keys of a study file; docs/studies.md says what they mean."""

    study: str
    base: str
    variants: dict[str, dict[str, Any] | None]
    common: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0])
    axes: dict[str, list[Any]] = field(default_factory=dict)
    sample: Sample | None = None
    folds: Folds | None = None
    data: dict[str, dict[str, Any] | str | None] = field(default_factory=dict)
    compare_to: str | None = None
    metrics: Any = None
    budget: Budget = field(default_factory=Budget)
    launcher: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A study as its file asks for it.

    Attributes:
        config: the file's values with the lines that they stand on.
        spec: the same, typed.
    """

    config: Config
    spec: Spec

    @property
    def name(self) -> str:
        return self.spec.study

    @property
    def compare_to(self) -> str:
        """The variant that the others are compared with: the first one where none is named."""
        return self.spec.compare_to or next(iter(self.spec.variants))

    @property
    def metrics(self) -> dict[str, bool | None]:
        """The metrics of the table -> whether higher is better, None where the runs say so."""
        named = self.spec.metrics or []
        if isinstance(named, Mapping):
            return {name: DIRECTIONS.get(str(better)) for name, better in named.items()}
        return dict.fromkeys(named)

    def problem(self, path: Path_, message: str) -> Problem:
        return self.config.problem(path, message)

    def variant(self, name: str) -> dict[str, Any]:
        """The paths that a variant changes."""
        return _paths(self.spec.variants[name])

    def data(self, name: str) -> dict[str, Any]:
        """The paths that a data set changes."""
        entry = self.spec.data[name]
        return {} if isinstance(entry, str) else _paths(entry)

    def launcher(self, limit: int | None = None) -> Launcher:
        """What starts the runs, `limit` of them at a time.

        Raises:
            ConfigError: its arguments do not go together.
        """
        arguments = {k: v for k, v in self.spec.launcher.items() if k != 'type'}
        if limit is not None:
            arguments['jobs'] = limit
        with self.config.placing():
            return Part(launcher_class(self.spec.launcher), arguments, 'launcher')()

    def settings(self) -> list[dict[str, Any]]:
        """The points of the axes' grid, or those of it that are drawn."""
        axes, sample = self.spec.axes, self.spec.sample
        names = [name.removeprefix('+') for name in axes]
        if sample is None:
            return [dict(zip(names, point)) for point in itertools.product(*axes.values())]
        import random

        size = math.prod(map(len, axes.values()))
        drawn = sorted(random.Random(sample.seed).sample(range(size), sample.points))
        return [dict(zip(names, _point(number, list(axes.values())))) for number in drawn]


def read_study(name: str | Path) -> Study:
    """Read a study file.

    Args:
        name: a path, or the name of a shipped one (`ldpnet/studies/demo`).
    Raises:
        ConfigError: all that is wrong in the file, with lines.
    """
    file = find(name, 'study')
    tree, origins = read(file, shown(file))
    config = Config(file, tree, origins)
    found = problems(config, Spec)
    if not found and tree.get('launcher') is not None:
        found = _launcher_problems(config)
    if found:
        raise ConfigError(*found)
    study = Study(config, fill(Spec, tree))
    found = list(_problems(study))
    if found:
        raise ConfigError(*found)
    return study


def _paths(entry: Mapping[str, Any] | None) -> dict[str, Any]:
    return {path: value for path, value in (entry or {}).items() if path not in (BASE, CHANGES)}


def _point(number: int, axes: list[list[Any]]) -> list[Any]:
    point: list[Any] = []
    for values in reversed(axes):
        number, index = divmod(number, len(values))
        point.insert(0, values[index])
    return point


def _launcher_problems(config: Config) -> list[Problem]:
    name = config.tree['launcher'].get('type', 'local')
    if name not in LAUNCHERS:
        near = did_you_mean(str(name), LAUNCHERS) or f'; there are: {", ".join(LAUNCHERS)}'
        message = f'no launcher is named {name!r}{near}'
        return [config.problem(('launcher', 'type'), message)]
    return problems(config, launcher_class(config.tree['launcher']), ('launcher',))


def _problems(study: Study) -> Iterator[Problem]:
    spec = study.spec
    if not re.fullmatch(r'[\w.+-]+', study.name) or study.name.startswith('.'):
        message = (
            f'{study.name!r} is to be the name of a folder: letters, digits, _ - + and . alone'
        )
        yield study.problem(('study',), message)
    if not spec.variants:
        yield study.problem(('variants',), 'expected at least one variant, such as `full: {}`')
    yield from _repeated(study, ('seeds',), spec.seeds, 'seed')
    for axis, values in spec.axes.items():
        yield from _repeated(study, ('axes', axis), values, 'value')
    if spec.folds is not None:
        yield from _repeated(study, ('folds', 'values'), spec.folds.values, 'value')
    if spec.compare_to is not None and spec.compare_to not in spec.variants:
        near = did_you_mean(spec.compare_to, spec.variants)
        near = near or f'; there are: {", ".join(spec.variants)}'
        yield study.problem(('compare_to',), f'no variant is named {spec.compare_to!r}{near}')
    yield from _sample_problems(study)
    yield from _metric_problems(study)
    yield from _entry_problems(study)
    yield from _collisions(study)


def _repeated(study: Study, path: Path_, values: list[Any], what: str) -> Iterator[Problem]:
    if not values:
        yield study.problem(path, f'expected at least one {what}')
    lines: dict[str, str] = {}
    for number, value in enumerate(values):
        here = (*path, str(number))
        if flow(value) in lines:
            message = f'the {what} {flow(value)} is given twice; each is one run'
            yield study.problem(here, message)
        lines[flow(value)] = study.config.place(here)


def _sample_problems(study: Study) -> Iterator[Problem]:
    sample, axes = study.spec.sample, study.spec.axes
    if sample is None:
        return
    size = math.prod(map(len, axes.values()))
    if not axes:
        yield study.problem(('sample',), 'there are no axes to draw from')
    elif not 1 <= sample.points <= size:
        message = f'expected 1 to {size}, which the grid of the axes has; found {sample.points}'
        yield study.problem(('sample', 'points'), message)


def _metric_problems(study: Study) -> Iterator[Problem]:
    metrics = study.spec.metrics
    if isinstance(metrics, Mapping):
        for name, better in metrics.items():
            if better not in DIRECTIONS:
                message = f'found {flow(better)}, expected higher or lower: which is better?'
                yield study.problem(('metrics', name), message)
    elif isinstance(metrics, list) and all(isinstance(name, str) for name in metrics):
        yield from _repeated(study, ('metrics',), metrics, 'metric')
    elif metrics is not None:
        message = 'expected a list of names, or a mapping of names to higher or lower'
        yield study.problem(('metrics',), message)


def _entry_problems(study: Study) -> Iterator[Problem]:
    """What a variant or data set says beside its paths."""
    for section in ('variants', 'data'):
        for name, entry in getattr(study.spec, section).items():
            given = entry if isinstance(entry, Mapping) else {}
            if not isinstance(given.get(BASE, ''), str):
                found = f'found {flow(given[BASE])}, expected the path of a config'
                yield study.problem((section, name, BASE), found)
            changes = given.get(CHANGES, 1)
            if section == 'data' and CHANGES in given:
                yield study.problem(
                    (section, name, CHANGES), 'only a variant says how much it changes'
                )
            elif not isinstance(changes, int) or isinstance(changes, bool) or changes < 0:
                found = f'found {flow(changes)}, expected the number of changes'
                yield study.problem((section, name, CHANGES), found)


def _collisions(study: Study) -> Iterator[Problem]:
    """Two parts of a study that set the same value, or one a part of what the other sets."""
    spec = study.spec
    setters: list[tuple[str, Path_, str]] = [('the seeds', ('seeds',), 'randomness.seed')]
    if spec.budget.iterations is not None:
        setters.append(('budget.iterations', ('budget', 'iterations'), 'train_cfg'))
    setters += [('an axis', ('axes', path), path) for path in spec.axes]
    if spec.folds is not None:
        setters += [('the folds', ('folds', 'path'), path) for path in spec.folds.paths]
    setters += [
        (f'the data set {name!r}', ('data', name, path), path)
        for name in spec.data
        for path in study.data(name)
    ]
    setters += [
        (f'the variant {name!r}', ('variants', name, path), path)
        for name in spec.variants
        for path in study.variant(name)
    ]
    for number, (what, here, path) in enumerate(setters):
        for other, there, other_path in setters[:number]:
            same_kind = here[0] == there[0] and here[0] in ('data', 'variants')
            if same_kind and here[1] != there[1]:
                continue  # never in the same run
            if _within(path, other_path) or _within(other_path, path):
                where = f'{other_path.removeprefix("+")!r} ({study.config.place(there)})'
                message = f'collides with {other}, which sets {where}; one of them may do so'
                yield study.problem(here, f'{what} {message}')


def _within(path: str, other: str) -> bool:
    inner, outer = (split(p.removeprefix('+')) for p in (path, other))
    return inner[: len(outer)] == outer
