"""Reads a YAML file as plain values with the line of every key.

YAML 1.2's reading of scalars: `1e-3` is a float, `on` and `no` are strings, `010` is ten. Only
plain values: any tag that would build an object is refused. PyYAML's SafeLoader is underneath.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from toolkit.config.yaml_scalars import NESTED_TOO_DEEP, Loader
from toolkit.errors import ToolkitError, did_you_mean, find_nearest

KeyPath = tuple[str, ...]
# Configs that come with the package, where it is installed and in a checkout.
SHIPPED_FOLDERS = tuple(Path(__file__).resolve().parents[i] / 'configs' for i in (1, 2))
_MOST_NODES = 100_000  # aliases of aliases can blow a small file up without end
_MOST_PROBLEMS = 40  # more are counted only
_CORE = {f'tag:yaml.org,2002:{name}' for name in ('null', 'bool', 'int', 'float', 'str')}


@dataclass(frozen=True)
class Origin:
    """Place in which a value was written.

    Attributes:
        file: path as messages show it.
        line: from 1; 0 stands for the command line.
        is_void: the value is a `null` for a key that no base has, so it removes nothing.
    """

    file: str
    line: int
    is_void: bool = False

    def __str__(self) -> str:
        return f'{self.file}:{self.line}' if self.line else self.file


Origins = dict[KeyPath, Origin]
COMMAND_LINE = Origin('command line', 0)


@dataclass(frozen=True)
class Problem:
    """One problem of a config."""

    place: str
    path: str
    message: str

    def __str__(self) -> str:
        return ': '.join(part for part in (self.place, self.path, self.message) if part)


class ConfigError(ToolkitError):
    """Problems of a config, one line each."""

    def __init__(self, *problems: Problem) -> None:
        lines = list(dict.fromkeys(str(problem) for problem in problems))
        if len(lines) > _MOST_PROBLEMS:
            lines[_MOST_PROBLEMS:] = [f'and {len(lines) - _MOST_PROBLEMS} problems more']
        super().__init__('\n'.join(lines))
        self.problems = problems


def split_path(path: str) -> KeyPath:
    """Splits a dotted path into its keys."""
    return tuple(path.split('.')) if path else ()


def find_place(origins: Origins, path: KeyPath) -> str:
    """Returns `file:line` of a path, or of the nearest known one above it, or ''."""
    for length in range(len(path), 0, -1):
        if (origin := origins.get(path[:length])) is not None:
            return str(origin)
    return ''


def suggest_path(path: KeyPath, depth: int, node: Any) -> str:
    """Suggests the nearest path: `; did you mean 'a.b.c'?`, or ''.

    Args:
        path: dotted path that does not exist.
        depth: index of the first key that is not there.
        node: mapping that should have it.
    """
    if not isinstance(node, dict):
        return ''
    keys = find_nearest(path[depth], node)
    return did_you_mean(
        '.'.join(path), ['.'.join((*path[:depth], k, *path[depth + 1 :])) for k in keys]
    )


def display_path(file: Path) -> str:
    """Returns a path for messages, relative to the working folder; `configs/...` if shipped."""
    real = file.resolve()
    if real.is_relative_to(Path.cwd()):
        return str(real.relative_to(Path.cwd()))
    for folder in SHIPPED_FOLDERS:
        short = real.relative_to(folder.parent) if real.is_relative_to(folder) else None
        if short is not None and not short.exists():
            return str(short)
    return str(real)


def find_displayed(shown: str) -> Path:
    """Returns the absolute path of a file that `display_path` shows as `shown`."""
    candidates = (Path(shown), *(folder.parent / shown for folder in SHIPPED_FOLDERS))
    return next((path for path in candidates if path.exists()), Path(shown)).resolve()


def read_yaml(file: Path, shown: str) -> tuple[dict[str, Any], dict[KeyPath, Origin]]:
    """Reads the mapping in a file and the origin of each of its paths.

    Args:
        file: file to read.
        shown: its name in messages.
    Raises:
        ConfigError: the file cannot be read, is not YAML or no mapping, or has duplicate keys or
            tags.
    """
    try:
        text = file.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ConfigError(Problem(shown, '', f'is not UTF-8 text ({error.reason})')) from None
    except OSError as error:
        raise ConfigError(Problem(shown, '', f'cannot be read: {error.strerror}')) from None
    value, origins = parse_yaml(text, shown)
    if value is None:
        return {}, {}
    if not isinstance(value, dict):
        raise ConfigError(
            Problem(f'{shown}:1', '', f'expected a mapping, found {describe_type(value)}')
        )
    return value, origins


def parse_yaml(text: str, shown: str) -> tuple[Any, dict[KeyPath, Origin]]:
    """Parses a YAML text into its value and origins; see `read_yaml`."""
    try:
        loader = Loader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None, {}
            return _Walk(loader, shown).run(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f'{shown}:{mark.line + 1}' if mark else shown
        raise ConfigError(Problem(place, '', _yaml_message(error, text))) from None
    except yaml.reader.ReaderError as error:
        line = text.count('\n', 0, error.position) + 1
        message = f'the character U+{error.character:04X} is not allowed in YAML'
        raise ConfigError(Problem(f'{shown}:{line}', '', message)) from None
    except yaml.YAMLError as error:
        raise ConfigError(Problem(shown, '', f'is not YAML: {error}')) from None


def shorten(text: object) -> str:
    """Returns the `repr` of a text, cut in its middle if it is long."""
    full = repr(text)
    return full if len(full) <= 80 else f'{full[:50]} ... {full[-10:]}'


def is_shipped(origin: Origin) -> bool:
    """Tells whether a value was written in a config that comes with the package."""
    file = find_displayed(origin.file)
    return origin.line > 0 and any(file.is_relative_to(folder) for folder in SHIPPED_FOLDERS)


def describe_type(value: object) -> str:
    """Names the type of a value in YAML's words."""
    if value is None:
        return 'null'
    names = {bool: 'true or false', int: 'an integer', float: 'a float', str: 'a string'}
    return {**names, dict: 'a mapping', list: 'a list'}.get(type(value), type(value).__name__)


class _Walk:
    """Visitor that turns nodes into values and origins and refuses tags and duplicate keys."""

    def __init__(self, loader: Loader, shown: str) -> None:
        self.loader = loader
        self.shown = shown
        self.origins: dict[KeyPath, Origin] = {}
        self.open: list[yaml.Node] = []
        self.count = 0
        self.problems: list[Problem] = []

    def run(self, root: yaml.Node) -> tuple[Any, dict[KeyPath, Origin]]:
        value = self.value(root, ())
        if self.problems:
            raise ConfigError(*self.problems)
        return value, self.origins

    def fail(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        place = f'{self.shown}:{node.start_mark.line + 1}'
        self.problems.append(Problem(place, '.'.join(path), message))

    def enter(self, node: yaml.Node, path: KeyPath) -> None:
        self.count += 1
        if self.count > _MOST_NODES or node in self.open:
            self.fail(node, path, 'anchors that refer to themselves or expand without end')
            raise ConfigError(*self.problems)
        self.open.append(node)

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.enter(node, path)
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == 'tag:yaml.org,2002:map':
                return dict(self.pairs(node, path))
            if isinstance(node, yaml.SequenceNode) and node.tag == 'tag:yaml.org,2002:seq':
                return [self.item(n, (*path, str(i))) for i, n in enumerate(node.value)]
            if isinstance(node, yaml.ScalarNode) and node.tag in _CORE:
                return self.scalar(node, path)
            tag = node.tag.replace('tag:yaml.org,2002:', '!!')
            self.fail(node, path, f'the tag {tag!r} is refused: a config holds plain values only')
            return None
        finally:
            self.open.pop()

    def item(self, node: yaml.Node, path: KeyPath) -> Any:
        self.origins[path] = Origin(self.shown, node.start_mark.line + 1)
        return self.value(node, path)

    def scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        try:
            return self.loader.construct_object(node)
        except (ValueError, KeyError):  # `!!int x`, `!!bool 3`
            self.fail(node, path, f'{shorten(node.value)} is not what its tag says')
            return None

    def pairs(
        self, node: yaml.MappingNode, path: KeyPath, known: set[str] | None = None
    ) -> Iterator[tuple[str, Any]]:
        """Yields keys and values; those of `known` stand in a mapping that this is merged into."""
        known = set() if known is None else known
        lines: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if _is_merge(key_node):
                merged += value_node.value if _is_list(value_node) else [value_node]
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.fail(key_node, path, 'a key must be a plain word')
                continue
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in lines:
                message = f'duplicate key {key!r}; it stands on line {lines[key]} already'
                self.fail(key_node, (*path, key), message)
                continue
            lines[key] = line
            if key in known:
                continue
            known.add(key)
            self.origins[(*path, key)] = Origin(self.shown, line)
            yield key, self.value(value_node, (*path, key))
        for other in merged:  # `<<: *anchor` gives what the mapping does not say itself
            if not isinstance(other, yaml.MappingNode):
                self.fail(other, path, '`<<` takes a mapping')
                continue
            self.enter(other, path)
            yield from self.pairs(other, path, known)
            self.open.pop()


def _is_merge(node: yaml.Node) -> bool:
    return node.tag == 'tag:yaml.org,2002:merge'


def _is_list(node: yaml.Node) -> bool:
    return isinstance(node, yaml.SequenceNode)


def _yaml_message(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark or error.context_mark
    if mark is not None:
        lines = text.split('\n')
        for number in (mark.line, mark.line - 1):
            if 0 <= number < len(lines) and re.match(r'^ *\t', lines[number]):
                return 'a tab is used for indentation; use spaces'
    if error.problem and 'but found another document' in error.problem:
        return 'a second document (---) starts here; a config is one document'
    context = f'{error.context}: ' if error.context else ''
    hint = ''
    if error.problem and 'mapping values are not allowed here' in error.problem:
        hint = '; is the indentation right, and is a value with a colon quoted?'
    if error.problem == NESTED_TOO_DEEP:
        return error.problem
    return f'is not YAML: {context}{error.problem}{hint}'
