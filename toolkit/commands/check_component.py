"""`toolkit check-component`: holds the components of a file to the contracts of their kinds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from toolkit.commands.arguments import add_plugins
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.registry import plugin_index
from toolkit.registry.command import Command


class CheckComponentCommand(Command):
    """Hold the components of a plugin file to the contracts of their kinds.

    Each is built as its parent would, run at two sizes and on a batch of one, saved and loaded.
    `NAME.argument=value` gives an argument that has no default.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('file', type=Path, metavar='FILE', help='of the plugin')
        add_plugins(parser)
        parser.add_argument('--export', action='store_true', help='hold it to torch.export too')
        parser.add_argument('--compile', action='store_true', help='hold it to torch.compile too')
        parser.add_argument(
            'overrides', nargs='*', metavar='NAME.argument=value', help='argument of a component'
        )

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.registry import get_kinds
        from toolkit.registry.contracts import find_contract
        from toolkit.testing.component import find_component_faults

        for plugin in (*arguments.plugin, str(arguments.file.absolute())):
            plugin_index.add(plugin)
        file = arguments.file.resolve()
        entries = [e for e in plugin_index.get_index().entries if Path(e.file).resolve() == file]
        if not entries:
            reason = plugin_index.get_failures().get(file.stem, '')
            raise ToolkitError(
                f'{arguments.file} registers no component{": " + reason if reason else ""}; write '
                '@KIND.register above a class'
            )
        captures = [name for name in ('export', 'compile') if getattr(arguments, name)]
        given = _parse_arguments(arguments.overrides, [entry.name for entry in entries])
        faulty = False
        for entry in entries:
            component = get_kinds()[entry.kind].get(entry.name)
            if find_contract(component) is None:
                print(f'{entry.name} ({entry.kind}): not checked, its kind has no contract')
                continue
            if missing := _list_missing(entry.kind, component, given.get(entry.name, {})):
                print(
                    f'{entry.name} (system): not checked alone, since it needs '
                    f'{", ".join(missing)}; `toolkit check CONFIG --shapes` checks it with them'
                )
                continue
            faults = find_component_faults(component, given.get(entry.name, {}), captures)
            for fault in faults:
                print(fault, file=sys.stderr)
            faulty = faulty or bool(faults)
            if not faults:
                print(f'{entry.name} ({entry.kind}): no fault found')
        return 2 if faulty else 0


def _list_missing(kind: str, component: type, given: dict[str, Any]) -> list[str]:
    """Lists the arguments without a value of a system, which are components of their own."""
    from toolkit.registry.build import get_signature

    if kind != 'system':
        return []
    parameters = get_signature(component).items()
    return [n for n, p in parameters if p.default is p.empty and n not in given]


def _parse_arguments(words: list[str], names: list[str]) -> dict[str, dict[str, Any]]:
    from toolkit.config.yaml_file import parse_yaml

    given: dict[str, dict[str, Any]] = {}
    for word in words:
        key, _, text = word.partition('=')
        name, _, argument = key.partition('.')
        if name not in names or not argument:
            hint = did_you_mean(name, names) or f'; there are: {", ".join(names)}'
            raise ToolkitError(f'{word}: expected NAME.argument=value with a component{hint}')
        given.setdefault(name, {})[argument] = parse_yaml(text, 'command line')[0]
    return given
