"""Loads a config file with its bases, overrides and references into one tree with origins."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.config import run_plugins
from toolkit.config.composition.bases import BaseMerger
from toolkit.config.composition.interpolate import interpolate
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
    split_path,
)
from toolkit.errors import (
    ComponentError,
    ComponentRunError,
    RegistryError,
    ToolkitError,
)
from toolkit.io.verification import plugin_trust
from toolkit.registry import plugin_index
from toolkit.registry.component_errors import explain_failure


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
        """Returns `file:line` of a path, or of the nearest one above it.

        A component whose `type` another file replaced is at that file's `type`.
        """
        parts = split_path(path) if isinstance(path, str) else path
        own, component = (self.origins.get(keys) for keys in (parts, (*parts, 'type')))
        if own is not None and component is not None and own.file != component.file:
            return str(component)
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
        except (Exception, SystemExit) as error:
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
        if run is not None and not trusted and run_plugins.has_addresses(self.tree):
            run_plugins.check_trusted([self.file], run_plugins.TRACKERS_SEND)
        for plugin, path, base in self._list_plugins(run, extra):
            try:
                if not trusted:
                    run_plugins.check_trusted(self._find_foreign(plugin, base, run))
                found.append(plugin_index.add(plugin, base))
            except RegistryError as error:
                problems.append(self.problem(path, str(error)))
            except OSError as error:
                text = f'the plugin {plugin} cannot be read: {error.strerror}'
                problems.append(self.problem(path, text))
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
    return Draft(file, *BaseMerger().merge(file, ()))


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
