"""Computes fingerprints of runs: hashes of config, code and data.

Two runs with equal fingerprints have the same result, so the second need not be run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.config import Config, Problem
from toolkit.config.checks.check import collect_components
from toolkit.config.schema import RunConfig
from toolkit.config.yaml_file import KeyPath
from toolkit.engine import hook_building, overlap
from toolkit.engine.process import seeding
from toolkit.errors import ComponentError, MissingDataError, ToolkitError
from toolkit.interfaces import Dataset, FileReader, Identities
from toolkit.io.data_paths import find_data_file, find_data_folder
from toolkit.io.run_records import Fingerprint
from toolkit.io.verification.hashing import (
    canonical_text,
    hash_files,
    hash_values,
    record_hashed,
)
from toolkit.io.verification.input_files import InputFiles
from toolkit.study.model_costs import SystemBuilder
from toolkit.study.source_code import find_source, hash_modules, list_imports

# Keys that name, annotate or show a run; plugins count by their code.
NOTES = ('extra', 'plugins', 'trackers')
TEST = ('test_dataloader', 'test_evaluator')
# Modules that every run uses.
ENGINE = ('toolkit.registry.build', 'toolkit.run.train', 'toolkit.run.test')


class Fingerprinter:
    """Computes fingerprints of runs; reads each data set and each source file once.

    Args:
        systems: builds the systems that the data must fit.
        open_data: open the data sets; otherwise the hash of the data stays unknown.
        is_search: the validation decides, so that it may hold nothing of the test.
        processes: number of processes that train together.
    """

    def __init__(
        self,
        systems: SystemBuilder,
        open_data: bool,
        is_search: bool = False,
        processes: int = 1,
    ) -> None:
        for cached in (hash_modules, find_source, list_imports):
            cached.cache_clear()  # a plugin may have been edited since the last study
        self._systems = systems
        self._open_data = open_data
        self._is_search = is_search
        self._processes = processes
        # By text of the data: the data set, its fingerprint, and what it holds.
        self._opened: dict[str, tuple[Dataset, str, dict[str, Identities]] | ToolkitError] = {}
        self._compared: dict[str, Problem | None] = {}
        # By the texts of data and model: the error of a data set that does not fit, else None.
        self._fitting: dict[tuple[str, str], ToolkitError | None] = {}
        self.problems: dict[str, Problem] = {}
        self.last_problems: list[Problem] = []  # those of the run that was looked at last
        self.last_inputs: list[str] = []  # groups of its files in `inputs`
        self.inputs: dict[str, InputFiles] = {}

    def fingerprint(self, config: Config, run: RunConfig, code: str) -> Fingerprint:
        """Compute the fingerprint of a run; collects in `problems` the data that cannot be used.

        Args:
            config: the checked config.
            run: the same, typed.
            code: from `hash_code`.
        """
        self.last_problems, self.last_inputs = [], []
        tree = {key: value for key, value in config.tree.items() if key not in NOTES}
        training = {key: value for key, value in tree.items() if key not in TEST}
        data = self._data(config, run) if self._open_data else None
        train, together = None, []
        if run.train_cfg is not None:
            own = None if data is None else [f for subset, f in data.items() if subset != 'test']
            # Each takes a batch of its own: an iteration has more samples.
            together = [{'processes': self._processes}] if self._processes > 1 else []
            train = hash_values('train', training, code, own, *together)
        return Fingerprint(
            hash_values(tree, *together), code, None if data is None else hash_values(data), train
        )

    def _data(self, config: Config, run: RunConfig) -> dict[str, str | list[str]]:
        found: dict[str, str | list[str]] = {}
        for subset in ('train', 'val', 'test'):
            loader = getattr(run, f'{subset}_dataloader')
            if loader is not None:
                path = f'{subset}_dataloader.dataset'
                found[subset] = self._hash_dataset(config, path, loader.dataset, run)
        self._check_overlaps(config, run)
        with record_hashed() as hashed:
            if run.load_from is not None:
                found['load_from'] = self._hash_file(config, Path(run.load_from), 'load_from')
            # Data sets hash their own files; any other file that a component is given counts whole:
            # weights, above all.
            for path, file in _find_files(config.tree):
                found['.'.join(path)] = self._hash_file(config, file, '.'.join(path))
            for path, (cls, given) in collect_components(config).items():
                if isinstance(cls, FileReader):
                    found['.'.join((*path, '*'))] = self._hash_read_files(config, path, cls, given)
        if hashed:
            name = hash_values('files', list(map(str, hashed)))
            self.inputs.setdefault(name, InputFiles.collect(hashed))
            self.last_inputs.append(name)
        return found

    def _hash_read_files(
        self, config: Config, path: KeyPath, cls: FileReader, arguments: Mapping[str, Any]
    ) -> list[str]:
        """Hash the files that a component reads without a path of theirs in the config."""
        key = '.'.join(path)
        try:
            files = cls.list_files({k: v for k, v in arguments.items() if k != 'type'})
        except (ToolkitError, ValueError) as error:
            self._add_problem(config, key, ToolkitError(str(error)))
            return []
        return [self._hash_file(config, file, key) for file in files]

    def _hash_dataset(self, config: Config, path: str, dataset: Any, run: RunConfig) -> str:
        """Get the fingerprint of a data set after checking that it fits the system."""
        section, _, key = path.partition('.')
        text, model = (
            canonical_text(config.tree[section][key]),
            canonical_text(config.tree['model']),
        )
        if text not in self._opened:
            with record_hashed() as hashed:
                self._opened[text] = _open(dataset)
            named = _list_named(config.tree[section][key])
            self.inputs[hash_values(text)] = InputFiles.collect(hashed, named)
        self.last_inputs.append(hash_values(text))
        opened = self._opened[text]
        if isinstance(opened, ToolkitError):
            self._add_problem(config, path, opened)
            return ''
        if (text, model) not in self._fitting:
            self._fitting[text, model] = self._misfit(opened[0], model, run)
        misfit = self._fitting[text, model]
        if misfit is not None:
            self._add_problem(config, path, misfit)
        return '' if misfit is not None else opened[1]

    def _check_overlaps(self, config: Config, run: RunConfig) -> None:
        """Check that no two subsets hold the same, once for equal data, system and hooks."""
        tree = config.tree
        settings = [tree.get(k) for k in ('default_hooks', 'custom_hooks', 'param_scheduler')]
        held: dict[str, dict[str, Identities]] = {}
        texts = []
        for subset in ('train', 'val', 'test'):
            section = tree.get(f'{subset}_dataloader')
            if section is None:
                continue
            texts.append(canonical_text(section['dataset']))
            opened = self._opened[texts[-1]]
            if isinstance(opened, ToolkitError):
                return
            held[subset] = opened[2]
        model = canonical_text(tree['model'])
        key = canonical_text([texts, model, settings, bool(run.allow_overlap)])
        if run.allow_overlap:
            return
        if key not in self._compared:
            system = self._systems.build(model, run.model)
            hooks = hook_building.build_hooks(run).values()
            follows = self._is_search or overlap.follows_validation(run, hooks)
            found = overlap.find_overlaps(held, system, follows)
            self._compared[key] = config.locate(overlap.OverlapError(found)) if found else None
        if (problem := self._compared[key]) is not None:
            self._collect(problem.message, problem)

    def _misfit(self, dataset: Dataset, model: str, run: RunConfig) -> ToolkitError | None:
        try:
            self._systems.build(model, run.model).check_data(dataset)
        except ToolkitError as error:
            return error
        return None

    def _add_problem(self, config: Config, path: str, error: ToolkitError) -> None:
        message = error.message if isinstance(error, ComponentError) else str(error)
        # Several subsets and many runs read the same file.
        self._collect(message, config.problem(path, message.split('\n')[0]))

    def _collect(self, message: str, problem: Problem) -> None:
        first = self.problems.setdefault(message, problem)
        if first not in self.last_problems:
            self.last_problems.append(first)

    def _hash_file(self, config: Config, path: Path, key: str) -> str:
        try:
            return hash_files(path.absolute())
        except OSError as error:
            message = f'{path} cannot be read: {error.strerror}'
            self._collect(message, config.problem(key, message))
            return ''


def _open(dataset: Any) -> tuple[Dataset, str, dict[str, Identities]] | ToolkitError:
    """Open a data set, get its fingerprint and what it holds; the error if that fails."""
    try:
        seeding.seed_all(0)
        opened = dataset()
        fingerprint, held = opened.fingerprint(), overlap.collect_identities(opened)
    except ToolkitError as error:
        return error
    # It is kept as long as the plan is made, and those of a large study are many.
    opened.release()
    return opened, fingerprint, held


def _find_files(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Find the texts of a config that name existing files, outside data sets and notes."""
    if path[:1] in {(key,) for key in (*NOTES, 'load_from')} or path[1:2] == ('dataset',):
        return
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _find_files(value, (*path, str(key)))
    elif isinstance(node, (list, tuple)):
        for number, value in enumerate(node):
            yield from _find_files(value, (*path, str(number)))
    elif isinstance(node, str) and Path(node).suffix:
        # A component may look in the working folder alone, or below $TOOLKIT_DATA first.
        with contextlib.suppress(OSError, ValueError):  # no path: a text with a dot in it
            if Path(node).is_file():
                yield path, Path(node)
        with contextlib.suppress(MissingDataError, OSError, ValueError):
            yield (*path, '$TOOLKIT_DATA'), find_data_file(node)


def _list_named(node: Any) -> Iterator[Path]:
    """List the files and folders that the texts of a data set name."""
    if isinstance(node, Mapping):
        node = node.values()
    elif isinstance(node, str):
        for find in (find_data_file, find_data_folder):
            with contextlib.suppress(MissingDataError, OSError, ValueError):
                yield find(node)
        return
    elif not isinstance(node, (list, tuple)):
        return
    for value in node:
        yield from _list_named(value)


def hash_code(config: Config) -> str:
    """Hash the sources that a config reaches: its components, the engine, and their imports.

    Imports count within the toolkit and plugins; packages count by their version.
    """
    modules = frozenset(
        {
            *ENGINE,
            *(
                part.__module__
                for path, (part, _) in collect_components(config).items()
                if path[0] not in NOTES
            ),
        }
    )
    return hash_modules(modules)
