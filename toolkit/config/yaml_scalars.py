"""Loader and dumper of YAML 1.2's scalars, with PyYAML's safe ones underneath."""

from __future__ import annotations

import re
from typing import Any

import yaml

DEEPEST = 100  # levels of values within each other; PyYAML reads them recursively
NESTED_TOO_DEEP = f'values are nested more than {DEEPEST} deep'


class Loader(yaml.SafeLoader):
    """SafeLoader that reads YAML 1.2's scalars, and limits the depth of values in each other."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.MarkedYAMLError(
                problem=NESTED_TOO_DEEP,
                problem_mark=self.peek_event().start_mark,
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class Dumper(yaml.SafeDumper):
    """SafeDumper that quotes as `Loader` needs it."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # Escaped where it would take several lines.
        style = None if data.isprintable() else '"'
        return self.represent_scalar('tag:yaml.org,2002:str', data, style=style)


Dumper.add_representer(str, Dumper.represent_str)

_RESOLVERS = (
    ('bool', r'true|True|TRUE|false|False|FALSE', 'tTfF'),
    ('int', r'[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+', '-+0123456789'),
    (
        'float',
        r'[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)'
        r'|\.(?:nan|NaN|NAN)',
        '-+0123456789.',
    ),
    ('null', r'~|null|Null|NULL|', ['~', 'n', 'N', '']),
    ('merge', r'<<', '<'),
)
for _class in (Loader, Dumper):
    _class.yaml_implicit_resolvers = {}
    for _name, _pattern, _first in _RESOLVERS:
        _class.add_implicit_resolver(
            f'tag:yaml.org,2002:{_name}', re.compile(f'^(?:{_pattern})$'), list(_first)
        )


def _int(loader: Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    base = {'0o': 8, '0x': 16}.get(text[:2], 10)
    return int(text, base)


Loader.add_constructor('tag:yaml.org,2002:int', _int)
# PyYAML reads `1e5` as a float only with a dot; the resolver has decided, so `float` will do.
Loader.add_constructor(
    'tag:yaml.org,2002:float',
    lambda loader, node: float(re.sub(r'\.(inf|nan)', r'\1', str(node.value).lower())),
)
