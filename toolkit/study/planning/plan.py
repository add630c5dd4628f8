"""Plans a study: composes and checks the config of every run before any is started."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toolkit.analysis.tables import COSTS
from toolkit.config import Config, ConfigError, Problem
from toolkit.config.checks.check import check
from toolkit.config.diff import ConfigChange, compare_configs
from toolkit.config.schema import RunConfig
from toolkit.config.yaml_file import KeyPath, split_path
from toolkit.engine.evaluator import collect_directions
from toolkit.engine.preflight import inspect_run
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.io.run_records import PlannedRun
from toolkit.io.verification.hashing import canonical_text
from toolkit.registry.build import fill
from toolkit.study.fingerprint import NOTES, Fingerprinter, hash_code
from toolkit.study.model_costs import SystemBuilder
from toolkit.study.planning.compose import Composer
from toolkit.study.planning.planned_study import Plan, PlannedCondition
from toolkit.study.planning.run_names import FolderNames, join_names, number_fold
from toolkit.study.programs.plan import plan_program
from toolkit.study.spec import CHANGES, DIRECTIONS, Study

MOST_RUNS = 10_000


def make_plan(study: Study, extra_plugins: Sequence[str] = (), open_data: bool = True) -> Plan:
    """Compose and check every run.

    Args:
        study: from `read_study`.
        extra_plugins: plugins that the command line names.
        open_data: open the data sets for their fingerprints.
    Raises:
        ConfigError: every mistake of any run, each once.
    """
    _check_size(study)
    if study.is_program:
        return plan_program(study)
    return _Planner(study, extra_plugins, open_data).plan()


def _check_size(study: Study) -> None:
    """Refuses a study of more runs than anybody can wait for, before it lists them."""
    spec = study.spec
    points = spec.sample.points if spec.sample else math.prod(map(len, spec.axes.values()))
    folds = len(spec.folds.values) if spec.folds else 1
    others = len(spec.variants) * max(1, len(spec.data)) * folds * len(spec.seeds)
    if (count := points * others) > MOST_RUNS:
        key = 'axes' if points > others else 'seeds'
        advice = ', or take some points with sample' if spec.axes and not spec.sample else ''
        message = f'the study has {count} runs, expected at most {MOST_RUNS}; use fewer values'
        raise ConfigError(study.problem((key,), f'{message}{advice}'))


class _Planner:
    def __init__(self, study: Study, extra_plugins: Sequence[str], open_data: bool) -> None:
        self.study = study
        self.extra_plugins = extra_plugins
        self.composer = Composer(study)
        self.systems = SystemBuilder()
        self.fingerprinter = Fingerprinter(self.systems, open_data)
        self.problems: dict[Problem, list[str]] = {}
        self.suspicions: dict[Problem, list[str]] = {}
        self.uncounted: list[str] = []
        self.runs: list[PlannedRun] = []
        self.configs: dict[str, Config] = {}
        self._names = FolderNames()
        self._run_problems: dict[str, list[Problem]] = {}
        self._costs: dict[str, tuple[int | None, int | None]] = {}
        self._reported: dict[str, dict[str, bool]] = {}
        self._bases: dict[str, Config | None] = {}

    def plan(self) -> Plan:
        spec = self.study.spec
        data = list(spec.data) or [None]
        conditions = [
            PlannedCondition(variant, settings, name)
            for variant, settings, name in itertools.product(
                spec.variants, self.study.settings(), data
            )
        ]
        configs = {number: self._checked(condition) for number, condition in enumerate(conditions)}
        self._raise(len(conditions))
        reported: dict[str, bool] = {}
        for config in configs.values():
            assert config is not None
            reported.update(self._metrics(config))
        self._check_metrics(reported)
        for number, condition in enumerate(conditions):
            self._add_runs(condition, configs[number])
        return Plan(
            self.study,
            self.runs,
            self.configs,
            {name: self._base_cost(name) for name in data},
            [
                *self._warnings(conditions, configs),
                *(f'{found} (in {join_names(w)})' for found, w in self.suspicions.items()),
                *self.uncounted,
            ],
            self._run_problems,
        )

    # -- checking --------------------------------------------------------------------------------

    def _checked(self, condition: PlannedCondition) -> Config | None:
        """Compose and check a condition's config; None where it has problems."""
        try:
            config = self._compose(condition, 0, self.study.spec.seeds[0])
        except ConfigError as error:
            found = list(error.problems)
        else:
            found = check(config) or list(self._testable(config, condition))
            found = found or self._inspect(config, condition)
            if not found:
                return config
        for problem in found:
            self.problems.setdefault(problem, []).append(str(condition))
        return None

    def _compose(self, condition: PlannedCondition, fold: int, seed: int) -> Config:
        fold_or_none = fold if self.study.spec.folds is not None else None
        config = self.composer.config(
            condition.variant, condition.settings, condition.data, fold_or_none, seed
        )
        config.use_plugins(self.extra_plugins)
        return config

    def _testable(self, config: Config, condition: PlannedCondition) -> Iterator[Problem]:
        run = fill(RunConfig, config.tree)
        if run.test_dataloader is None:
            message = 'a study compares tests: give test_dataloader and test_evaluator'
            yield config.problem('test_dataloader', message)
        elif run.train_cfg is None and run.load_from is None and self._cost(config)[0]:
            message = 'the system has weights, and the config neither trains them nor has load_from'
            yield self.study.problem(('variants', condition.variant), message)
        hooks = config.tree.get('default_hooks') or {}
        saves_best = (hooks.get('checkpoint') or {}).get('save_best') is not None
        if self.study.spec.keep == 'last' and saves_best:
            message = 'would delete best.pth, which is tested (save_best is set): use keep: best'
            yield self.study.problem(('keep',), message)

    def _inspect(self, config: Config, condition: PlannedCondition) -> list[Problem]:
        """Find what a training or test would refuse, apart from data; collects warnings."""
        run, text = fill(RunConfig, config.tree), canonical_text(config.tree['model'])
        found = inspect_run(
            config, run, data=False, build=lambda: self.systems.build(text, run.model)
        )
        for warning in found.warnings:
            self.suspicions.setdefault(warning, []).append(str(condition))
        return found.problems

    def _raise(self, conditions: int) -> None:
        if not self.problems:
            return
        found = []
        for problem, where in self.problems.items():
            message = problem.message
            if len(where) < conditions:
                message += f' (in {join_names(where)})'
            found.append(Problem(problem.place, problem.path, message))
        raise ConfigError(*found)

    def _metrics(self, config: Config) -> dict[str, bool]:
        """Get the metrics that a run's test reports, and whether higher is better."""
        text = canonical_text(config.tree['test_evaluator'])
        if text not in self._reported:
            evaluator = fill(RunConfig, config.tree).test_evaluator
            with config.locate_errors():
                metrics = {key: factory() for key, factory in evaluator.metrics.items()}
            self._reported[text] = collect_directions(metrics)
        return self._reported[text]

    def _check_metrics(self, reported: Mapping[str, bool]) -> None:
        """Check the metrics that the study names against those of its runs.

        Raises:
            ConfigError: no run reports one of them, or its better direction is the other one.
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
        spec = self.study.spec
        metrics = self.study.metrics or reported
        columns = [('table', 'columns', str(n)) for n in range(len(spec.table.columns or ()))]
        for path, name, known in (
            *([(('primary',), spec.primary, metrics)] if spec.primary is not None else []),
            *((('table', 'digits', name), name, metrics) for name in spec.table.digits),
            *(
                (path, name, ('n', *metrics, *COSTS))
                for path, name in zip(columns, spec.table.columns or ())
            ),
        ):
            if name not in known:
                near = did_you_mean(name, known) or f'; there are: {", ".join(known)}'
                message = f'{name!r} is no {"column" if "columns" in path else "metric"}{near}'
                found.append(self.study.problem(path, message))
        if found:
            raise ConfigError(*found)

    # -- runs ------------------------------------------------------------------------------------

    def _add_runs(self, condition: PlannedCondition, first: Config | None) -> None:
        """Plan the runs of a condition, one for each fold and seed."""
        assert first is not None
        spec = self.study.spec
        changes = tuple(str(c) for c in list_own_changes(self._base(condition.data), first))
        parameters, macs = self._cost(first)
        code = hash_code(first)
        trains = first.tree.get('train_cfg') is not None
        # Without training a seed would change nothing.
        seeds = spec.seeds if trains else spec.seeds[:1]
        for fold, seed in itertools.product(
            range(len(spec.folds.values) if spec.folds else 1), seeds
        ):
            config = self._compose(condition, fold, seed)
            run = fill(RunConfig, config.tree)
            value = number_fold(spec.folds.values, fold) if spec.folds else None
            name = self._names.name_run(
                condition.variant, condition.settings, condition.data, value, seed
            )
            self.configs[name] = config
            fingerprint = self.fingerprinter.fingerprint(config, run, code)
            self._run_problems[name] = self.fingerprinter.last_problems
            self.runs.append(
                condition.plan_run(
                    name,
                    seed,
                    value,
                    fingerprint,
                    changes=changes,
                    parameters=parameters,
                    macs=macs,
                )
            )

    def _base(self, data: str | None, settings: Mapping[str, Any] | None = None) -> Config | None:
        """Compose the base with a data set; None where the two do not fit without a variant."""
        text = canonical_text([data, settings or {}])
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
        """Count parameters and MACs of a system; equal ones are built once, without memory."""
        text = canonical_text(config.tree['model'])
        if text not in self._costs:
            model = fill(RunConfig, config.tree).model
            try:
                with config.locate_errors():
                    self._costs[text] = self.systems.count(text, model)
            except ToolkitError:
                raise
            except Exception as error:  # a component may need values, which the meta device has not
                self._costs[text] = None, None
                reason = f'{type(error).__name__}: {error}'.split('\n')[0]
                self.uncounted.append(
                    f'{config.place("model")}: model: parameters and MACs are not known ({reason})'
                )
        return self._costs[text]

    def _warnings(
        self, conditions: list[PlannedCondition], configs: Mapping[int, Config | None]
    ) -> Iterator[str]:
        """Warn of variants that change nothing or too much, at the first setting and data set."""
        firsts: dict[str, Config] = {}
        for number, condition in enumerate(conditions):
            if (config := configs[number]) is not None:
                firsts.setdefault(condition.variant, config)
        base = self._base(conditions[0].data, conditions[0].settings) or self._base(
            conditions[0].data
        )
        same: dict[str, str] = {}
        for variant, config in firsts.items():
            entry = self.study.spec.variants[variant] or {}
            where = f'{self.study.config.place(("variants", variant))}: variants.{variant}: '
            changes = list_own_changes(base, config)
            text = canonical_text({k: v for k, v in config.tree.items() if k not in NOTES})
            if entry and base is not None and not changes:
                yield f'{where}changes nothing'
            elif text in same:
                yield f'{where}is the same as {same[text]}'
            same.setdefault(text, variant)
            if len(changes) > entry.get(CHANGES, len(changes)):
                found = '; '.join(map(str, changes))
                yield f'{where}changes {len(changes)}, says {entry[CHANGES]}: {found}'


def list_own_changes(before: Config | None, after: Config) -> list[ConfigChange]:
    """List the differences between configs, without those that follow from others by `${...}`."""
    if before is None:
        return []
    changes = compare_configs(before.tree, after.tree)
    changed = [split_path(change.path) for change in changes]

    def follows(path: KeyPath) -> bool:
        for length in range(1, len(path) + 1):
            targets = after.references.get(path[:length])
            if targets and targets == before.references.get(path[:length]):
                sources = [(*split_path(target), *path[length:]) for target in targets]
                if any(s[: len(c)] == c or c[: len(s)] == s for s in sources for c in changed):
                    return True
        return False

    return [change for change, path in zip(changes, changed) if not follows(path)]
