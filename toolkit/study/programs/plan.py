"""Plans a study of a program: the record of each run, which says how it is started."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from toolkit.config import Config, ConfigError, Problem
from toolkit.config.composition.override import assign
from toolkit.config.diff import compare_configs
from toolkit.config.dump import dump_inline
from toolkit.config.yaml_file import display_path, read_yaml, split_path
from toolkit.errors import ToolkitError
from toolkit.io.json_values import parse_json
from toolkit.io.run_records import PlannedRun
from toolkit.io.verification.hashing import canonical_text
from toolkit.io.verification.input_files import StudyInputs
from toolkit.study.planning.planned_study import Plan, list_conditions
from toolkit.study.planning.run_names import FolderNames, number_fold
from toolkit.study.planning.search_plan import list_corner_conditions
from toolkit.study.programs.arguments import RUN, list_placeholders, split_command
from toolkit.study.programs.identity import ProgramFingerprinter, find_executable
from toolkit.study.programs.keys import FILE_STYLES
from toolkit.study.spec import CHANGES, Study


def plan_program(study: Study) -> Plan:
    """Plan the runs of a program.

    Raises:
        ConfigError: the program is not there, a file cannot be read, or an override has no place.
    """
    return _ProgramPlanner(study).plan()


class _ProgramPlanner:
    def __init__(self, study: Study) -> None:
        self.study = study
        self.directory = (study.config.file.parent / study.spec.program.directory).resolve()
        self.fingerprinter = ProgramFingerprinter()
        self.base = self._read_base()
        self.problems: dict[Problem, None] = {}

    def plan(self) -> Plan:
        study, spec = self.study, self.study.spec
        higher = study.metrics[study.search_metric] if spec.search is not None else None
        conditions = list_conditions(study, higher)
        self._check_command()
        for corner in list_corner_conditions(study):  # for keys that the base file does not have
            self._collect_values(study.compare_to, {}, None, None, corner.point)
        names, runs, configs = FolderNames(), [], {}
        inputs = StudyInputs(self.fingerprinter.inputs)
        folds = range(len(spec.folds.values)) if spec.folds else (None,)
        reference = self._collect_values(None, {}, None, None)
        for condition in conditions:
            is_trial, point = condition.trial is not None, condition.point
            variant, settings = condition.variant, condition.settings
            if point is not None:
                variant, settings = study.compare_to, {}
            seeds = [study.run_seed] if is_trial else spec.seeds
            for fold, seed in itertools.product(folds, seeds):
                values = self._collect_values(variant, settings, condition.data, fold, point)
                record = self._make_record(values, seed)
                if is_trial:  # nothing of the test is read
                    record['metrics'] = {study.search_metric: higher}
                    record['results'] = _select_results(record['results'], study.search_metric)
                value = None if fold is None else number_fold(spec.folds.values, fold)
                shown = {} if is_trial else condition.settings
                name = names.name_run(condition.variant, shown, condition.data, value, seed)
                try:
                    fingerprint = self.fingerprinter.fingerprint(record)
                except ToolkitError as error:
                    raise ConfigError(study.problem(('command',), str(error))) from error
                inputs.runs[name] = list(self.fingerprinter.last_inputs)
                changes = [str(change) for change in compare_configs(reference, values)]
                configs[name] = Config(study.config.file, record)
                runs.append(
                    condition.plan_run(name, seed, value, fingerprint, changes=tuple(changes))
                )
        if self.problems:
            raise ConfigError(*self.problems)
        costs = dict.fromkeys(list(spec.data) or [None], (None, None))
        warnings = self._warn(runs)
        return Plan(study, runs, configs, costs, warnings, higher=higher, inputs=inputs)

    def _check_command(self) -> None:
        """Refuse a program or a file that is not there.

        Raises:
            ConfigError: with the line of the study file.
        """
        study, program = self.study, self.study.spec.program
        found = []
        if not self.directory.is_dir():
            message = f'no folder {program.directory!r} (looked for {display_path(self.directory)})'
            raise ConfigError(study.problem(('program', 'directory'), message))
        try:
            find_executable(self._make_record({}, 0))
        except ToolkitError as error:
            found.append(study.problem(('command',), str(error)))
        arguments = split_command(study.spec.command or '')
        for place, text in enumerate(arguments):
            # A script that is missing is the most frequent mistake, and costs a run each.
            is_script = place and text.endswith('.py') and not text.startswith('-')
            if (
                is_script
                and not list_placeholders([text])
                and not (self.directory / text).is_file()
            ):
                message = f'no file {text!r} in {display_path(self.directory)}'
                found.append(study.problem(('command',), message))
        for number, name in enumerate(program.files):
            if not (self.directory / name).exists():
                message = f'no file {name!r} in {display_path(self.directory)}'
                found.append(study.problem(('program', 'files', str(number)), message))
        if found:
            raise ConfigError(*found)

    def _read_base(self) -> dict[str, Any]:
        """Read the file that overrides are merged into; empty without one."""
        name = self.study.spec.base
        if name is None:
            return {}
        file = self.study.config.file.parent / name
        if file.suffix == '.json':
            try:
                tree = parse_json(file.read_text(encoding='utf-8'))
            except (OSError, ValueError) as error:
                message = f'{display_path(file)} cannot be read: {error}'
                raise ConfigError(self.study.problem(('base',), message)) from error
            if not isinstance(tree, dict):
                message = f'{display_path(file)} holds no mapping'
                raise ConfigError(self.study.problem(('base',), message))
            return tree
        return read_yaml(file, display_path(file))[0]

    def _collect_values(
        self,
        variant: str | None,
        settings: Mapping[str, Any],
        data: str | None,
        fold: int | None,
        point: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Collect the overrides of a run, later ones over earlier ones."""
        spec, study = self.study.spec, self.study
        parts: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [(('common',), spec.common)]
        if data is not None:
            parts.append((('data', data), study.data(data)))
        if variant is not None:
            parts.append((('variants', variant), study.variant(variant)))
        given = {path.removeprefix('+'): path for path in spec.axes}
        parts.append((('axes',), {given[path]: value for path, value in settings.items()}))
        if spec.folds is not None and fold is not None:
            value = spec.folds.values[fold]
            parts.append((('folds', 'path'), dict.fromkeys(spec.folds.paths, value)))
        parts.append((('search', 'space'), point or {}))
        if spec.program.overrides not in FILE_STYLES:
            return {path: value for _, values in parts for path, value in values.items()}
        tree = _copy(self.base)
        for where, values in parts:
            for path, value in values.items():
                self._put(tree, path, value, where)
        return tree

    def _put(self, tree: dict[str, Any], path: str, value: Any, where: tuple[str, ...]) -> None:
        """Put a value at a path, which the base has; without a base any path is new."""
        keys = split_path(path)
        node: Any = tree
        for key in keys:
            node = node.get(key, _MISSING) if isinstance(node, dict) else _MISSING
        adding = node is _MISSING and self.study.spec.base is None
        try:
            assign(tree, {}, keys, _copy(value), {}, adding)
        except KeyError as error:
            here = where if where == ('folds', 'path') else (*where, path)
            message = str(error.args[0]).replace(' (+ in front adds a new key)', '')
            self.problems[self.study.problem(here, message)] = None

    def _make_record(self, values: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Make the record of a run, from which it is started and identified."""
        spec, program = self.study.spec, self.study.spec.program
        return {
            'command': split_command(spec.command or ''),
            'overrides': program.overrides,
            'values': dict(values),
            'seed': seed,
            'metrics': dict(self.study.metrics),
            'results': asdict(program.results),
            'files': list(program.files),
            'resume': program.resume,
            'environment': {
                name: value if isinstance(value, str) else dump_inline(value)
                for name, value in program.environment.items()
            },
            'directory': str(self.directory),
            # A program that uses all GPUs that it sees has larger batches on more.
            **({'gpus': self.study.processes} if self.study.processes > 1 else {}),
        }

    def _warn(self, runs: list[PlannedRun]) -> list[str]:
        study, found = self.study, list(self.fingerprinter.warnings)
        if RUN not in list_placeholders(split_command(study.spec.command or '')):
            place = study.config.place(('command',))
            found.append(
                f'{place}: command: has no {{{RUN}}}: if the program writes files, each run '
                'overwrites those of the others'
            )
        first: dict[str, PlannedRun] = {}
        for run in runs:
            if run.variant in study.spec.variants:
                first.setdefault(run.variant, run)
        same: dict[str, str] = {}
        for variant, run in first.items():
            where = f'{study.config.place(("variants", variant))}: variants.{variant}: '
            entry = study.spec.variants[variant] or {}
            text = canonical_text([run.settings, run.data, run.changes])
            if text in same:
                found.append(f'{where}is the same as {same[text]}')
            same.setdefault(text, variant)
            changes = len(study.variant(variant))
            if changes > entry.get(CHANGES, changes):
                found.append(f'{where}changes {changes}, says {entry[CHANGES]}')
        return found


_MISSING = object()


def _select_results(results: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Select the place of one metric among those of all."""
    one = {key: {n: v for n, v in results[key].items() if n == metric} for key in ('log', 'keys')}
    return {**results, **one}


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(entry) for key, entry in value.items()}
    return [_copy(entry) for entry in value] if isinstance(value, list) else value
