"""Annotations in plain words, and whether values of a config fit them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from toolkit.config.yaml_file import (
    describe_type,
    shorten,
)
from toolkit.errors import (
    ToolkitError,
    did_you_mean,
)
from toolkit.registry.annotations import UnresolvedAnnotation
from toolkit.registry.build import (
    find_object_kind,
    find_slot_kind,
    is_union,
    strip_none,
)
from toolkit.registry.plain_values import (
    is_class_type,
    is_text_type,
    is_written,
    list_choices,
)


def allows_none(annotation: Any) -> bool:
    """Tells whether an annotation allows null."""
    return annotation is None or type(None) in typing.get_args(annotation)


def describe_expected(annotation: Any) -> str:
    """Describes in parentheses what a missing argument expects; '' if nothing is known."""
    try:
        slot = find_slot_kind(strip_none(annotation)) or find_object_kind(strip_none(annotation))
    except ToolkitError:
        return ''
    if slot is not None:
        return f' (a {slot.name})'
    if isinstance(annotation, UnresolvedAnnotation):
        return f' ({annotation.text})'
    return '' if annotation is inspect.Parameter.empty else f' ({describe_annotation(annotation)})'


def fits(annotation: Any, value: Any) -> bool:
    """Tells whether a plain value of YAML fits an annotation."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return any(value == a and type(value) is type(a) for a in arguments)
    if is_union(annotation):
        return any(fits(a, value) for a in arguments)
    if origin is tuple:
        return isinstance(value, list) and _fits_tuple(arguments, value)
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return isinstance(value, list) and all(fits(a, v) for a in arguments for v in value)
    if is_class_type(annotation):
        return False
    if annotation is Any or not inspect.isclass(annotation):
        return True
    if is_text_type(annotation):
        return is_written(annotation, value)
    if annotation is bool:
        return isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation is str:
        return isinstance(value, str)
    if issubclass(annotation, Mapping):
        return isinstance(value, dict)
    if issubclass(annotation, Sequence):
        return isinstance(value, list)
    return annotation is object  # YAML cannot write a tensor or a module


def _fits_tuple(arguments: tuple[Any, ...], value: list[Any]) -> bool:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return all(fits(arguments[0], v) for v in value)
    return len(arguments) == len(value) and all(fits(a, v) for a, v in zip(arguments, value))


_NAMES = {bool: 'true or false', int: 'an integer', float: 'a number', str: 'a string'}


def describe_annotation(annotation: Any) -> str:
    """Describes an annotation in plain words."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return 'one of ' + ', '.join(map(str, arguments))
    if is_union(annotation):
        words = [describe_annotation(a) for a in arguments if a is not type(None)]
        return ' or '.join(words + ['null'] * allows_none(annotation))
    if annotation in _NAMES:
        return _NAMES[annotation]
    if is_class_type(annotation):
        return 'a class, which no config can give; annotate Slot[INTERFACE] or Literal[...]'
    if is_text_type(annotation) and (choices := list_choices(annotation)):
        return 'one of ' + ', '.join(choices)
    origin = typing.get_origin(annotation) or annotation
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return (
            f'a list of {len(arguments)} ({", ".join(describe_annotation(a) for a in arguments)})'
        )
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return 'a mapping'
    if inspect.isclass(origin) and issubclass(origin, PurePath):
        return 'a path'
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        known = arguments and arguments[0] is not Any
        return 'a list' + (f' (each {describe_annotation(arguments[0])})' if known else '')
    return getattr(origin, '__name__', str(origin))


def describe_value(value: Any) -> str:
    """Describes a value of YAML with its type."""
    if isinstance(value, (dict, list)) or value is None:
        return describe_type(value)
    if isinstance(value, str):
        return f'{shorten(value)} ({describe_type(value)})'
    return str(value).lower() if abs(value) < 10**30 else describe_type(value)


def suggest_choice(annotation: Any, value: Any) -> str:
    """Suggests the choice that a misspelt text probably means; '' if none is near."""
    if typing.get_origin(annotation) is typing.Literal and isinstance(value, str):
        return did_you_mean(value, [str(a) for a in typing.get_args(annotation)])
    if is_text_type(annotation) and isinstance(value, str):
        return did_you_mean(value, list_choices(annotation))
    return ''
