"""Merges the mappings of config files, also over references to other mappings."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.config.yaml_file import KeyPath, Origins, split_path

REFERENCE = re.compile(r'\$\{([^{}]*)\}')
_LONGEST_CHAIN = 50  # references to references; a longer chain is a circle
_MOST_STEPS = 1000  # references that are followed for one value; more have no end


class Extension(dict[str, Any]):
    """A mapping that is merged over a copy of the mapping that a reference stands for.

    The copy is made when references are resolved, so that it follows later changes of the original.
    `_delete_` is kept until then.

    Attributes:
        reference: as written, `${path.to.key}`.
    """

    def __init__(self, reference: str, values: Mapping[str, Any] | None = None) -> None:
        super().__init__(values or {})
        self.reference = reference

    def __reduce__(self) -> tuple[Any, ...]:
        return Extension, (self.reference, dict(self))


def is_reference(value: Any) -> bool:
    """Tells whether a value is one reference and nothing else."""
    return isinstance(value, str) and REFERENCE.fullmatch(value) is not None


def view_extended(tree: dict[str, Any], value: Any) -> Any:
    """Follows a reference and merges an extension, so that the keys of a mapping are known.

    Args:
        tree: the whole config.
        value: a reference, an extension or any other value.
    Returns:
        The value; None for a reference to nothing or in a circle. References within it still stand.
    """
    return _view(tree, value, _LONGEST_CHAIN, itertools.count())


def _view(tree: dict[str, Any], value: Any, limit: int, steps: Iterator[int]) -> Any:
    if limit == 0 or next(steps) > _MOST_STEPS:
        return None
    if isinstance(value, Extension):
        base = _view(tree, value.reference, limit - 1, steps)
        result = copy.deepcopy(base) if isinstance(base, dict) else {}
        merge(result, {}, dict(value), {})
        return result
    if not is_reference(value):
        return value
    node: Any = tree
    for key in split_path(value[2:-1].strip()):
        node = _view(tree, node, limit - 1, steps)
        if isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        else:
            node = node.get(key) if isinstance(node, dict) else None
    return _view(tree, node, limit - 1, steps)


def merge(
    tree: dict[str, Any], origins: Origins, new: dict[str, Any], new_origins: Origins
) -> None:
    """Merges `new` into `tree` in place: mappings deep, everything else replaced.

    A mapping with `_delete_: true` replaces the old value. A mapping over a reference becomes an
    `Extension` of it. `null` stays: an entry of a collection that is null is left out, an argument
    that is null is None. The origin of a `null` for a key that `tree` does not have is void.
    """
    _merge(tree, origins, new, new_origins, (), marks=bool(tree), extends=False)


def _merge(
    tree: dict[str, Any],
    origins: Origins,
    new: dict[str, Any],
    new_origins: Origins,
    at: KeyPath,
    marks: bool,
    extends: bool,
) -> None:
    for key, value in new.items():
        path = (*at, key)
        mapping = isinstance(value, dict) and not isinstance(value, Extension)
        merged = mapping and value.get('_delete_') is not True
        if merged and is_reference(tree.get(key)):
            tree[key] = Extension(tree[key])
        old = tree.get(key)
        if merged and isinstance(old, dict):
            if path in new_origins and path not in origins:
                origins[path] = new_origins[path]
            inside = extends or isinstance(old, Extension)
            _merge(old, origins, value, new_origins, path, marks, inside)
            continue
        known = key in tree and not (path in origins and origins[path].is_void)
        for stale in [p for p in origins if p[: len(path)] == path]:
            del origins[stale]
        tree[key] = copy.deepcopy(value) if extends else _without_delete(value)
        origins.update({p: o for p, o in new_origins.items() if p[: len(path)] == path})
        if marks and not extends:
            for inner in null_paths(value):
                set_void((*path, *inner), origins, bool(inner) or not known)


def null_paths(value: Any) -> Iterator[KeyPath]:
    """Yields the paths of the nulls in a value; `()` is the value itself."""
    if value is None:
        yield ()
    elif isinstance(value, dict) and not isinstance(value, Extension):
        for key, entry in value.items():
            for inner in null_paths(entry):
                yield (key, *inner)


def set_void(path: KeyPath, origins: Origins, is_void: bool) -> None:
    """States whether the null at a path removes nothing."""
    if path in origins:
        origins[path] = dataclasses.replace(origins[path], is_void=is_void)


def _without_delete(value: Any) -> Any:
    if isinstance(value, dict) and not isinstance(value, Extension):
        return {k: _without_delete(v) for k, v in value.items() if k != '_delete_'}
    return copy.deepcopy(value)
