"""Descriptions of registered components: arguments, shapes and sources, from their docstrings."""

from __future__ import annotations

import inspect
import re
import textwrap
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from toolkit.registry import Kind, plugin_index
from toolkit.registry.annotations import UnresolvedAnnotation
from toolkit.registry.build import get_ranges, get_signature, is_union

# Sections of a docstring, as `Args:` at the start of a line.
SECTIONS = ('Args', 'Attributes', 'Shape', 'Returns', 'Raises', 'Source', 'Sources')


@dataclass(frozen=True)
class ArgumentDescription:
    """One argument of a component.

    Args:
        name: of the argument.
        type: its annotation, '' if there is none.
        default: as in Python; None if it must be given, '...' if a base class decides.
        meaning: from the docstring of the class, or of the base class that documents it.
        injected: the parent supplies it, so that a config must not.
    """

    name: str
    type: str
    default: str | None
    meaning: str
    injected: bool

    @property
    def signature(self) -> str:
        """`name: type = default`."""
        default = '' if self.default in (None, '...') else f' = {self.default}'
        return f'{self.name}{": " if self.type else ""}{self.type}{default}'


@dataclass(frozen=True)
class ComponentDescription:
    """A registered component.

    Args:
        kind: name of its kind.
        name: under which it is registered.
        summary: first line of its docstring.
        details: the text between that and the first section.
        arguments: of its constructor.
        shape: shapes of input and output; '' if not documented.
        source: paper, equation or code that it follows; '' if not documented.
        plugin: that registers it.
        module: of the class.
        file: of the module.
        line: of the class.
    """

    kind: str
    name: str
    summary: str
    details: str
    arguments: tuple[ArgumentDescription, ...]
    shape: str
    source: str
    plugin: str
    module: str
    file: str
    line: int

    def to_json(self) -> dict[str, Any]:
        """The description as plain values."""
        return {**asdict(self), 'arguments': [asdict(argument) for argument in self.arguments]}


def describe_component(kind: Kind, name: str) -> ComponentDescription:
    """Describes a component; imports its plugin.

    Raises:
        RegistryError: no such component, or a plugin that cannot be imported.
    """
    return describe_class(kind.get(name), kind, name)


def describe_class(component: type, kind: Kind, name: str) -> ComponentDescription:
    """Describes a class of a kind, which need not be registered."""
    sections = split_docstring(component.__doc__)
    meanings = document_arguments(component)
    ranges = get_ranges(component)
    arguments = tuple(
        ArgumentDescription(
            name=argument,
            type=format_annotation(ranges[argument]),
            default=_format_default(parameter.default),
            meaning=meanings.get(argument, ''),
            injected=argument in kind.injected,
        )
        for argument, parameter in get_signature(component).items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    )
    summary, _, details = sections[''].partition('\n')
    if kind.library and component.__module__.startswith(kind.library.split('.')[0]):
        details = ''  # formulas and links for another renderer
    file, line = _locate(component, kind, name)
    return ComponentDescription(
        kind=kind.name,
        name=name,
        summary=summary,
        details=details.strip(),
        arguments=arguments,
        shape=_inherit_section(component, 'Shape'),
        source=sections.get('Source') or sections.get('Sources') or '',
        plugin=find_plugin(component.__module__),
        module=component.__module__,
        file=file,
        line=line,
    )


def find_plugin(module: str) -> str:
    """The plugin of a module: `plugins.csasn` of `plugins.csasn.neck`."""
    parts = module.split('.')
    return '.'.join(parts[:2]) if parts[0] == 'plugins' else parts[0]


def split_docstring(docstring: str | None) -> dict[str, str]:
    """Splits a docstring into its sections by name; '' is the text before and between them."""
    texts: dict[str, list[str]] = {'': []}
    section = ''
    for line in inspect.cleandoc(docstring or '').split('\n'):
        match = re.match(rf'({"|".join(SECTIONS)}):(?: (.*))?$', line)
        if match:
            section = match[1]
            texts[section] = [match[2]] if match[2] else []
            continue
        if line and not line.startswith(' '):
            section = ''
        texts[section].append(line)
    return {
        name: textwrap.dedent(_join_first(lines) if name else '\n'.join(lines)).strip()
        for name, lines in texts.items()
    }


def document_arguments(component: type) -> dict[str, str]:
    """Meanings of arguments by name: of the class, else of the nearest base class."""
    meanings: dict[str, str] = {}
    for base in component.__mro__:
        if '__doc__' in vars(base) and base is not object:
            for name, meaning in _parse_arguments(split_docstring(base.__doc__)).items():
                meanings.setdefault(name, meaning)
    return meanings


def format_annotation(annotation: Any) -> str:
    """Formats an annotation as sources write it, the same on every version of Python."""
    if annotation is inspect.Parameter.empty:
        return ''
    if isinstance(annotation, UnresolvedAnnotation):
        return annotation.text
    if is_union(annotation):
        return ' | '.join(map(format_annotation, typing.get_args(annotation)))
    if annotation is type(None):
        return 'None'
    text = inspect.formatannotation(annotation)
    text = re.sub(r'\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])', '', text)  # names without their modules
    # A range is shown beside its type: `Annotated[int, >= 1]` is `int (>= 1)`.
    return re.sub(r'Annotated\[(\w+), ([^\]]*)\]', r'\1 (\2)', text)


def _locate(component: type, kind: Kind, name: str) -> tuple[str, int]:
    """File and line of a class; '' and 0 if it has no source in Python."""
    entries = plugin_index.get_index().find(kind.name, name)
    if entries and kind.module_dict.get(name) is component:  # and not another of that name
        return entries[0].file, entries[0].line
    try:
        return inspect.getsourcefile(component) or '', inspect.getsourcelines(component)[1]
    except (OSError, TypeError):
        return '', 0


def _format_default(default: Any) -> str | None:
    if default is inspect.Parameter.empty:
        return None
    if default is ...:
        return '...'
    return re.sub(r' at 0x[0-9a-f]+', '', repr(default))


def _parse_arguments(sections: Mapping[str, str]) -> dict[str, str]:
    """`a, b: meaning` with indented further lines, by name."""
    meanings: dict[str, list[str]] = {}
    names: list[str] = []
    for line in sections.get('Args', '').split('\n'):
        match = re.match(r'(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \([^)]*\))?: ?(.*)$', line)
        if match:
            names = [name.lstrip('*') for name in match[1].split(', ')]
            for name in names:
                meanings[name] = [match[2]]
        elif line.strip():
            for name in names:
                meanings[name].append(line.strip())
    return {name: ' '.join(lines) for name, lines in meanings.items()}


def _inherit_section(component: type, section: str) -> str:
    """A section of the docstring of the class, else of the nearest base class that has it."""
    for base in component.__mro__:
        text = split_docstring(base.__doc__).get(section) if '__doc__' in vars(base) else ''
        if text:
            return text
    return ''


def _join_first(lines: list[str]) -> str:
    """Lines of a section as one text; the first follows the name of the section, unindented."""
    if not lines or lines[0].startswith(' ') or not lines[0]:
        return '\n'.join(lines)
    rest = textwrap.dedent('\n'.join(lines[1:]))
    return f'{lines[0]}\n{rest}'
