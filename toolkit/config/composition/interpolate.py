"""Resolves references: `${path.to.key}` stands for the value at that path of the same config."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from toolkit.config.composition.merge import REFERENCE, Extension, merge, view_extended
from toolkit.config.yaml_file import (
    ConfigError,
    KeyPath,
    Origins,
    Problem,
    describe_type,
    find_place,
    split_path,
    suggest_path,
)
from toolkit.errors import did_you_mean

_LITERAL = '$${'
_LONGEST_CHAIN = 50
# A reference to a mapping with two references to a mapping with two references ... has no end.
_MOST_REFERENCES = 10_000
_MOST_VALUES = 100_000
_LONGEST_TEXT = 100_000
_EITHER = re.compile(rf'{re.escape(_LITERAL)}|{REFERENCE.pattern}')


def interpolate(
    tree: dict[str, Any], origins: Origins
) -> tuple[dict[str, Any], Origins, dict[KeyPath, list[str]]]:
    """Replaces every reference; returns the tree, its origins, and the targets by path.

    Raises:
        ConfigError: references to missing keys or in a circle, of which all are reported; or
            references that expand without end.
    """
    resolver = _Resolver(tree, origins)
    result = resolver.walk(tree, ())
    if resolver.problems:
        raise ConfigError(*resolver.problems)
    return result, {**origins, **resolver.added}, resolver.references


class _Resolver:
    """Resolver of `${path.to.key}`; a value that is only a reference keeps its type."""

    def __init__(self, tree: dict[str, Any], origins: Origins) -> None:
        self.tree = tree
        self.origins = origins
        self.added: Origins = {}
        self.references: dict[KeyPath, list[str]] = {}
        self.problems: list[Problem] = []
        self.values = 0
        self.resolved = 0

    def walk(self, value: Any, path: KeyPath, chain: tuple[str, ...] = ()) -> Any:
        self.values += 1
        if self.values > _MOST_VALUES:
            self.give_up(path, f'references expand to more than {_MOST_VALUES} values')
        if isinstance(value, Extension):
            return self.extend(value, path, chain)
        if isinstance(value, dict):
            return {k: self.walk(v, (*path, k), chain) for k, v in value.items()}
        if isinstance(value, list):
            return [self.walk(v, (*path, str(i)), chain) for i, v in enumerate(value)]
        if isinstance(value, str) and '${' in value:
            return self.text(value, path, chain)
        return value

    def text(self, value: str, path: KeyPath, chain: tuple[str, ...]) -> Any:
        whole = REFERENCE.fullmatch(value)
        if whole:
            return self.reference(whole[1], path, chain)

        def replaced(match: re.Match[str]) -> str:
            if match[0] == _LITERAL:
                return '${'
            return str(self.reference(match[1], path, chain))

        result = _EITHER.sub(replaced, value)
        if len(result) > _LONGEST_TEXT:
            self.give_up(path, f'references expand to more than {_LONGEST_TEXT} characters')
        return result

    def extend(self, value: Extension, path: KeyPath, chain: tuple[str, ...]) -> Any:
        """Merges an extension over a copy of the mapping that its reference stands for."""
        own_origins = _select_below(path, {**self.added, **self.origins})
        for inner in own_origins:
            self.added.pop((*path, *inner), None)
        count = len(self.problems)
        base = self.text(value.reference, path, chain)
        if len(self.problems) > count:
            return None
        if base is not None and not isinstance(base, dict):
            return self.fail(
                path,
                f'a mapping cannot be merged into {value.reference}, which is '
                f'{describe_type(base)}; set `_delete_: true` in it to replace the reference',
            )
        result: dict[str, Any] = base or {}
        origins = _select_below(path, self.added)
        own = {key: self.walk(entry, (*path, key), chain) for key, entry in value.items()}
        for inner in origins:
            self.added.pop((*path, *inner), None)
        merge(result, origins, own, own_origins)
        self.added.update({(*path, *inner): origin for inner, origin in origins.items()})
        return result

    def reference(self, target: str, path: KeyPath, chain: tuple[str, ...]) -> Any:
        target = target.strip()
        if not chain:
            self.references.setdefault(path, []).append(target)
        self.resolved += 1
        if self.resolved > _MOST_REFERENCES:
            self.give_up(path, f'references expand to more than {_MOST_REFERENCES} others')
        if len(chain) >= _LONGEST_CHAIN:
            self.give_up(path, f'references refer to references, more than {_LONGEST_CHAIN} deep')
        if target in chain:
            circle = ' -> '.join((*chain, target))
            return self.fail(path, f'${{{target}}} refers to itself: {circle}')
        node: Any = self.tree
        for depth, key in enumerate(keys := split_path(target)):
            node = view_extended(self.tree, node) if isinstance(node, Extension) else node
            if isinstance(node, dict) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            else:
                near = suggest_path(keys, depth, node) or did_you_mean(
                    target, _list_paths(self.tree)
                )
                full = '.'.join(keys[: depth + 1])
                return self.fail(path, f'${{{target}}}: no key {full!r}{near}')
        if path[: len(keys)] == keys:
            return self.fail(
                path, f'${{{target}}} refers to itself or to a mapping that contains it'
            )
        inner = self.origins.items() if isinstance(node, (dict, list)) else ()
        for source, origin in inner:
            if source[: len(keys)] == keys and len(source) > len(keys):
                self.added.setdefault((*path, *source[len(keys) :]), origin)
        return self.walk(copy.deepcopy(node), path, (*chain, target))

    def give_up(self, path: KeyPath, message: str) -> NoReturn:
        self.fail(path, message)
        raise ConfigError(*self.problems)

    def fail(self, path: KeyPath, message: str) -> None:
        self.problems.append(Problem(find_place(self.origins, path), '.'.join(path), message))


def _select_below(path: KeyPath, origins: Origins) -> Origins:
    """Returns the origins below a path, relative to it."""
    depth = len(path)
    return {p[depth:]: o for p, o in origins.items() if p[:depth] == path and len(p) > depth}


def _list_paths(tree: dict[str, Any], at: KeyPath = ()) -> Iterable[str]:
    for key, value in tree.items():
        yield '.'.join((*at, key))
        if isinstance(value, dict):
            yield from _list_paths(value, (*at, key))
