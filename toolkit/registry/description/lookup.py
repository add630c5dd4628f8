"""Descriptions of anything that a shell or a notebook has at hand: `toolkit.describe(x)`."""

from __future__ import annotations

from toolkit.errors import RegistryError, ToolkitError, did_you_mean
from toolkit.registry import plugin_index
from toolkit.registry.build import ComponentFactory
from toolkit.registry.built import recall
from toolkit.registry.description import texts
from toolkit.registry.description.describe import (
    describe_class,
    describe_component,
    split_docstring,
)
from toolkit.registry.kind import Kind, find_kind, get_kinds
from toolkit.registry.sources.entries import Entry, KindDeclaration


class Description:
    """Text about a component or a kind, which a shell prints and a notebook shows as a table."""

    def __init__(self, text: str, markdown: str) -> None:
        self._text, self._markdown = text, markdown

    def __repr__(self) -> str:
        return self._text

    def _repr_markdown_(self) -> str:
        return self._markdown


def describe(thing: object) -> Description:
    """Describes a component with its arguments, shapes and source, or the components of a kind.

    `help` of a component shows the methods of `torch.nn.Module`, which all of them have.

    Args:
        thing: name of a component (`'CBAM'`, or `'attention CBAM'` if several kinds have it) or of
            a kind, a class, a component that was built, or a kind.
    Raises:
        ToolkitError: no such name, several components of that name, or an object of no kind.
    """
    if isinstance(thing, Kind):
        return _describe_kind(thing)
    if isinstance(thing, ComponentFactory):
        thing = thing.cls
    if not isinstance(thing, str):
        return _describe_object(thing)
    kinds = get_kinds()
    if thing in kinds:
        return describe(kinds[thing])
    wanted, _, name = thing.rpartition(' ')
    owners = [k for k in kinds.values() if name in k and wanted in ('', k.name)]
    if not owners:
        names = [*kinds, *(known for kind in kinds.values() for known in kind.names())]
        raise RegistryError(
            f'no component or kind is named {thing!r}{did_you_mean(name, names)}'
            '; toolkit.kinds() has the kinds'
        )
    if len(owners) > 1:
        choices = ' or '.join(repr(f'{kind.name} {name}') for kind in owners)
        raise RegistryError(f'several kinds have a {name}: say {choices}')
    found = describe_component(owners[0], name)
    return Description(texts.format_component(found), texts.format_component_markdown(found))


def _describe_kind(kind: Kind) -> Description:
    """Describes a kind with all its components, those registered in this process too."""
    declared = KindDeclaration(
        '', kind.name, kind.interface_path, kind.injected, kind.library, module=''
    )
    entries = plugin_index.get_index().of_kind(kind.name)
    known = {entry.name for entry in entries}
    for name, cls in kind.module_dict.items():
        if name not in known:
            summary = split_docstring(cls.__doc__)[''].partition('\n')[0]
            entries.append(Entry(kind.name, name, cls.__module__, '', 0, summary))
    entries.sort(key=lambda entry: entry.name)
    return Description(
        texts.list_components(declared, entries), texts.format_kind_markdown(declared, entries)
    )


def _describe_object(thing: object) -> Description:
    cls = thing if isinstance(thing, type) else type(thing)
    kind = next((k for base in cls.__mro__ if (k := find_kind(base)) is not None), None)
    if kind is None:
        raise ToolkitError(
            f'{cls.__name__} is no component: expected its name, a class or an object of a kind '
            f'({", ".join(get_kinds())})'
        )
    name = next((n for n in kind.names() if kind.module_dict.get(n) is cls), cls.__name__)
    found = describe_class(cls, kind, name)
    text, markdown = texts.format_component(found), texts.format_component_markdown(found)
    if (record := recall(thing)) is not None:
        given = {**getattr(record.factory, 'arguments', {}), **record.injected}
        built = ', '.join(f'{argument}={value!r}' for argument, value in given.items())
        text += f'\n\nbuilt with\n  {built or "its defaults"}'
        markdown += f'\n\nBuilt with `{built or "its defaults"}`.'
    return Description(text, markdown)
