"""Writes a resolved tree as YAML that loads to the same tree, with origins as comments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from toolkit.config.yaml_file import KeyPath, Origins
from toolkit.config.yaml_scalars import Dumper


def dump(tree: Mapping[str, Any], origins: Origins | None = None) -> str:
    """Writes a tree as YAML.

    Args:
        tree: mappings, lists and plain values.
        origins: if given, each line ends with a comment that says where its value was written.
    """
    lines = list(_format_lines(tree, (), 0))
    if origins is None:
        return ''.join(f'{text}\n' for text, _ in lines)
    width = min(60, max((len(text) for text, _ in lines), default=0))
    return ''.join(
        f'{text:<{width}}  # {origins[path]}\n' if path in origins else f'{text}\n'
        for text, path in lines
    )


def dump_inline(value: Any) -> str:
    """Writes a value as YAML on one line."""
    text = yaml.dump(value, Dumper=Dumper, default_flow_style=True, sort_keys=False, width=10**9)
    return text.removesuffix('\n').removesuffix('\n...')


def _format_lines(
    node: Mapping[str, Any], path: KeyPath, indent: int
) -> Iterator[tuple[str, KeyPath]]:
    for key, value in node.items():
        here, lead = (*path, key), ' ' * indent + dump_inline(key) + ':'
        if isinstance(value, Mapping) and value:
            yield lead, here
            yield from _format_lines(value, here, indent + 2)
        else:
            yield f'{lead} {dump_inline(_escape(value))}', here


def _escape(value: Any) -> Any:
    """Escapes each literal `${` of a value as `$${`; keys stay."""
    if isinstance(value, Mapping):
        return {k: _escape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_escape(v) for v in value]
    return value.replace('${', '$${') if isinstance(value, str) else value
