"""The space of a search: its order, the values that fit it, its grid and its corners."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.config.dump import dump_inline
from toolkit.io.verification.hashing import canonical_text
from toolkit.study.search.keys import Parameter

Space = Mapping[str, Parameter]
Point = dict[str, Any]
# Single values of a parameter that are listed.
MOST_VALUES = 10_000


def sort_space(space: Space) -> dict[str, Parameter]:
    """Sort the parameters so that each comes after those on which it depends.

    Raises:
        ValueError: some depend on each other.
    """
    ordered: dict[str, Parameter] = {}
    while len(ordered) < len(space):
        ready = [p for p in space if p not in ordered and all(w in ordered for w in space[p].when)]
        if not ready:
            rest = [path for path in space if path not in ordered]
            raise ValueError(f'{" and ".join(rest)} depend on each other')
        ordered.update((path, space[path]) for path in ready)
    return ordered


def is_active(parameter: Parameter, point: Mapping[str, Any]) -> bool:
    """Tell whether a parameter is searched, where those that it depends on have these values."""
    return all(
        path in point and any(is_same(point[path], value) for value in list_wanted(wanted))
        for path, wanted in parameter.when.items()
    )


def list_wanted(wanted: Any) -> list[Any]:
    """List the values of a condition, which may be one value alone."""
    return wanted if isinstance(wanted, list) else [wanted]


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two values of a config are the same; 1, 1.0 and true are three."""
    return canonical_text(one) == canonical_text(other)


def list_values(parameter: Parameter) -> list[Any] | None:
    """List the values of a parameter; None where they are not counted, or too many."""
    if parameter.choice is not None:
        return parameter.choice
    low, high = parameter.range
    step = parameter.step or (1 if parameter.integer is not None else None)
    count = parameter.points if step is None else math.floor((high - low) / step + 1e-9) + 1
    if count is None or count > MOST_VALUES:
        return None
    if parameter.integer is not None:
        return list(range(low, high + 1, int(parameter.step or 1)))
    if parameter.step is not None:
        return [round(low + number * parameter.step, 12) for number in range(count)]
    shares = [number / (count - 1) for number in range(count)]
    if parameter.log is None:
        return [low + share * (high - low) for share in shares]
    inner = [math.exp(math.log(low) + s * math.log(high / low)) for s in shares[1:-1]]
    return [low, *inner, high]  # the ends as they are written


def list_grid(space: Space) -> Iterator[Point]:
    """List the points of a space whose values are all counted, each once."""

    def extend(point: Point, rest: list[str]) -> Iterator[Point]:
        if not rest:
            yield point
            return
        path, *others = rest
        if not is_active(space[path], point):
            yield from extend(point, others)
            return
        for value in list_values(space[path]) or []:
            yield from extend({**point, path: value}, others)

    return extend({}, list(sort_space(space)))


def count_grid(space: Space, most: int) -> int:
    """Count the points of the grid, up to a number above which nobody counts."""
    return sum(1 for _ in itertools.islice(list_grid(space), most))


def list_corners(space: Space) -> list[Point]:
    """List points that hold the ends of every range and every choice at least once."""
    ordered = sort_space(space)
    found: dict[str, Point] = {}
    for path in ordered:
        for value in _list_ends(ordered[path]):
            point = _complete(ordered, {**_find_conditions(ordered, path), path: value})
            found.setdefault(dump_inline(point), point)
    return list(found.values())


def _list_ends(parameter: Parameter) -> list[Any]:
    return parameter.choice if parameter.choice is not None else parameter.range


def _find_conditions(space: Space, path: str) -> Point:
    """Find values of others with which a parameter is searched."""
    found: Point = {}
    for other, wanted in space[path].when.items():
        found |= _find_conditions(space, other) | {other: list_wanted(wanted)[0]}
    return found


def _complete(space: Space, chosen: Mapping[str, Any]) -> Point:
    """Give the other active parameters the first of their values."""
    point: Point = {}
    for path, parameter in space.items():
        if is_active(parameter, point):
            point[path] = chosen[path] if path in chosen else _list_ends(parameter)[0]
    return point


def describe_parameter(parameter: Parameter) -> str:
    """Describe a parameter in one line."""
    kind = parameter.kinds[0]
    if kind == 'choice':
        text = ', '.join(dump_inline(value) for value in parameter.range)
    else:
        low, high = parameter.range
        text = f'{kind} {low:g} to {high:g}'
        text += f' by {parameter.step:g}' if parameter.step is not None else ''
    conditions = ' and '.join(
        f'{path} is {" or ".join(dump_inline(v) for v in list_wanted(wanted))}'
        for path, wanted in parameter.when.items()
    )
    return f'{text}, where {conditions}' if conditions else text
