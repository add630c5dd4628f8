"""Texts of components and kinds: for terminals, and as Markdown for notebooks."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.registry import plugin_index

if TYPE_CHECKING:
    from toolkit.registry.description.describe import ArgumentDescription, ComponentDescription
    from toolkit.registry.sources.entries import Entry, KindDeclaration

WIDTH = 98


def list_components(kind: KindDeclaration, entries: Sequence[Entry]) -> str:
    """The components of a kind with a line for each."""
    injected = ', '.join(kind.injected) or 'nothing'
    lines = [f'{kind.name}: implements {kind.interface}; its parent supplies {injected}']
    width = max((len(entry.name) for entry in entries), default=0)
    lines += [f'  {e.name:<{width}}  {e.summary}  [{e.module}]' for e in entries]
    if kind.library:
        lines.append(f'  and all of {kind.library}')
    if entries:
        lines.append(f'\n`toolkit list {kind.name} NAME` tells the arguments of one')
    return '\n'.join([*lines, *list_failures()])


def format_component(component: ComponentDescription) -> str:
    """One component with its arguments, shapes and source, as text."""
    place = f'{_shorten_path(component.file)}:{component.line}' if component.file else 'no source'
    lines = [f'{component.name}  ({component.kind} of {component.plugin}, {place})', '']
    lines.append(component.summary)
    if component.details:
        lines += ['', component.details]
    if component.arguments:
        lines += ['', 'arguments']
    for argument in component.arguments:
        required = argument.default is None and not argument.injected
        notes = ['injected by the parent'] * argument.injected + ['required'] * required
        note = f'  [{", ".join(notes)}]' if notes else ''
        lines.append(f'  {argument.signature}{note}')
        if argument.meaning:
            indent = ' ' * 6
            lines.append(
                textwrap.fill(
                    argument.meaning,
                    WIDTH,
                    initial_indent=indent,
                    subsequent_indent=indent,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
    for title, text in (('shape', component.shape), ('source', component.source)):
        if text:
            lines += ['', title, textwrap.indent(text, '  ')]
    return '\n'.join(lines)


def format_component_markdown(component: ComponentDescription) -> str:
    """Formats one component with its arguments, shapes and source, as Markdown."""
    lines = [f'**{component.name}** ({component.kind} of `{component.plugin}`)', '']
    lines.append(component.summary)
    if component.details:
        lines += ['', component.details]
    lines += ['', *map(format_argument_markdown, component.arguments)]
    for title, text in (('Shape', component.shape), ('Source', component.source)):
        if text:
            lines += ['', f'{title}: {text}']
    return '\n'.join(lines)


def format_argument_markdown(argument: ArgumentDescription) -> str:
    """Formats an argument as an item of a list; one that a parent injects is in italics."""
    code = f'`{argument.signature}`'
    code = f'*{code}*' if argument.injected else code
    return f'- {code}' + (f': {argument.meaning}' if argument.meaning else '')


def format_kind_markdown(kind: KindDeclaration, entries: Sequence[Entry]) -> str:
    """Formats a kind with its components and their summaries, as Markdown."""
    injected = ', '.join(f'`{argument}`' for argument in kind.injected) or 'nothing'
    lines = [f'**{kind.name}**: implements `{kind.interface}`; its parent supplies {injected}', '']
    lines += [f'- `{e.name}`: {e.summary} ({e.module})' for e in entries]
    lines += [f'- and all of `{kind.library}`'] if kind.library else []
    return '\n'.join([*lines, *list_failures()])


def list_failures() -> list[str]:
    """Lists the plugins that cannot be used, with their errors."""
    failures = plugin_index.get_failures()
    return [f'\nthe plugin {module} cannot be used: {error}' for module, error in failures.items()]


def _shorten_path(file: str) -> str:
    """A path relative to the current folder, if it is below it."""
    try:
        return str(Path(file).relative_to(os.getcwd()))
    except ValueError:
        return file
