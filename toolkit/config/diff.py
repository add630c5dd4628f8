"""Compares two resolved configs: components swapped, added or removed, and values changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from toolkit.config.dump import dump_inline

# What names or annotates a run and does not change what it computes.
_NOTES = ('extra',)


@dataclass(frozen=True)
class ConfigChange:
    """One difference at a dotted path.

    Attributes:
        what: 'part' where another class stands, otherwise what happened to a value or part.
        before: the value in the first config, None where there was none.
        after: the value in the second.
    """

    path: str
    what: Literal['part', 'added', 'removed', 'changed']
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.what == 'part':
            return f'{self.path}: {_part(self.before)} -> {_part(self.after)}'
        if self.what == 'added':
            return f'{self.path}: + {_part(self.after)}'
        if self.what == 'removed':
            return f'{self.path}: - {_part(self.before)}'
        return f'{self.path}: {dump_inline(self.before)} -> {dump_inline(self.after)}'


def compare_configs(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[ConfigChange]:
    """Returns the differences in order; null equals absent, notes are ignored."""
    return [c for c in _walk(before, after, ()) if c.path.split('.')[0] not in _NOTES]


def format_changes(changes: list[ConfigChange]) -> str:
    """Formats the changes as text, components first."""
    if not changes:
        return 'no difference: both configs run the same'
    titles = {
        'part': 'parts swapped',
        'removed': 'removed',
        'added': 'added',
        'changed': 'values changed',
    }
    lines = []
    for what, title in titles.items():
        found = [str(c) for c in changes if c.what == what]
        if found:
            lines += [f'{title} ({len(found)})', *(f'  {line}' for line in found)]
    return '\n'.join(lines)


def _walk(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[ConfigChange]:
    name = '.'.join(path)
    if before is None or after is None:
        if before is not after:
            yield ConfigChange(name, 'added' if before is None else 'removed', before, after)
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        if before.get('type') != after.get('type'):
            yield ConfigChange(name, 'part', before, after)
            return
        for key in dict.fromkeys([*before, *after]):
            yield from _walk(before.get(key), after.get(key), (*path, key))
    elif type(before) is type(after) and before == after and not isinstance(before, list):
        return
    elif dump_inline(before) != dump_inline(
        after
    ):  # as text, for [1] and [true] are equal in Python
        yield ConfigChange(name, 'changed', before, after)


def _part(value: Any) -> str:
    if not isinstance(value, Mapping) or 'type' not in value:
        return dump_inline(value)
    arguments = ', '.join(f'{k}={dump_inline(v)}' for k, v in value.items() if k != 'type')
    return f'{value["type"]}({arguments})'
