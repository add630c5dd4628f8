"""Contracts of what a task adds to commands and reports."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from typing import Any

from toolkit.interfaces import System, Visualizer
from toolkit.testing.contract import Contract

# Options of `toolkit predict` and `toolkit split`, which a task cannot have as its own.
PREDICT_OPTIONS = ('--run', '--checkpoint', '--plugin', '--trust', '--input', '--output')
SPLIT_OPTIONS = ('--seed', '--output', '--overwrite', '--outside')
AUDIT_OPTIONS = ('--json', '--overwrite')
BUDGET = 1 << 20


class _ServesSystem(Contract):
    """Contract of components that name the class of systems that they serve."""

    is_pickled = False

    def find_value_faults(self, component: Any) -> Iterator[str]:
        system = getattr(component, 'system', None)
        if not isinstance(system, type) or not issubclass(system, System):
            yield (
                f'states system {system!r}; set `system` to the class of the systems that it '
                'serves, without parentheses'
            )


class PredictorContract(_ServesSystem):
    """Options of a task for `toolkit predict`."""

    def find_value_faults(self, component: Any) -> Iterator[str]:
        yield from super().find_value_faults(component)
        yield from _find_option_faults(component, (*PREDICT_OPTIONS, '--overwrite'))


class VisualizerContract(_ServesSystem):
    """Images of items."""

    def find_value_faults(self, component: Any) -> Iterator[str]:
        yield from super().find_value_faults(component)
        if component.chooses and type(component).choose_items is Visualizer.choose_items:
            yield 'sets `chooses`, and has no `choose_items`; write it, or leave `chooses` out'


class SplitterContract(Contract):
    """Options and columns of a manifest for `toolkit split`."""

    is_pickled = False

    def find_value_faults(self, component: Any) -> Iterator[str]:
        for name in ('items', 'suffix'):
            value = getattr(component, name, None)
            if not isinstance(value, str) or not value:
                yield f'states {name} {value!r}; set `{name}` to a text'
        columns = getattr(component, 'columns', None)
        if isinstance(columns, str) or not columns or not all(isinstance(c, str) for c in columns):
            yield f"states columns {columns!r}; set `columns` to a tuple of names: ('image',)"
        yield from _find_option_faults(component, SPLIT_OPTIONS)


class AuditorContract(Contract):
    """Options and data for `toolkit audit`."""

    is_pickled = False

    def find_value_faults(self, component: Any) -> Iterator[str]:
        for name in ('items', 'formats'):
            value = getattr(component, name, None)
            if not isinstance(value, str) or not value:
                yield f'states {name} {value!r}; set `{name}` to a text'
        if not inspect.ismethod(component.accepts):
            yield 'accepts data in a plain method; write @classmethod above accepts'
            return
        for words in ([], ['no_such_file.csv', 'no_such_folder']):
            if not isinstance(answer := component.accepts(words), bool):
                yield f'accepts {words} by {answer!r}; `accepts` gives True or False'
        yield from _find_option_faults(component, AUDIT_OPTIONS)


class PanelContract(Contract):
    """A section of a report."""

    is_pickled = False

    def find_value_faults(self, component: Any) -> Iterator[str]:
        title = getattr(component, 'title', None)
        if not isinstance(title, str) or not title:
            yield f'states title {title!r}; set `title` to the heading of the section'
        try:
            rendered = component.render([], BUDGET)
        except (IndexError, StopIteration, ValueError):
            return  # a report always has runs, and a panel may take the first of them
        if rendered is not None and not isinstance(getattr(rendered, 'html', None), str):
            yield (
                f'renders a {type(rendered).__name__} for no runs; `render` returns a Rendered, or '
                'None if the runs have nothing for it'
            )


class CommandContract(Contract):
    """A command with its options."""

    is_pickled = False

    def find_value_faults(self, component: Any) -> Iterator[str]:
        parser = argparse.ArgumentParser()
        try:
            component.add_arguments(parser)
            parser.format_help()
        except (argparse.ArgumentError, ValueError, TypeError) as error:
            yield f'declares arguments that cannot be used: {error}'


def _find_option_faults(component: Any, known: tuple[str, ...]) -> Iterator[str]:
    if not inspect.ismethod(component.add_arguments):
        yield 'declares arguments in a plain method; write @classmethod above add_arguments'
        return
    parser = argparse.ArgumentParser()
    for option in known:
        parser.add_argument(option)
    try:
        component.add_arguments(parser.add_argument_group())
        parser.format_help()
    except (argparse.ArgumentError, ValueError, TypeError) as error:
        yield f'declares arguments that cannot be used beside those of the command: {error}'
    if positional := [a.dest for a in parser._actions if not a.option_strings]:
        yield f'declares the positional argument {positional[0]!r}; a task has options alone: --x'
