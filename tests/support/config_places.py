"""Arguments of configs and studies with their annotations, as mutants of them need."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from typing import Any

from toolkit.config.schema import RunConfig
from toolkit.registry import Kind
from toolkit.registry.build import (
    find_object_kind,
    find_slot_kind,
    get_mapping_values,
    get_signature,
    strip_none,
)

Path = tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """A mapping whose keys are arguments: of a component (with its kind) or of a section."""

    path: Path
    node: dict[str, Any]
    cls: Any
    kind: Kind | None

    def arguments(self) -> dict[str, Any]:
        """Returns the annotations of arguments that the config may give, by name."""
        injected = self.kind.injected if self.kind else ()
        return {
            name: p.annotation
            for name, p in get_signature(self.cls).items()
            if name not in injected and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        }


def list_places(tree: dict[str, Any], top: Any = RunConfig) -> list[Place]:
    places: list[Place] = []

    def visit(cls: Any, node: dict[str, Any], path: Path, kind: Kind | None) -> None:
        place = Place(path, node, cls, kind)
        places.append(place)
        for name, annotation in place.arguments().items():
            visit_value(annotation, node.get(name), (*path, name))

    def visit_value(annotation: Any, value: Any, path: Path) -> None:
        annotation = strip_none(annotation)
        kind = find_slot_kind(annotation) or find_object_kind(annotation)
        if not isinstance(value, dict):
            return
        if kind is not None:
            visit(kind.get(value['type']), value, path, kind)
        elif inspect.isclass(annotation) and dataclasses.is_dataclass(annotation):
            visit(annotation, value, path, None)
        elif (entries := get_mapping_values(annotation)) is not None:
            for name, entry in value.items():
                visit_value(entries, entry, (*path, name))

    visit(top, tree, (), None)
    return places


def list_arguments(tree: dict[str, Any], top: Any = RunConfig) -> list[tuple[Place, str, Any]]:
    return [
        (place, name, annotation)
        for place in list_places(tree, top)
        for name, annotation in place.arguments().items()
        if place.node.get(name) is not None and place.path[:1] != ('extra',)
    ]
