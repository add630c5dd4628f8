"""JSON Schema of configs, for editors: names, types, choices, ranges and docs of everything.

A schema sees one file. What a config takes from its bases it does not see, so that no key is
required, and a mapping without a `type` may have the arguments of any component of its kind.
`toolkit check` sees all of it.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import typing
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any

from toolkit.config.composition.merge import REFERENCE
from toolkit.config.schema import RunConfig
from toolkit.errors import RegistryError
from toolkit.ranges import BOUNDS, Ge, Gt, Le, Lt, Odd
from toolkit.registry import Kind
from toolkit.registry.annotations import UnresolvedAnnotation
from toolkit.registry.build import (
    find_object_kind,
    find_slot_kind,
    get_mapping_values,
    get_ranges,
    get_signature,
    is_union,
    strip_none,
)
from toolkit.registry.description.describe import document_arguments, split_docstring

DIALECT = 'https://json-schema.org/draft/2020-12/schema'
PLAIN = {bool: 'boolean', int: 'integer', float: 'number', str: 'string'}
# Values that stand for another place of the config.
IS_REFERENCE = {'type': 'string', 'pattern': REFERENCE.pattern}
REFERENCES = {
    'reference': IS_REFERENCE,
    'reference_or_null': {'anyOf': [IS_REFERENCE, {'type': 'null'}]},
}
BASE = {
    'description': 'Config, or configs, that this one changes.',
    'anyOf': [{'type': 'string'}, {'type': 'array', 'items': {'type': 'string'}}],
}
DELETE = {
    'description': 'Leave out everything that a base says here.',
    'type': 'boolean',
}

Schema = dict[str, Any]


def make_schema() -> Schema:
    """Makes the schema of run configs with all components that are registered.

    All plugins are imported. A component of a plugin that cannot be imported is left out.
    """
    maker = SchemaMaker()
    root = maker.make_mapping(RunConfig, ())
    root['properties']['_base_'] = BASE
    return maker.finish('Ablakit config', root)


class SchemaMaker:
    """Maker of one schema; each section, kind and component has a definition of its own."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}
        self.components: dict[str, list[str]] = {}  # of each kind
        # Whether the file has bases, whose values it deletes, and references to other places.
        self.is_composed = True

    def finish(self, title: str, root: Schema) -> Schema:
        """Makes the whole schema of a file from the schema of its root and the definitions."""
        for kind, names in self.components.items():
            definitions = [self.definitions[f'{kind}.{name}'] for name in names]
            self.definitions[f'kind.{kind}']['allOf'].append(_describe_rest(definitions))
        return {
            '$schema': DIALECT,
            'title': title,
            **root,
            '$defs': dict(sorted({**self.definitions, **REFERENCES}.items())),
        }

    def make_mapping(self, cls: Any, injected: Collection[str]) -> Schema:
        """Makes the schema of a mapping of the arguments of a class."""
        parameters, ranges, meanings = get_signature(cls), get_ranges(cls), document_arguments(cls)
        is_open = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        properties: dict[str, Schema] = {'_delete_': DELETE} if self.is_composed else {}
        for name, parameter in parameters.items():
            if name in injected or parameter.kind in (
                parameter.VAR_KEYWORD,
                parameter.VAR_POSITIONAL,
            ):
                continue
            value = self.make_argument(ranges[name])
            if meaning := meanings.get(name):
                value['description'] = meaning
            if _is_plain(parameter.default):
                value['default'] = parameter.default
            properties[name] = value
        summary = split_docstring(cls.__doc__)[''].strip()
        found: Schema = {'type': 'object', 'properties': properties}
        if not is_open:
            found['additionalProperties'] = False
        return {'description': summary, **found} if summary else found

    def make_argument(self, annotation: Any, nullable: bool = False) -> Schema:
        """Makes the schema of a value, for which a reference may stand."""
        plain = strip_none(annotation)
        return self._allow_reference(self._make_value(plain), nullable or plain is not annotation)

    def _make_value(self, annotation: Any) -> Schema:
        if annotation is None or annotation is type(None):
            return {'type': 'null'}
        if annotation in (inspect.Parameter.empty, Any) or isinstance(
            annotation, UnresolvedAnnotation
        ):
            return {}
        if is_union(annotation):
            parts = [self._make_value(part) for part in typing.get_args(annotation)]
            return {} if {} in parts else {'anyOf': parts}
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is Annotated:
            bounds = [bound for bound in arguments[1:] if isinstance(bound, BOUNDS)]
            return self._make_value(arguments[0]) | _limit(bounds)
        if (kind := find_slot_kind(annotation) or find_object_kind(annotation)) is not None:
            return self._refer_to_kind(kind)
        if inspect.isclass(annotation) and dataclasses.is_dataclass(annotation):
            return self._refer_to_section(annotation)
        if (values := get_mapping_values(annotation)) is not None:
            return self._make_collection(values)
        if origin is typing.Literal:
            return {'enum': list(arguments)}
        if origin is tuple:
            return self._make_tuple(arguments)
        if inspect.isclass(origin) and issubclass(origin, Sequence):
            return {'type': 'array', 'items': self._make_value(arguments[0])}
        return _make_plain(annotation)

    def _make_tuple(self, arguments: tuple[Any, ...]) -> Schema:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return {'type': 'array', 'items': self._make_value(arguments[0])}
        items = [self._make_value(argument) for argument in arguments]
        size = len(items)
        return {'type': 'array', 'prefixItems': items, 'minItems': size, 'maxItems': size}

    def _make_collection(self, values: Any) -> Schema:
        """Makes the schema of a mapping by name; `null` removes a component of a base."""
        plain = strip_none(values)
        component = find_slot_kind(plain) or find_object_kind(plain)
        entry = self.make_argument(values, nullable=component is not None)
        properties = {'_delete_': DELETE} if self.is_composed else {}
        return {'type': 'object', 'properties': properties, 'additionalProperties': entry}

    def _allow_reference(self, schema: Schema, nullable: bool = False) -> Schema:
        """Lets a reference stand for a value, by a condition: errors of `anyOf` have no place."""
        if not schema:
            return {}
        if not self.is_composed:
            return {'if': {'type': 'null'}, 'else': schema} if nullable else schema
        name = 'reference_or_null' if nullable else 'reference'
        return {'if': {'$ref': f'#/$defs/{name}'}, 'else': schema}

    # -- definitions ---------------------------------------------------------------------------

    def _refer_to_section(self, cls: type) -> Schema:
        return self._refer(f'section.{cls.__name__}', lambda: self.make_mapping(cls, ()))

    def _refer_to_kind(self, kind: Kind) -> Schema:
        return self._refer(f'kind.{kind.name}', lambda: self._make_kind(kind))

    def _refer(self, name: str, make: typing.Callable[[], Schema]) -> Schema:
        if name not in self.definitions:
            self.definitions[name] = {}  # components may hold components of their own kind
            self.definitions[name] = make()
        # A pointer, in which `~` and `/` have signs of their own (RFC 6901).
        return {'$ref': f'#/$defs/{name.replace("~", "~0").replace("/", "~1")}'}

    def _make_kind(self, kind: Kind) -> Schema:
        """Makes the schema of a component of a kind: its `type` decides the other keys."""
        names = {*kind.names(), *kind.library_components()}
        components = {}
        for name in sorted(names):
            try:
                components[name] = kind.get(name)
            except RegistryError:
                continue
        self.components[kind.name] = list(components)
        cases = []
        for name, cls in components.items():
            reference = self._refer(
                f'{kind.name}.{name}', lambda cls=cls: self._make_component(kind, cls)
            )
            condition = {'properties': {'type': {'const': name}}, 'required': ['type']}
            cases.append({'if': condition, 'then': reference})
        summaries = [split_docstring(cls.__doc__)[''].split('\n')[0] for cls in components.values()]
        return {
            'description': f'{kind.name}: '
            + '; '.join(
                f'{n}: {s}' if s else n for n, s in zip(components, summaries, strict=True)
            ),
            'type': 'object',
            'properties': {
                'type': {
                    'description': f'name of a {kind.name}',
                    **self._allow_reference({'enum': list(components)}),
                }
            },
            'allOf': cases,
        }

    def _make_component(self, kind: Kind, cls: type) -> Schema:
        found = self.make_mapping(cls, kind.injected)
        found['properties'] = {'type': True, **found['properties']}
        return found


def _describe_rest(definitions: Sequence[Schema]) -> Schema:
    """Makes the schema of a component whose `type` a base states: any of these components."""
    found: dict[str, list[Schema]] = {}
    for definition in definitions:
        for name, schema in definition['properties'].items():
            known = found.setdefault(name, [])
            if schema not in known:
                known.append(schema)
    merged = {n: known[0] if len(known) == 1 else {'anyOf': known} for n, known in found.items()}
    is_open = not definitions or any('additionalProperties' not in d for d in definitions)
    rest = {'properties': merged} | ({} if is_open else {'additionalProperties': False})
    return {'if': {'not': {'required': ['type']}}, 'then': rest}


def _limit(bounds: Sequence[Any]) -> Schema:
    limits: Schema = {}
    for bound in bounds:
        if isinstance(bound, Ge):
            limits['minimum'] = bound.limit
        elif isinstance(bound, Gt):
            limits['exclusiveMinimum'] = bound.limit
        elif isinstance(bound, Le):
            limits['maximum'] = bound.limit
        elif isinstance(bound, Lt):
            limits['exclusiveMaximum'] = bound.limit
        elif isinstance(bound, Odd):
            limits['not'] = {'multipleOf': 2}
    return limits


def _make_plain(annotation: Any) -> Schema:
    if annotation in PLAIN:
        return {'type': PLAIN[annotation]}
    if not inspect.isclass(annotation):
        return {}
    if issubclass(annotation, PurePath):
        return {'type': 'string'}
    if issubclass(annotation, Mapping):
        return {'type': 'object'}
    return {'type': 'array'} if issubclass(annotation, Sequence) else {}


def _is_plain(default: Any) -> bool:
    """Tells whether a default can stand in JSON."""
    if isinstance(default, float):
        return math.isfinite(default)
    if isinstance(default, (list, tuple)):
        return all(_is_plain(value) for value in default)
    return default is None or isinstance(default, (bool, int, str))
