"""Compares two resolved configs: components swapped, added or removed, and values changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from toolkit.config.dump import dump_inline

# Sections that annotate a run and do not change its results.
_NOTES = ('extra',)


@dataclass(frozen=True)
class ConfigChange:
    """One difference at a dotted path.

    Attributes:
        path: dotted path.
        kind: 'component' for another class at the path; otherwise the change of a value.
        before: value in the first config, None if it has none.
        after: value in the second config, None if it has none.
    """

    path: str
    kind: Literal['component', 'added', 'removed', 'changed']
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.kind == 'component':
            return (
                f'{self.path}: {_format_component(self.before)} -> {_format_component(self.after)}'
            )
        if self.kind == 'added':
            return f'{self.path}: + {_format_component(self.after)}'
        if self.kind == 'removed':
            return f'{self.path}: - {_format_component(self.before)}'
        return f'{self.path}: {dump_inline(self.before)} -> {dump_inline(self.after)}'


def compare_configs(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[ConfigChange]:
    """Returns the differences in order; null equals absent, notes are ignored."""
    return [c for c in _find_changes(before, after, ()) if c.path.split('.')[0] not in _NOTES]


def format_changes(changes: list[ConfigChange]) -> str:
    """Formats the changes as text, components first."""
    if not changes:
        return 'no difference: both configs run the same'
    titles = {
        'component': 'components swapped',
        'removed': 'removed',
        'added': 'added',
        'changed': 'values changed',
    }
    lines = []
    for kind, title in titles.items():
        found = [str(c) for c in changes if c.kind == kind]
        if found:
            lines += [f'{title} ({len(found)})', *(f'  {line}' for line in found)]
    return '\n'.join(lines)


def _find_changes(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[ConfigChange]:
    name = '.'.join(path)
    if before is None or after is None:
        if before is not after:
            yield ConfigChange(name, 'added' if before is None else 'removed', before, after)
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        if before.get('type') != after.get('type'):
            yield ConfigChange(name, 'component', before, after)
            return
        for key in dict.fromkeys([*before, *after]):
            yield from _find_changes(before.get(key), after.get(key), (*path, key))
    elif type(before) is type(after) and before == after and not isinstance(before, list):
        return
    elif dump_inline(before) != dump_inline(
        after
    ):  # as text, for [1] and [true] are equal in Python
        yield ConfigChange(name, 'changed', before, after)


def _format_component(value: Any) -> str:
    if not isinstance(value, Mapping) or 'type' not in value:
        return dump_inline(value)
    arguments = ', '.join(f'{k}={dump_inline(v)}' for k, v in value.items() if k != 'type')
    return f'{value["type"]}({arguments})'
