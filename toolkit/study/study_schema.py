"""JSON Schema of study files, for editors: keys, launchers, and paths of the config that they set.

A path below a component, such as `model.generator.width`, is known by its first key alone: which
components there are is said by the base, another file. `toolkit study --plan` sees all of it.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

from toolkit.config.json_schema import Schema, SchemaMaker
from toolkit.config.schema import RunConfig
from toolkit.registry.build import get_ranges, strip_none
from toolkit.study.launchers import LAUNCHERS, launcher_class
from toolkit.study.spec import BASE, CHANGES, DIRECTIONS, Spec

TEXT = {'type': 'string'}


def make_study_schema() -> Schema:
    """Makes the schema of study files with all components that are registered."""
    maker = SchemaMaker()
    paths = {
        f'{sign}{path}': schema
        for path, schema in _list_paths(maker, RunConfig, '')
        for sign in ('', '+')
    }
    first = '|'.join(get_ranges(RunConfig))
    maker.is_composed = False  # a study file has neither bases nor references of its own
    root = maker.make_mapping(Spec, ())
    known = root['properties']
    known['launcher'] = _make_launcher(maker)
    known['seeds'] |= {'minItems': 1, 'uniqueItems': True}
    known['metrics'] |= {
        'type': ['array', 'object', 'null'],
        'items': TEXT,
        'uniqueItems': True,
        'additionalProperties': {'enum': list(DIRECTIONS)},
    }
    own = {BASE: TEXT, CHANGES: {'type': 'integer', 'minimum': 0}}
    axis = {'type': 'array', 'minItems': 1, 'uniqueItems': True}
    maker.definitions |= {
        'paths': _make_paths(first, paths),
        'variant': _make_paths(first, paths, own),
        'data': _make_paths(first, paths, {BASE: TEXT}),
        'axes': _make_paths(
            first, {path: {**axis, 'items': schema} for path, schema in paths.items()}
        ),
    }
    of_configs = {
        'common': {'$ref': '#/$defs/paths'},
        'axes': {'$ref': '#/$defs/axes'},
        'switches': _make_entries('paths'),
        'variants': _make_entries('variant'),
        'data': _make_entries('data', 'string'),
        'search': {'properties': {'space': {'propertyNames': _make_names(first)}}},
    }
    known['axes'] |= {'additionalProperties': axis}
    root['required'] = ['study']
    root['oneOf'] = [{'required': ['base']}, {'required': ['command']}]
    root['if'] = {'not': {'required': ['command']}}  # a program's paths are its own
    root['then'] = {'properties': of_configs}
    return maker.finish('Ablakit study', root)


def _list_paths(maker: SchemaMaker, cls: type, prefix: str) -> Iterator[tuple[str, Schema]]:
    """Lists the paths of a config down to its components, with the schemas of their values."""
    for name, annotation in get_ranges(cls).items():
        value = maker.make_argument(annotation, nullable=True)
        yield f'{prefix}{name}', value
        plain = strip_none(annotation)
        if inspect.isclass(plain) and dataclasses.is_dataclass(plain):
            yield from _list_paths(maker, plain, f'{prefix}{name}.')


def _make_paths(first: str, paths: dict[str, Schema], own: dict[str, Any] | None = None) -> Schema:
    """Makes the schema of a mapping of paths, with `own` keys that are no paths."""
    return {
        'type': 'object',
        'properties': {**paths, **(own or {})},
        'propertyNames': _make_names(first, *(own or ())),
    }


def _make_names(first: str, *others: str) -> Schema:
    """Makes the schema of a key that is a path of the config, or one of `others`."""
    return {'pattern': '|'.join([rf'^\+?({first})($|\.)', *(f'^{name}$' for name in others)])}


def _make_entries(definition: str, *others: str) -> Schema:
    """Makes the schema of a mapping of names to mappings of paths."""
    plain = {'if': {'type': ['null', *others]}, 'else': {'$ref': f'#/$defs/{definition}'}}
    return {'type': 'object', 'additionalProperties': plain}


def _make_launcher(maker: SchemaMaker) -> Schema:
    cases = []
    for name in LAUNCHERS:
        schema = maker.make_mapping(launcher_class({'type': name}), ())
        schema['properties'] = {'type': True, **schema['properties']}
        maker.definitions[f'launcher.{name}'] = schema
        condition: Schema = {'properties': {'type': {'const': name}}}
        if name != 'local':  # the default
            condition['required'] = ['type']
        cases.append({'if': condition, 'then': {'$ref': f'#/$defs/launcher.{name}'}})
    types = {'description': 'name of a launcher', 'enum': list(LAUNCHERS), 'default': 'local'}
    return {'type': 'object', 'properties': {'type': types}, 'allOf': cases}
