"""What makes two runs the same: the resolved config, the code that it reaches, the data.

Two runs whose keys are equal give the same result, so that the second need not be run.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from toolkit.config import Config, Problem
from toolkit.config.check import collect_component_classes
from toolkit.config.schema import RunConfig
from toolkit.errors import ComponentError, ToolkitError
from toolkit.interfaces import Dataset
from toolkit.registry import plugin_index
from toolkit.study.model_costs import Systems

# What names or annotates a run; its plugins count by their code.
NOTES = ('extra', 'plugins')
TEST = ('test_dataloader', 'test_evaluator')
# What any run goes through.
ENGINE = ('toolkit.registry.build', 'toolkit.run.train', 'toolkit.run.test')
# Their figures depend on these too.
PACKAGES = ('torch', 'numpy', 'mmengine')


@dataclass(frozen=True)
class Identity:
    """Hashes of all that a run's result depends on.

    Attributes:
        config: without notes.
        code: of the modules that it reaches, and the versions of what they are built on.
        data: its fingerprints; None where they are not known.
        train: of all that the training depends on, None where nothing is trained.
    """

    config: str
    code: str
    data: str | None = None
    train: str | None = None

    @property
    def key(self) -> str:
        """What is equal for runs that give the same result."""
        return _hash('run', self.config, self.code, self.data)

    def to_dict(self) -> dict[str, str | None]:
        return {'config': self.config, 'code': self.code, 'data': self.data, 'train': self.train}


class Identities:
    """Tells runs' identities; data and code are looked at once each.

    Args:
        systems: of the plan, which fit the data or not.
        open_data: whether data may be opened; without, fingerprints are not known.
    """

    def __init__(self, systems: Systems, open_data: bool) -> None:
        for cached in (_code_hash, _source, _imports):
            cached.cache_clear()  # a plugin may have been edited since the last study
        self._systems = systems
        self._open_data = open_data
        self._opened: dict[str, tuple[Dataset, str] | ToolkitError] = {}
        # By the texts of data and model: what does not fit, None where all does.
        self._fitting: dict[tuple[str, str], ToolkitError | None] = {}
        self._files: dict[Path, str | OSError] = {}
        self.problems: dict[str, Problem] = {}

    def of(self, config: Config, run: RunConfig, code: str) -> Identity:
        """The identity of a run; what is wrong with its data is in `problems` then.

        Args:
            config: checked.
            run: the same, typed.
            code: hash of the code that it reaches.
        """
        tree = {key: value for key, value in config.tree.items() if key not in NOTES}
        training = {key: value for key, value in tree.items() if key not in TEST}
        data = self._data(config, run) if self._open_data else None
        train = None
        if run.train_cfg is not None:
            own = None if data is None else [f for role, f in data.items() if role != 'test']
            train = _hash('train', training, code, own)
        return Identity(_hash(tree), code, None if data is None else _hash(data), train)

    def _data(self, config: Config, run: RunConfig) -> dict[str, str]:
        found = {}
        for role in ('train', 'val', 'test'):
            loader = getattr(run, f'{role}_dataloader')
            if loader is not None:
                path = f'{role}_dataloader.dataset'
                found[role] = self._fingerprint(config, path, loader.dataset, run)
        if run.load_from is not None:
            found['load_from'] = self._file(config, Path(run.load_from))
        return found

    def _fingerprint(self, config: Config, path: str, dataset: Any, run: RunConfig) -> str:
        """A data set's fingerprint, once it is seen to fit the system."""
        section, _, key = path.partition('.')
        text, model = plain_text(config.tree[section][key]), plain_text(config.tree['model'])
        if text not in self._opened:
            self._opened[text] = _open(dataset)
        opened = self._opened[text]
        if isinstance(opened, ToolkitError):
            self._fails(config, path, opened)
            return ''
        if (text, model) not in self._fitting:
            self._fitting[text, model] = self._misfit(opened[0], model, run)
        misfit = self._fitting[text, model]
        if misfit is not None:
            self._fails(config, path, misfit)
        return '' if misfit is not None else opened[1]

    def _misfit(self, dataset: Dataset, model: str, run: RunConfig) -> ToolkitError | None:
        try:
            self._systems.of(model, run.model).check_data(dataset)
        except ToolkitError as error:
            return error
        return None

    def _fails(self, config: Config, path: str, error: ToolkitError) -> None:
        message = error.message if isinstance(error, ComponentError) else str(error)
        # Several roles, and many runs, read the same file.
        self.problems.setdefault(message, config.problem(path, message.split('\n')[0]))

    def _file(self, config: Config, path: Path) -> str:
        if path not in self._files:
            try:
                self._files[path] = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                self._files[path] = error
        found = self._files[path]
        if isinstance(found, str):
            return found
        message = f'{path} cannot be read: {found.strerror}'
        self.problems.setdefault(message, config.problem('load_from', message))
        return ''


def _open(dataset: Any) -> tuple[Dataset, str] | ToolkitError:
    """A data set and its fingerprint; what is wrong with it where it cannot be opened."""
    from toolkit.engine import seeding

    try:
        seeding.seed_all(0)
        opened = dataset()
        fingerprint = opened.fingerprint()
    except ToolkitError as error:
        return error
    # It is kept as long as the plan is made, and those of a large study are many.
    opened.release()
    return opened, fingerprint


def code_hash(config: Config) -> str:
    """A hash of the sources that a config's parts and the engine are made of, and of what they
    import in turn, as far as these are the toolkit's or a plugin's."""
    modules = frozenset({*ENGINE, *(part.__module__ for part in collect_component_classes(config))})
    return _code_hash(modules)


@functools.cache
def _code_hash(modules: frozenset[str]) -> str:
    roots = {'toolkit', 'plugins', *(n.split('.')[0] for n in plugin_index.get_index().modules)}
    seen: set[str] = set()
    waiting = [name for name in modules if name.split('.')[0] in roots]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        parents = name.split('.')[:-1]
        waiting += ['.'.join(parents[: n + 1]) for n in range(len(parents))]
        waiting += [found for found in _imports(name) if found.split('.')[0] in roots]
    sources = {name: _source(name)[1] for name in sorted(seen)}
    packages = {name: version(name) for name in PACKAGES}
    return _hash(sources, packages, platform.python_version())


@functools.cache
def _source(module: str) -> tuple[Path | None, str]:
    """A module's file and the hash of its text; none for what is no module of its own."""
    loaded = sys.modules.get(module)
    name = getattr(loaded, '__file__', None)
    file = Path(name) if name else _find(module)
    if file is None or file.suffix != '.py':
        return None, ''
    try:
        return file, hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None, ''


def _find(module: str) -> Path | None:
    """The file of a module that is not imported, beside its parent's."""
    parent, _, name = module.rpartition('.')
    if not parent:
        return None
    folder = _source(parent)[0]
    if folder is None or folder.name != '__init__.py':
        return None
    candidates = (folder.with_name(f'{name}.py'), folder.parent / name / '__init__.py')
    return next((file for file in candidates if file.is_file()), None)


@functools.cache
def _imports(module: str) -> tuple[str, ...]:
    """Names that a module imports, those inside its functions too; some may be no modules."""
    file, _ = _source(module)
    if file is None:
        return ()
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:
        return ()
    package = module if file.name == '__init__.py' else module.rpartition('.')[0]
    return tuple(dict.fromkeys(_imported(tree, package)))


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split('.')
            above = above[: len(above) - node.level + 1] if node.level else []
            base = '.'.join([*above, *filter(None, [node.module])])
            yield base
            yield from (f'{base}.{alias.name}' for alias in node.names)


def plain_text(value: Any) -> str:
    """A value as text that is equal for equal values alone; the order of keys counts, as sums
    depend on it."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def _hash(*values: Any) -> str:
    return hashlib.sha256(plain_text(values).encode()).hexdigest()


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
