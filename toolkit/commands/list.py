"""What `toolkit list` prints: kinds, parts and shipped configs, from sources alone (no torch)."""

from __future__ import annotations

import argparse
import inspect
import re
import textwrap
import typing
from typing import TYPE_CHECKING, Any

from toolkit.commands.arguments import add_plugins
from toolkit.config.find import list_configs, list_studies
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.registry import plugin_index
from toolkit.registry.command import Command

if TYPE_CHECKING:
    from toolkit.registry import Kind


class ListCommand(Command):
    """List kinds and their components, and the shipped configs."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_plugins(parser)
        parser.add_argument(
            'kind', nargs='?', metavar='KIND', help='only the components of this kind'
        )
        parser.add_argument(
            '--markdown', action='store_true', help='the reference of all components'
        )

    def run(self, arguments: argparse.Namespace) -> int:
        for plugin in arguments.plugin:
            plugin_index.add(plugin)
        print(reference() if arguments.markdown else listing(arguments.kind))
        return 0


def listing(kind: str | None = None) -> str:
    """All kinds with the names of their parts, or one kind with a line for each part.

    Raises:
        ToolkitError: no such kind.
    """
    known = {declared.name: declared for declared in plugin_index.index().kinds}
    if kind is None:
        width = max(map(len, known))
        lines = [_names(k, width) for k in known.values()]
        for title, names in (('configs', list_configs()), ('studies', list_studies())):
            text = textwrap.fill(
                '  '.join(names), 98, break_long_words=False, break_on_hyphens=False
            )
            lines += ['', title, textwrap.indent(text, '  ')]
    elif kind in known:
        lines = _parts(known[kind])
    else:
        hint = did_you_mean(kind, known) or '; there are: ' + ', '.join(known)
        raise ToolkitError(f'no kind is named {kind!r}{hint}')
    for module, error in plugin_index.failures().items():
        lines.append(f'\nthe plugin {module} cannot be used: {error}')
    return '\n'.join(lines)


def _names(kind: plugin_index.KindDeclaration, width: int) -> str:
    names = plugin_index.index().names(kind.name) + (
        [f'all of {kind.library}'] if kind.library else []
    )
    text = ', '.join(names) or '-'
    return textwrap.fill(
        f'{kind.name:<{width}}  {text}',
        98,
        subsequent_indent=' ' * (width + 2),
        break_long_words=False,
    )


def _parts(kind: plugin_index.KindDeclaration) -> list[str]:
    injected = ', '.join(kind.injected) or 'nothing'
    lines = [f'{kind.name}: implements {kind.interface}; its parent supplies {injected}']
    entries = plugin_index.index().of_kind(kind.name)
    width = max((len(e.name) for e in entries), default=0)
    lines += [f'  {e.name:<{width}}  {e.summary}  [{e.module}]' for e in entries]
    if kind.library:
        lines.append(f'  and all of {kind.library}')
    return lines


def reference() -> str:
    """The registry reference in Markdown: every part of every plugin with its arguments.

    Imports the plugins, since arguments come from signatures.
    """
    lines = [
        '# Parts',
        '',
        'Every registered part with its arguments; those that a parent supplies are in italics. ',
        'Made by `toolkit list --markdown`.',
    ]
    from toolkit.registry import kinds

    for kind in sorted(kinds().values(), key=lambda k: k.name):
        names = kind.names()
        if not names:
            continue
        injected = ', '.join(f'`{name}`' for name in kind.injected) or 'nothing'
        lines += [
            '',
            f'## {kind.name}',
            '',
            f'Interface `{kind.interface_path}`; injected: {injected}.',
        ]
        if kind.library:
            lines.append(f'Every class of `{kind.library}` may be named too.')
        for name in names:
            lines += _part_reference(kind, name)
    return '\n'.join(lines)


def _part_reference(kind: Kind, name: str) -> list[str]:
    from toolkit.registry.build import signature

    cls = kind.get(name)
    summary = (cls.__doc__ or '').strip().split('\n')[0]
    lines = ['', f'### {name}', '', f'{summary} (`{cls.__module__}`)', '']
    for argument, parameter in signature(cls).items():
        default = parameter.default
        given = '' if default in (parameter.empty, ...) else f' = {default!r}'
        text = f'{argument}: {_words(parameter.annotation)}{given}'
        lines.append(f'- *`{text}`*' if argument in kind.injected else f'- `{text}`')
    return lines


def _words(annotation: Any) -> str:
    """An annotation as sources write it, the same on every Python."""
    from toolkit.registry.build import is_union

    if is_union(annotation):
        return ' | '.join(_words(choice) for choice in typing.get_args(annotation))
    if annotation is type(None):
        return 'None'
    text = inspect.formatannotation(annotation)
    return re.sub(r'\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])', '', text)  # names without their modules
