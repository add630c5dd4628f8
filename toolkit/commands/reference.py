"""Generated references in Markdown: all components, and all commands with their options."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from toolkit.io.tables.formatting import escape_cell, format_markdown_table
from toolkit.registry.command import CommandParser
from toolkit.registry.description.texts import format_argument_markdown


def format_components() -> str:
    """The reference of all components of all plugins, with their arguments.

    Imports the plugins, since arguments come from signatures and docstrings.
    """
    from toolkit.registry import get_kinds
    from toolkit.registry.description.describe import describe_component

    lines = [
        '# Components',
        '',
        'Every registered component with its arguments; those that a parent supplies are in '
        'italics.',
        'Made by `toolkit list --markdown`.',
    ]
    for kind in sorted(get_kinds().values(), key=lambda kind: kind.name):
        names = kind.names()
        if not names:
            continue
        injected = ', '.join(f'`{name}`' for name in kind.injected) or 'nothing'
        lines += ['', f'## {kind.name}', '']
        lines.append(f'Interface `{kind.interface_path}`; injected: {injected}.')
        if kind.library:
            lines.append(f'Every class of `{kind.library}` may be named too.')
        for name in names:
            component = describe_component(kind, name)
            lines += ['', f'### {name}', '', f'{component.summary} (`{component.module}`)', '']
            lines += map(format_argument_markdown, component.arguments)
    return '\n'.join(lines)


def format_commands(parser: CommandParser) -> str:
    """The reference of all commands with their arguments.

    Args:
        parser: of `toolkit`, with the commands of plugins. It declares the arguments of all.
    """
    lines = [
        '# Commands',
        '',
        'Every command with its arguments. Made by `toolkit list --commands --markdown`.',
        '',
        'A CONFIG is the path of a config, or the name of a shipped one. `key.path=value` changes '
        'a key,',
        '`+key.path=value` adds one, `key.path=null` removes a component.',
    ]
    for command in parser.subcommands.values():
        lines += _format_command(command, '##')
    return '\n'.join(lines)


def _format_command(parser: CommandParser, heading: str) -> Iterator[str]:
    parser.declare()
    yield from ('', f'{heading} {parser.prog}', '', parser.description or '')
    positionals, options, *groups = parser._action_groups  # argparse's own come first
    yield from _format_arguments([*positionals._group_actions, *options._group_actions])
    for group in [*groups, *parser.dependent_groups()]:
        if any(isinstance(action, argparse._SubParsersAction) for action in group._group_actions):
            continue
        title = group.title or ''
        yield from ('', f'**{title[:1].upper()}{title[1:]}**', '', group.description or '')
        yield from _format_arguments(group._group_actions)
    for command in parser.subcommands.values():
        yield from _format_command(command, heading + '#')


def _format_arguments(actions: list[argparse.Action]) -> Iterator[str]:
    shown = [action for action in actions if not isinstance(action, argparse._HelpAction)]
    rows = [['argument', '']]
    for action in shown:
        help_ = (action.help or '') % {**vars(action), 'prog': ''}
        help_ += ' (required)' if action.required and action.option_strings else ''
        rows.append([escape_cell(f'`{_format_invocation(action)}`'), escape_cell(help_)])
    if shown:
        yield ''
        yield from format_markdown_table(rows, left=2)


def _format_invocation(action: argparse.Action) -> str:
    """`--seeds N [N ...]`, the same on every version of Python."""
    value = action.metavar or action.dest.upper()
    if action.choices is not None and action.metavar is None:
        value = '{' + ','.join(map(str, action.choices)) + '}'
    value = str(value)
    value = {'+': f'{value} ...', '*': f'[{value} ...]', '?': f'[{value}]', 0: ''}.get(
        action.nargs if action.nargs is not None else 1, value
    )
    return ' '.join(filter(None, [', '.join(action.option_strings), value]))
