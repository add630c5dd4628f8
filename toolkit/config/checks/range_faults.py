"""Finds numbers of a config that are outside of the ranges that annotations state."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from toolkit.ranges import BOUNDS, Infinite, strip_ranges
from toolkit.registry.build import is_union

# torch stores the size of a dimension, a step and a seed in 64 bits.
_LARGEST = 2**63 - 1


def find_fault(annotation: Any, value: Any) -> str:
    """Describes the first number of a value that its annotation excludes.

    Args:
        annotation: with ranges; its types fit the value.
        value: plain value of a config.
    Returns:
        `must be at least 1, found -1`, or '' if all numbers are in range.
    """
    if _is_number(value):
        return _find_number_fault(annotation, value)
    if isinstance(value, list):
        return _find_list_fault(annotation, value)
    if isinstance(value, dict):
        entry = _find_item_annotation(annotation, Mapping, -1)
        faults = (find_fault(entry, v) for v in value.values())
        return next(filter(None, faults), '') if entry is not None else ''
    return ''


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _members(annotation: Any) -> tuple[Any, ...]:
    """Returns the members of a union, or the annotation alone."""
    if typing.get_origin(annotation) is Annotated or not is_union(annotation):
        return (annotation,)
    return typing.get_args(annotation)


def _find_number_fault(annotation: Any, value: float) -> str:
    faults = []
    for member in _members(annotation):
        kind = strip_ranges(member)
        if kind not in (int, float) or (kind is int and not isinstance(value, int)):
            continue
        bounds = [b for b in getattr(member, '__metadata__', ()) if isinstance(b, BOUNDS)]
        faults.append(_compare(bounds, value))
    return next(filter(None, faults), '') if faults and all(faults) else ''


def _compare(bounds: Sequence[Any], value: float) -> str:
    stated = [str(bound) for bound in bounds if not isinstance(bound, Infinite)]
    words = ' and '.join(stated)
    if isinstance(value, int) and abs(value) > _LARGEST:
        return f'must be a number of at most 63 bits, found {_shorten(value)}'
    infinite = len(stated) < len(bounds)
    if isinstance(value, float) and (math.isnan(value) or (math.isinf(value) and not infinite)):
        return f'must be a finite number{f", {words}" if words else ""}, found {value}'
    if all(bound.contains(value) for bound in bounds):
        return ''
    return f'must be {words}, found {value}'


def _shorten(value: int) -> str:
    return str(value) if abs(value) < 10**30 else f'an integer of {value.bit_length()} bits'


def _find_list_fault(annotation: Any, value: list[Any]) -> str:
    for member in _members(annotation):
        kind = strip_ranges(member)
        arguments = typing.get_args(kind)
        if typing.get_origin(kind) is tuple and arguments and arguments[-1] is not Ellipsis:
            pairs = list(zip(arguments, value))
        elif (entry := _find_item_annotation(member, Sequence, 0)) is not None:
            pairs = [(entry, item) for item in value]
        else:
            continue
        if fault := next(filter(None, (find_fault(a, v) for a, v in pairs)), ''):
            return fault
    return ''


def _find_item_annotation(annotation: Any, interface: type, index: int) -> Any:
    """Finds the annotation of the items of a sequence, or of the values of a mapping."""
    for member in _members(annotation):
        kind = strip_ranges(member)
        origin = typing.get_origin(kind)
        if isinstance(origin, type) and issubclass(origin, interface) and typing.get_args(kind):
            return typing.get_args(kind)[index]
    return None
