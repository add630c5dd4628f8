"""Plans a study: composes and checks the config of every run before any is started."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from toolkit.config import Config, ConfigError, Problem, run_plugins
from toolkit.config.checks.check import check
from toolkit.config.schema import RunConfig
from toolkit.config.yaml_file import display_path
from toolkit.engine.evaluator import collect_directions
from toolkit.engine.preflight import inspect_run
from toolkit.errors import ToolkitError
from toolkit.io.run_records import PlannedRun
from toolkit.io.verification.hashing import canonical_text
from toolkit.io.verification.input_files import StudyInputs
from toolkit.registry.build import fill
from toolkit.study.fingerprint import Fingerprinter, hash_code
from toolkit.study.model_costs import SystemBuilder
from toolkit.study.planning.compose import Composer
from toolkit.study.planning.cost_counter import CostCounter
from toolkit.study.planning.plan_checks import (
    check_metrics,
    check_size,
    find_test_problems,
    list_own_changes,
    raise_problems,
    warn_of_variants,
)
from toolkit.study.planning.planned_study import Plan, PlannedCondition, list_conditions
from toolkit.study.planning.run_names import FolderNames, join_names, number_fold
from toolkit.study.planning.search_plan import (
    SPACE,
    check_search_metric,
    drop_unknown,
    list_corner_conditions,
    remove_test,
)
from toolkit.study.programs.plan import plan_program
from toolkit.study.spec import Study


def make_plan(study: Study, extra_plugins: Sequence[str] = (), open_data: bool = True) -> Plan:
    """Compose and check every run.

    Args:
        study: from `read_study`.
        extra_plugins: plugins that the command line names.
        open_data: open the data sets for their fingerprints.
    Raises:
        ConfigError: every mistake of any run, each once.
    """
    return make_planner(study, extra_plugins, open_data)(study)


def make_planner(
    study: Study, extra_plugins: Sequence[str] = (), open_data: bool = True
) -> Callable[[Study], Plan]:
    """Make a call that plans a study, and again with further trials of its search.

    Args:
        study: from `read_study`.
        extra_plugins: plugins that the command line names.
        open_data: open the data sets for their fingerprints.
    Raises:
        UntrustedPluginError: the study file lies in a study's folder, and names commands that this
            user has not trusted.
    """
    if study.runs_commands and run_plugins.find_run(study.config.file) is not None:
        run_plugins.check_trusted([study.config.file], run_plugins.COMMAND_RUNS)
    check_size(study)
    return plan_program if study.is_program else Planner(study, extra_plugins, open_data).plan


class Planner:
    """Plans a study; again with further trials, where the earlier ones are planned already.

    Args:
        study: from `read_study`.
        extra_plugins: plugins that the command line names.
        open_data: open the data sets for their fingerprints.
    """

    def __init__(self, study: Study, extra_plugins: Sequence[str], open_data: bool) -> None:
        self.study = study
        self.extra_plugins = extra_plugins
        self.composer = Composer(study)
        self.systems = SystemBuilder()
        self.costs = CostCounter(self.systems)
        self.fingerprinter = Fingerprinter(
            self.systems, open_data, study.spec.search is not None, study.processes
        )
        self.problems: dict[Problem, list[str]] = {}
        self.suspicions: dict[Problem, list[str]] = {}
        self.runs: list[PlannedRun] = []
        self.configs: dict[str, Config] = {}
        self.inputs = StudyInputs(self.fingerprinter.inputs)
        self._names = FolderNames()
        self._run_problems: dict[str, list[Problem]] = {}
        self._reported: dict[str, dict[str, bool]] = {}
        self._bases: dict[str, Config | None] = {}
        # What a plan with further trials does not do again.
        self._planned: dict[str, PlannedRun] = {}
        self._first: dict[str, Config | None] = {}

    def plan(self, study: Study) -> Plan:
        """Compose and check every run.

        Args:
            study: that of this planner, with the trials of a search so far.
        Raises:
            ConfigError: every mistake of any run, each once.
        """
        self.study = self.composer.study = study
        data = list(study.spec.data) or [None]
        plain = [c for c in list_conditions(study) if c.point is None]
        conditions = [*plain, *list_corner_conditions(study)]
        configs = {number: self._check_once(c) for number, c in enumerate(conditions)}
        raise_problems(self.problems, len(conditions))
        reported: dict[str, bool] = {}
        for number in range(len(plain)):
            reported.update(self._metrics(configs[number]))
        check_metrics(study, reported)
        higher = None
        if study.spec.search is not None:
            reference = next(n for n, c in enumerate(plain) if c.variant == study.compare_to)
            validated = self._metrics(configs[reference], 'val_evaluator')
            higher = check_search_metric(study, validated, reported)
        self.runs = []
        for condition in list_conditions(study, higher):
            config = self._check_once(condition)
            raise_problems(self.problems, len(conditions))
            self._add_runs(condition, config)
        return Plan(
            self.study,
            self.runs,
            self.configs,
            {name: self._base_cost(name) for name in data},
            [
                *self._warn_of_variants(plain, configs),
                *(f'{found} (in {join_names(w)})' for found, w in self.suspicions.items()),
                *self.costs.unknown,
            ],
            self._run_problems,
            higher,
            self.inputs,
        )

    # -- checking --------------------------------------------------------------------------------

    def _check_once(self, condition: PlannedCondition) -> Config | None:
        key = canonical_text([condition.variant, condition.settings, condition.data])
        if key not in self._first:
            self._first[key] = self._checked(condition)
        return self._first[key]

    def _checked(self, condition: PlannedCondition) -> Config | None:
        """Compose and check a condition's config; None where it has problems."""
        try:
            config = self._compose(condition, 0, self._list_seeds(condition)[0])
        except ConfigError as error:
            found = list(error.problems)
            if rest := drop_unknown(condition, found):
                self._checked(rest)
        else:
            found = check(config) or list(
                find_test_problems(self.study, config, condition, self.costs.count)
            )
            found = found or self._inspect(config, condition)
            if not found:
                if not self.problems:
                    # Now, while the inspected system is kept; an error is reported with the runs.
                    with contextlib.suppress(ToolkitError):
                        self.costs.count(config)
                return config
        for problem in found:
            self.problems.setdefault(problem, []).append(
                condition.variant if condition.variant == SPACE else str(condition)
            )
        return None

    def _compose(self, condition: PlannedCondition, fold: int, seed: int) -> Config:
        fold_or_none = fold if self.study.spec.folds is not None else None
        point, variant, settings = condition.point, condition.variant, condition.settings
        if point is not None:
            variant, settings = self.study.compare_to, {}
        config = self.composer.config(variant, settings, condition.data, fold_or_none, seed, point)
        if condition.trial is not None:
            remove_test(config)
        config.use_plugins(self.extra_plugins)
        return config

    def _list_seeds(self, condition: PlannedCondition) -> list[int]:
        return self.study.spec.seeds if condition.trial is None else [self.study.run_seed]

    def _inspect(self, config: Config, condition: PlannedCondition) -> list[Problem]:
        """Find what a training or test would refuse, apart from data; collects warnings."""
        run, text = fill(RunConfig, config.tree), canonical_text(config.tree['model'])
        found = inspect_run(
            config, run, data=False, build=lambda: self.systems.build(text, run.model)
        )
        for warning in found.warnings:
            self.suspicions.setdefault(warning, []).append(
                condition.variant if condition.variant == SPACE else str(condition)
            )
        return found.problems

    def _metrics(self, config: Config | None, section: str = 'test_evaluator') -> dict[str, bool]:
        """Get the metrics that a run reports, and whether higher is better."""
        assert config is not None
        text = canonical_text(config.tree[section])
        if text not in self._reported:
            evaluator = getattr(fill(RunConfig, config.tree), section)
            with config.locate_errors():
                metrics = {key: factory() for key, factory in evaluator.metrics.items()}
            self._reported[text] = collect_directions(metrics)
        return self._reported[text]

    # -- runs ------------------------------------------------------------------------------------

    def _add_runs(self, condition: PlannedCondition, first: Config | None) -> None:
        """Plan the runs of a condition, one for each fold and seed."""
        assert first is not None
        spec = self.study.spec
        changes = tuple(str(c) for c in list_own_changes(self._base(condition.data), first))
        parameters, macs = self.costs.count(first)
        code = hash_code(first)
        own_file = display_path(self.study.config.file)
        trains = first.tree.get('train_cfg') is not None
        seeds = self._list_seeds(condition)
        # Without training a seed would change nothing.
        seeds = seeds if trains else seeds[:1]
        for fold, seed in itertools.product(
            range(len(spec.folds.values) if spec.folds else 1), seeds
        ):
            value = number_fold(spec.folds.values, fold) if spec.folds else None
            key = canonical_text(
                [condition.variant, condition.settings, condition.data, value, seed]
            )
            if key in self._planned:
                self.runs.append(self._planned[key])
                continue
            config = self._compose(condition, fold, seed)
            run = fill(RunConfig, config.tree)
            settings = condition.settings if condition.trial is None else {}
            name = self._names.name_run(condition.variant, settings, condition.data, value, seed)
            self.configs[name] = config
            fingerprint = self.fingerprinter.fingerprint(config, run, code)
            self._run_problems[name] = self.fingerprinter.last_problems
            files = {origin.file for origin in config.origins.values()} - {own_file}
            self.inputs.add_run(name, self.fingerprinter.last_inputs, files)
            self._planned[key] = condition.plan_run(
                name,
                seed,
                value,
                fingerprint,
                changes=changes,
                parameters=parameters,
                macs=macs,
                processes=self.study.processes if trains else 1,
            )
            self.runs.append(self._planned[key])

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
        return (None, None) if base is None or check(base) else self.costs.count(base)

    def _warn_of_variants(
        self, conditions: list[PlannedCondition], configs: Mapping[int, Config | None]
    ) -> Iterator[str]:
        """Warn of variants that change nothing or too much, at the first setting and data set."""
        firsts: dict[str, Config] = {}
        for number, condition in enumerate(conditions):
            if (config := configs[number]) is not None:
                firsts.setdefault(condition.variant, config)
        first = conditions[0]
        base = self._base(first.data, first.settings) or self._base(first.data)
        yield from warn_of_variants(self.study, base, firsts)
