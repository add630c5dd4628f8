"""Loads a config file with its bases, overrides and references into one tree with origins."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.config import run_plugins
from toolkit.config.composition.interpolate import interpolate
from toolkit.config.composition.merge import merge
from toolkit.config.composition.override import assign, override
from toolkit.config.composition.training_length import set_iterations
from toolkit.config.find import find_config
from toolkit.config.yaml_file import (
    COMMAND_LINE,
    ConfigError,
    KeyPath,
    Origins,
    Problem,
    display_path,
    find_displayed,
    find_place,
    is_shipped,
    read_yaml,
    split_path,
)
from toolkit.errors import (
    ComponentError,
    ComponentRunError,
    RegistryError,
    ToolkitError,
    did_you_mean,
)
from toolkit.io.verification import plugin_trust
from toolkit.registry import plugin_index
from toolkit.registry.component_errors import explain_failure

_MOST_BASES = 100  # files merged into one config; the largest shipped one has 8


@dataclass
class Config:
    """A resolved config.

    Attributes:
        file: path of the config file.
        tree: mappings, lists and plain values; no `_base_`, `_delete_` or `${...}` is left.
        origins: where each path of the tree was written.
        references: by path whose value is taken over by `${...}`, the paths that it refers to.
        plugin_notes: sentences for the user about plugins that are not those of the config.
        replaced_plugins: names of a run's plugins in whose place the user named others.
    """

    file: Path
    tree: dict[str, Any]
    origins: Origins = field(default_factory=dict)
    references: dict[KeyPath, list[str]] = field(default_factory=dict)
    plugin_notes: list[str] = field(default_factory=list)
    replaced_plugins: list[str] = field(default_factory=list)
    _has_plugins: bool = field(default=False, init=False, repr=False)

    def place(self, path: str | KeyPath) -> str:
        """Returns `file:line` of a path, or of the nearest one above it."""
        parts = split_path(path) if isinstance(path, str) else path
        return find_place(self.origins, parts) or display_path(self.file)

    def find_own_place(self, path: KeyPath) -> str:
        """Finds the user's change that makes a value of a shipped config wrong.

        Returns:
            `file:line` of the first value of the user below a path, or below the nearest path
            above it; '' if the value itself is the user's, or nothing near it is.
        """
        origin = next(
            (o for n in range(len(path), 0, -1) if (o := self.origins.get(path[:n]))), None
        )
        if origin is None or not is_shipped(origin):
            return ''
        for length in range(len(path), -1, -1):
            for other, found in self.origins.items():
                if other[:length] == path[:length] and not is_shipped(found):
                    return str(found)
        return ''

    def problem(self, path: str | KeyPath, message: str) -> Problem:
        text = path if isinstance(path, str) else '.'.join(path)
        return Problem(self.place(path), text, message)

    def change(self, values: Mapping[str, Any]) -> None:
        """Sets values by dotted path, as the command line does; the sections must exist."""
        for path, value in values.items():
            keys = split_path(path)
            node = self.tree
            for key in keys[:-1]:
                node = node[key]
            assign(self.tree, self.origins, keys, value, {(): COMMAND_LINE}, keys[-1] not in node)

    @contextmanager
    def locate_errors(self) -> Iterator[None]:
        """Adds file and line of the config to errors of components inside the context.

        Raises:
            ConfigError: a component cannot be built.
            ComponentRunError: any exception inside a component that runs.
        """
        try:
            yield
        except ComponentRunError as error:
            raise ComponentRunError(
                '', str(self.problem(error.path, error.message)), error.trace
            ) from error
        except ComponentError as error:
            if not error.path:
                raise
            raise ConfigError(self.locate(error)) from error
        except ToolkitError:
            raise
        except Exception as error:
            if (failure := explain_failure(error)) is None:
                raise
            raise ComponentRunError(
                '', str(self.problem(failure.path, failure.text)), failure.trace
            ) from error

    def locate(self, error: ComponentError, path: str = '') -> Problem:
        """Returns the problem of a component with its place, at `path` if it names none."""
        message = error.message
        if error.other_path:
            message += f' ({error.other_path}: {self.place(error.other_path)})'
        return self.problem(error.path or path, message)

    def use_plugins(self, extra: Sequence[str] = (), trusted: bool = False) -> None:
        """Registers the plugins that the config names, and `extra` ones from the command line.

        The config of a run uses the run's own copies, unless one of `extra` has the same name. The
        tree then has absolute paths, so that a copy of it elsewhere finds them too.

        Args:
            extra: plugins that the user names on the command line.
            trusted: the plugins of a run's folder may run without having been trusted before.
        Raises:
            ConfigError: a plugin cannot be found.
            UntrustedPluginError: the plugins of a run's folder are not trusted.
        """
        problems, found = [], []
        # A second call finds the names that the first one has chosen.
        run = None if self._has_plugins else run_plugins.find_run(self.file)
        trusted = trusted or self._has_plugins
        for plugin, path, base in self._list_plugins(run, extra):
            try:
                if not trusted:
                    run_plugins.check_trusted(self._find_foreign(plugin, base, run))
                found.append(plugin_index.add(plugin, base))
            except RegistryError as error:
                problems.append(self.problem(path, str(error)))
        if problems:
            raise ConfigError(*problems)
        for plugin in extra:
            found.append(plugin_index.add(plugin))
            if Path(plugin).exists():
                plugin_trust.trust_in_process(Path(plugin))
        if found:
            self.tree['plugins'] = list(dict.fromkeys(found))
        self._has_plugins = True

    def _list_plugins(
        self, run: Path | None, extra: Sequence[str]
    ) -> Iterator[tuple[str, KeyPath, Path]]:
        """Lists the named plugins as they are to be used, with path in the tree and base folder."""
        named = self.tree.get('plugins')
        asked = {Path(plugin).name: plugin for plugin in extra}
        for number, plugin in enumerate(map(str, named if isinstance(named, list) else [])):
            if run is not None and (other := asked.get(Path(plugin).name)) is not None:
                self.replaced_plugins.append(Path(plugin).name)
                self.plugin_notes.append(
                    f"{other} is used in place of the run's own copy of {Path(plugin).name}"
                )
                continue
            path = ('plugins', str(number))
            origin = self.origins.get(path, self.origins.get(path[:1], COMMAND_LINE))
            base = find_displayed(origin.file).parent if origin.line else Path.cwd()
            chosen = run_plugins.choose_plugin(plugin, run)
            self.plugin_notes += filter(None, [chosen.note])
            yield chosen.plugin, path, base

    def _find_foreign(self, plugin: str, base: Path, run: Path | None) -> list[Path]:
        """Returns the path of a plugin whose code needs trust, as a list of at most one."""
        path = plugin_index.find_path(plugin, base)
        if path is None:  # an installed module, unless Python finds it in the run's folder
            source = plugin_index.find_source(plugin.split('.')[0])
            return [] if source is None or run_plugins.find_run(source) is None else [source]
        if not path.exists():
            return []
        if run is None and not any(map(run_plugins.find_run, (base, path))):
            plugin_trust.trust_in_process(path)  # the user's own config names it
            return []
        return [path]


@dataclass
class Draft:
    """A config with its bases and with unresolved references, which follow later changes."""

    file: Path
    tree: dict[str, Any]
    origins: Origins

    def copy(self) -> Draft:
        """Copies the draft, so that the copy can be changed."""
        return Draft(self.file, copy.deepcopy(self.tree), dict(self.origins))

    def resolve(self) -> Config:
        """Resolves the references; `train_cfg: null` then turns the rest of a training off too.

        Raises:
            ConfigError: references to missing keys or in a circle.
        """
        tree, *places = interpolate(self.tree, self.origins)
        if 'train_cfg' in tree and tree['train_cfg'] is None:
            tree.update((key, None) for key in ('train_dataloader', 'optim_wrapper') if key in tree)
            if 'param_scheduler' in tree:
                tree['param_scheduler'] = {}
        return Config(self.file, tree, *places)


def load_draft(file: Path) -> Draft:
    """Merges a config file over its bases.

    Raises:
        ConfigError: all problems, with file and line.
    """
    return Draft(file, *_BaseMerger().merge(file, ()))


def load(name: str | Path, overrides: Sequence[str] = (), iterations: int | None = None) -> Config:
    """Loads a config.

    Args:
        name: a path, with or without `.yaml`, or the name of a shipped config
            (`ldpnet/ldpnet_2022`).
        overrides: `key.path=value` changes a key, `+key.path=value` adds one.
        iterations: length of the training in place of the config's, see `set_iterations`.
    Raises:
        ConfigError: all problems, with file and line.
    """
    config = load_draft(find_config(name))
    problems: list[Problem] = []
    for text in overrides:
        try:
            override(config.tree, config.origins, text)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    if iterations is not None:
        set_iterations(config.tree, config.origins, iterations, {(): COMMAND_LINE})
    return config.resolve()


class _BaseMerger:
    """Merger of files over their bases; a file that is a base of several others is read once."""

    def __init__(self) -> None:
        self._merged: dict[Path, tuple[dict[str, Any], Origins]] = {}
        self._count = 0

    def merge(self, file: Path, chain: tuple[Path, ...]) -> tuple[dict[str, Any], Origins]:
        """Merges a file over its bases.

        Args:
            file: file to read.
            chain: files that lead to it, each a base of the one before.
        """
        real = file.resolve()
        own, own_origins = read_yaml(file, display_path(file))
        bases = own.pop('_base_', [])
        line = str(own_origins.get(('_base_',), display_path(file)))
        if isinstance(bases, str):
            bases = [bases]
        if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
            raise ConfigError(Problem(line, '_base_', 'expected a path or a list of paths'))
        tree: dict[str, Any] = {}
        origins: Origins = {}
        for base in bases:
            base_file = find_base(base, file, line)
            found = base_file.resolve()
            if found in (*chain, real):
                names = ' -> '.join(display_path(f) for f in (*chain, real, found))
                message = f'the bases go round in a circle: {names}'
                raise ConfigError(Problem(line, '_base_', message))
            self._count += 1
            if self._count > _MOST_BASES:
                message = f'the config has more than {_MOST_BASES} bases, those of bases included'
                raise ConfigError(Problem(line, '_base_', message))
            if found not in self._merged:
                self._merged[found] = self.merge(base_file, (*chain, real))
            merge(tree, origins, *self._merged[found])
        own_origins = {p: o for p, o in own_origins.items() if p[0] != '_base_'}
        merge(tree, origins, own, own_origins)
        return tree, origins


def find_base(base: str, file: Path, line: str, key: str = '_base_') -> Path:
    """Finds the file of `base`, which the config or study `file` names at `line` under `key`.

    Raises:
        ConfigError: there is no such file; names the nearest ones.
    """
    candidate = file.parent / base
    for path in (candidate, candidate.with_name(candidate.name + '.yaml')):
        if path.is_file():
            return path
    # A base may also have the name of a shipped config: `_base_: ldpnet/ldpnet_2022`.
    try:
        return find_config(base)
    except ConfigError:
        near = did_you_mean(base, _relative_siblings(candidate, file.parent))
        message = f'no such base {base!r} (looked for {display_path(candidate)}){near}'
        raise ConfigError(Problem(line, key, message)) from None


def _relative_siblings(candidate: Path, folder: Path) -> list[str]:
    if not candidate.parent.is_dir():
        return []
    return [os.path.relpath(p, folder) for p in candidate.parent.glob('*.yaml')]
