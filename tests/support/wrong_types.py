"""Values of a wrong type for every argument of a config or a study, by the annotations alone."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from tests.support.config_mutants import Mutant
from tests.support.config_places import Path, list_arguments
from toolkit.config.dump import dump
from toolkit.config.schema import RunConfig
from toolkit.registry.build import find_object_kind, find_slot_kind, is_union

# YAML texts of each type; the texts are no choice of any argument.
VALUES: dict[str, tuple[str, ...]] = {
    'null': ('null',),
    'bool': ('true', 'false'),
    'int': ('7', '-0', '0x1F'),
    'float': ('1.5', '1e400', '.nan'),
    'str': ('sparkle', "'3'", "'true'", "''"),
    'list': ('[]', '[1, [2]]'),
    'mapping': ('{a: 1}', '{type: 3}'),
}


def find_types(annotation: Any) -> set[str] | None:
    """Finds the names of the types that an annotation allows; None where it does not tell."""
    if is_union(annotation):
        found = [find_types(a) for a in typing.get_args(annotation)]
        return None if None in found else set().union(*found)  # type: ignore[arg-type]
    if annotation in (None, type(None)):
        return {'null'}
    origin = typing.get_origin(annotation) or annotation
    if origin is typing.Literal:  # of texts, the choices alone, which `VALUES` has not
        return {type(c).__name__ for c in typing.get_args(annotation)} - {'str'}
    if find_slot_kind(annotation) or find_object_kind(annotation):
        return {'mapping'}
    if not inspect.isclass(origin) or origin is object:
        return None
    if origin in (bool, int, str):
        return {origin.__name__}
    if origin is float:
        return {'int', 'float'}
    if dataclasses.is_dataclass(origin) or issubclass(origin, Mapping):
        return {'mapping'}
    if issubclass(origin, PurePath):
        return {'str'}
    return {'list'} if issubclass(origin, Sequence) else None


def list_wrong_values(annotation: Any) -> list[str]:
    """Lists YAML texts of the types that an annotation does not allow."""
    allowed = find_types(annotation)
    if allowed is None:
        return []
    return [text for name, texts in VALUES.items() if name not in allowed for text in texts]


def make_wrong_types(
    tree: dict[str, Any], seen: set[Any], top: Any = RunConfig
) -> Iterator[Mutant]:
    """Yields each argument of a tree with each value of a wrong type.

    An argument of the same class at the same path as one in `seen` is left out.
    """
    for place, name, annotation in list_arguments(tree, top):
        key = (place.path, place.cls, name)
        if key in seen:
            continue
        seen.add(key)
        yield from replace(tree, (*place.path, name), list_wrong_values(annotation))


def replace(tree: dict[str, Any], path: Path, texts: list[str]) -> Iterator[Mutant]:
    """Yields a tree with each of some texts at a path."""
    node = tree
    for key in path[:-1]:
        node = node[key]
    before = node[path[-1]]
    node[path[-1]] = '@@'
    whole = dump(tree)
    node[path[-1]] = before
    for text in texts:
        yield Mutant('wrong_type', path, whole.replace("'@@'", text, 1), text)
