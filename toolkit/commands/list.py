"""`toolkit list`: lists kinds, components, configs and commands."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import TYPE_CHECKING, Any

from toolkit.commands.arguments import add_plugins
from toolkit.config.find import list_configs, list_studies
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.registry import plugin_index
from toolkit.registry.command import Command, CommandParser, add_plugin_commands
from toolkit.registry.description.texts import (
    WIDTH,
    format_component,
    list_components,
    list_failures,
)
from toolkit.registry.sources.entries import KindDeclaration

if TYPE_CHECKING:
    from toolkit.registry.description.describe import ComponentDescription


class ListCommand(Command):
    """List kinds and their components, one component with its arguments, and shipped configs.

    `toolkit list` names all kinds and components, `toolkit list attention` describes those of a
    kind in a line each, `toolkit list attention CBAM` one of them with its arguments.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add_plugins(parser)
        add('kind', nargs='?', metavar='KIND', help='only the components of this kind')
        add('name', nargs='?', metavar='NAME', help='only this component, with its arguments')
        add('--json', action='store_true', help='components with their arguments as JSON')
        add('--markdown', action='store_true', help='the reference of all components, as in docs/')
        add('--commands', action='store_true', help='commands in place of components')

    def run(self, arguments: argparse.Namespace) -> int:
        for plugin in arguments.plugin:
            plugin_index.add(plugin)
        kind, name = arguments.kind, arguments.name
        if (arguments.markdown or arguments.commands) and (kind or arguments.json):
            raise ToolkitError(
                '--markdown and --commands take neither a KIND nor --json; leave one of them out'
            )
        if kind is not None:
            _check_kind(kind)
        if arguments.commands:
            print(_list_commands(arguments.root_parser, arguments.markdown))
        elif arguments.markdown:
            from toolkit.commands.reference import format_components

            print(format_components())
        elif arguments.json:
            print(json.dumps(_collect_json(kind, name), indent=1, ensure_ascii=False))
        elif name is not None:
            print(format_component(_describe(kind, name)))
        else:
            print(list_kinds() if kind is None else _list_kind(kind))
        return 0


def list_kinds() -> str:
    """All kinds with the names of their components, then the shipped configs and studies.

    Read from sources alone, without an import of torch.
    """
    kinds = plugin_index.get_index().kinds
    width = max(len(kind.name) for kind in kinds)
    lines = [_format_names(kind, width) for kind in kinds]
    for title, names in (('configs', list_configs()), ('studies', list_studies())):
        text = textwrap.fill(
            '  '.join(names), WIDTH, break_long_words=False, break_on_hyphens=False
        )
        lines += ['', title, textwrap.indent(text, '  ')]
    return '\n'.join([*lines, *list_failures()])


def _list_kind(name: str) -> str:
    index = plugin_index.get_index()
    kind = next(kind for kind in index.kinds if kind.name == name)
    return list_components(kind, index.of_kind(name))


def _check_kind(name: str) -> None:
    index = plugin_index.get_index()
    known = [kind.name for kind in index.kinds]
    if name in known:
        return
    owners = [entry.kind for entry in index.entries if entry.name == name]
    if owners:
        hint = f'; {name!r} is of the kind {owners[0]}: toolkit list {owners[0]} {name}'
    else:
        hint = did_you_mean(name, known) or f'; there are: {", ".join(known)}'
    raise ToolkitError(f'no kind is named {name!r}{hint}')


def _describe(kind: str, name: str) -> ComponentDescription:
    from toolkit.registry import get_kinds
    from toolkit.registry.description.describe import describe_component

    return describe_component(get_kinds()[kind], name)


def _collect_json(kind: str | None, name: str | None) -> Any:
    """One component, or a list of those of a kind, or of all."""
    if kind is not None and name is not None:
        return _describe(kind, name).to_json()
    index = plugin_index.get_index()
    wanted = [k.name for k in index.kinds] if kind is None else [kind]
    return [
        _describe(wanted_kind, entry.name).to_json()
        for wanted_kind in wanted
        for entry in index.of_kind(wanted_kind)
    ]


def _list_commands(root: CommandParser, markdown: bool) -> str:
    add_plugin_commands(root.subparsers)
    if markdown:
        from toolkit.commands.reference import format_commands

        return format_commands(root)
    summaries = {action.dest: action.help for action in root.subparsers._choices_actions}
    width = max(map(len, summaries))
    return '\n'.join(f'{name:<{width}}  {summary}' for name, summary in summaries.items())


def _format_names(kind: KindDeclaration, width: int) -> str:
    names = plugin_index.get_index().names(kind.name)
    names += [f'all of {kind.library}'] if kind.library else []
    return textwrap.fill(
        f'{kind.name:<{width}}  {", ".join(names) or "-"}',
        WIDTH,
        subsequent_indent=' ' * (width + 2),
        break_long_words=False,
    )
