"""A study's runs before any is started: checked, with what each changes and what it costs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.config import Config, ConfigError, Problem
from toolkit.config.check import check
from toolkit.config.diff import ConfigChange, compare_configs
from toolkit.config.dump import dump_inline
from toolkit.config.schema import RunConfig
from toolkit.config.yaml_file import split_path
from toolkit.engine.evaluator import collect_directions
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.registry.build import fill
from toolkit.study.compose import Composer
from toolkit.study.fingerprint import NOTES, Identities, Identity, code_hash, plain_text
from toolkit.study.model_costs import Systems
from toolkit.study.naming import Names, fold_number, short
from toolkit.study.spec import CHANGES, DIRECTIONS, Study


@dataclass(frozen=True)
class PlannedRun:
    """One run.

    Attributes:
        id: name of the run and of its folder.
        settings: the axes' values by path.
        fold: number of the fold, or its value where these are integers.
        changes: against the base with the same data, without what follows from other changes.
        parameters: of the system, None where it cannot be built without its data; macs likewise.
    """

    id: str
    variant: str
    settings: dict[str, Any]
    data: str | None
    seed: int
    fold: int | None
    config: Config
    identity: Identity
    changes: tuple[str, ...]
    parameters: int | None
    macs: int | None

    @property
    def cell(self) -> tuple[str, str, str | None]:
        """What the runs that differ by seed and fold alone have in common."""
        return self.variant, dump_inline(self.settings), self.data


@dataclass
class Plan:
    """All runs of a study.

    Attributes:
        base_costs: parameters and MACs of the base's system, by data set.
        warnings: what is allowed and hardly meant.
        data_problems: data that cannot be used as things are; no run can be started then.
    """

    study: Study
    runs: list[PlannedRun]
    base_costs: dict[str | None, tuple[int | None, int | None]]
    warnings: list[str] = field(default_factory=list)
    data_problems: list[Problem] = field(default_factory=list)


def make_plan(study: Study, extra_plugins: Sequence[str] = (), open_data: bool = True) -> Plan:
    """Compose and check every run.

    Args:
        study: as read.
        extra_plugins: from the command line.
        open_data: look at the data, which tells apart runs of equal configs.
    Raises:
        ConfigError: all that is wrong in any run, each mistake once.
    """
    return _Planner(study, extra_plugins, open_data).plan()


@dataclass(frozen=True)
class _Cell:
    variant: str
    settings: dict[str, Any]
    data: str | None

    def __str__(self) -> str:
        settings = [f'{path}={dump_inline(value)}' for path, value in self.settings.items()]
        return ', '.join([self.variant, *settings, *filter(None, [self.data])])


class _Planner:
    def __init__(self, study: Study, extra_plugins: Sequence[str], open_data: bool) -> None:
        self.study = study
        self.extra_plugins = extra_plugins
        self.composer = Composer(study)
        self.systems = Systems()
        self.identities = Identities(self.systems, open_data)
        self.problems: dict[Problem, list[str]] = {}
        self.uncounted: list[str] = []
        self._costs: dict[str, tuple[int | None, int | None]] = {}
        self._reported: dict[str, dict[str, bool]] = {}
        self._bases: dict[str, Config | None] = {}

    def plan(self) -> Plan:
        spec = self.study.spec
        data = list(spec.data) or [None]
        cells = [
            _Cell(variant, settings, name)
            for variant, settings, name in itertools.product(
                spec.variants, self.study.settings(), data
            )
        ]
        configs = {number: self._checked(cell) for number, cell in enumerate(cells)}
        self._raise(len(cells))
        reported: dict[str, bool] = {}
        for config in configs.values():
            assert config is not None
            reported.update(self._metrics(config))
        self._check_metrics(reported)
        names = Names()
        runs = []
        for number, cell in enumerate(cells):
            runs += self._runs(cell, configs[number], names)
        return Plan(
            self.study,
            runs,
            {name: self._base_cost(name) for name in data},
            [*self._warnings(cells, configs), *self.uncounted],
            list(self.identities.problems.values()),
        )

    # -- checking --------------------------------------------------------------------------------

    def _checked(self, cell: _Cell) -> Config | None:
        """A cell's config, None where something is wrong with it."""
        try:
            config = self._compose(cell, 0, self.study.spec.seeds[0])
        except ConfigError as error:
            found = list(error.problems)
        else:
            found = check(config) or list(self._testable(config, cell))
            if not found:
                return config
        for problem in found:
            self.problems.setdefault(problem, []).append(str(cell))
        return None

    def _compose(self, cell: _Cell, fold: int, seed: int) -> Config:
        fold_or_none = fold if self.study.spec.folds is not None else None
        config = self.composer.config(cell.variant, cell.settings, cell.data, fold_or_none, seed)
        config.use_plugins(self.extra_plugins)
        return config

    def _testable(self, config: Config, cell: _Cell) -> Iterator[Problem]:
        run = fill(RunConfig, config.tree)
        if run.test_dataloader is None:
            message = 'a study compares tests: give test_dataloader and test_evaluator'
            yield config.problem('test_dataloader', message)
        elif run.train_cfg is None and run.load_from is None and self._cost(config)[0]:
            message = 'the system has weights, and the config neither trains them nor has load_from'
            yield self.study.problem(('variants', cell.variant), message)

    def _raise(self, cells: int) -> None:
        if not self.problems:
            return
        found = []
        for problem, where in self.problems.items():
            message = problem.message
            if len(where) < cells:
                more = f' and {len(where) - 3} more' if len(where) > 3 else ''
                message += f' (in {"; ".join(where[:3])}{more})'
            found.append(Problem(problem.place, problem.path, message))
        raise ConfigError(*found)

    def _metrics(self, config: Config) -> dict[str, bool]:
        """What a run's test reports."""
        text = plain_text(config.tree['test_evaluator'])
        if text not in self._reported:
            evaluator = fill(RunConfig, config.tree).test_evaluator
            with config.locate_errors():
                metrics = {key: factory() for key, factory in evaluator.metrics.items()}
            self._reported[text] = collect_directions(metrics)
        return self._reported[text]

    def _check_metrics(self, reported: Mapping[str, bool]) -> None:
        """The metrics that the study names are those of some run.

        Raises:
            ConfigError: they are not, or another direction is better than it says.
        """
        as_list = isinstance(self.study.spec.metrics, list)
        found = []
        for number, (name, better) in enumerate(self.study.metrics.items()):
            path = ('metrics', str(number) if as_list else name)
            if name not in reported:
                near = did_you_mean(name, reported) or f'; they report: {", ".join(reported)}'
                message = f'no run reports the metric {name!r}{near}'
                found.append(self.study.problem(path, message))
            elif better is not None and better != reported[name]:
                right = next(word for word, value in DIRECTIONS.items() if value == reported[name])
                found.append(self.study.problem(path, f'{name} is better when {right}'))
        if found:
            raise ConfigError(*found)

    # -- runs ------------------------------------------------------------------------------------

    def _runs(self, cell: _Cell, first: Config | None, names: Names) -> list[PlannedRun]:
        assert first is not None
        spec = self.study.spec
        changes = tuple(str(c) for c in own_changes(self._base(cell.data), first))
        parameters, macs = self._cost(first)
        code = code_hash(first)
        trains = first.tree.get('train_cfg') is not None
        # Without training there is nothing that a seed would change.
        seeds = spec.seeds if trains else spec.seeds[:1]
        runs = []
        for fold, seed in itertools.product(
            range(len(spec.folds.values) if spec.folds else 1), seeds
        ):
            config = self._compose(cell, fold, seed)
            identity = self.identities.of(config, fill(RunConfig, config.tree), code)
            value = fold_number(spec.folds.values, fold) if spec.folds else None
            parts = [cell.variant, *short(cell.settings), *filter(None, [cell.data])]
            parts += [] if value is None else [f'f{value}']
            runs.append(
                PlannedRun(
                    id=names.new('-'.join([*parts, f's{seed}'])),
                    variant=cell.variant,
                    settings=cell.settings,
                    data=cell.data,
                    seed=seed,
                    fold=value,
                    config=config,
                    identity=identity,
                    changes=changes,
                    parameters=parameters,
                    macs=macs,
                )
            )
        return runs

    def _base(self, data: str | None, settings: Mapping[str, Any] | None = None) -> Config | None:
        """The base alone with a data set, None where they do not go together by themselves."""
        text = plain_text([data, settings or {}])
        if text not in self._bases:
            try:
                fold = 0 if self.study.spec.folds is not None else None
                seed = self.study.spec.seeds[0]
                config = self.composer.config(None, settings or {}, data, fold, seed)
                config.use_plugins(self.extra_plugins)
                self._bases[text] = config
            except ConfigError:
                self._bases[text] = None
        return self._bases[text]

    def _base_cost(self, data: str | None) -> tuple[int | None, int | None]:
        base = self._base(data)
        return (None, None) if base is None or check(base) else self._cost(base)

    def _cost(self, config: Config) -> tuple[int | None, int | None]:
        """Parameters and MACs of a system; each distinct one is built once, without memory."""
        text = plain_text(config.tree['model'])
        if text not in self._costs:
            model = fill(RunConfig, config.tree).model
            try:
                with config.locate_errors():
                    self._costs[text] = self.systems.cost(text, model)
            except ToolkitError:
                raise
            except Exception as error:  # a part may need values, which the meta device has not
                self._costs[text] = None, None
                reason = f'{type(error).__name__}: {error}'.split('\n')[0]
                self.uncounted.append(
                    f'{config.place("model")}: model: parameters and MACs are not known ({reason})'
                )
        return self._costs[text]

    def _warnings(self, cells: list[_Cell], configs: Mapping[int, Config | None]) -> Iterator[str]:
        """What is hardly meant of a variant, at the first point of the axes and the first data."""
        firsts: dict[str, Config] = {}
        for number, cell in enumerate(cells):
            if (config := configs[number]) is not None:
                firsts.setdefault(cell.variant, config)
        base = self._base(cells[0].data, cells[0].settings) or self._base(cells[0].data)
        same: dict[str, str] = {}
        for variant, config in firsts.items():
            entry = self.study.spec.variants[variant] or {}
            where = f'{self.study.config.place(("variants", variant))}: variants.{variant}: '
            changes = own_changes(base, config)
            text = plain_text({k: v for k, v in config.tree.items() if k not in NOTES})
            if entry and base is not None and not changes:
                yield f'{where}changes nothing'
            elif text in same:
                yield f'{where}is the same as {same[text]}'
            same.setdefault(text, variant)
            if len(changes) > entry.get(CHANGES, len(changes)):
                found = '; '.join(map(str, changes))
                yield f'{where}changes {len(changes)}, says {entry[CHANGES]}: {found}'


def own_changes(before: Config | None, after: Config) -> list[ConfigChange]:
    """The differences, without those that follow from others by `${...}`."""
    if before is None:
        return []
    shared = before.references & after.references
    return [
        change
        for change in compare_configs(before.tree, after.tree)
        if not any(split_path(change.path)[: len(path)] == path for path in shared)
    ]
