"""Verbs that plugins add to the command line: `toolkit NAME ...` for what only their task does."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from typing import Any


class Verb(ABC):
    """A verb of the command line, registered under its name: `@VERBS.register(name='evaluate')`.

    The first line of the class's docstring is its help in `toolkit --help`, read without importing
    the plugin.
    """

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""

    @abstractmethod
    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; returns the exit status. Mistakes of the user are `toolkit.errors`."""


def add_plugin_verbs(verbs: Any, wanted: str, kind: str = 'verb') -> None:
    """Add the verbs of all plugins to argparse's subparsers; only `wanted`'s plugin is imported.

    Args:
        verbs: the subparsers.
        wanted: the name that the command line has, '' for none.
        kind: 'verb', or 'bench' for what `toolkit bench` runs.
    """
    from toolkit.registry import plugin_index

    for entry in plugin_index.index().entries:
        if entry.kind == kind:
            sub = verbs.add_parser(
                entry.name, help=entry.summary[:1].lower() + entry.summary[1:].rstrip('.')
            )
            if entry.name == wanted:
                verb = _registered(wanted, kind)
                verb.add_arguments(sub)
                sub.set_defaults(run=lambda arguments, verb=verb: verb().run(arguments))


def _registered(name: str, kind: str) -> type[Verb]:
    from toolkit.registry import kinds

    return kinds()[kind].get(name)
