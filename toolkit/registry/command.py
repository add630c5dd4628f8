"""Verbs that plugins add to the command line: `toolkit NAME ...` for what only their task does."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from typing import Any


class Command(ABC):
    """A command, `toolkit NAME`, registered under its name: `@COMMANDS.register(name='evaluate')`.

    The first line of the class's docstring is its help in `toolkit --help`, read without importing
    the plugin.
    """

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    @abstractmethod
    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; returns the exit status. Mistakes of the user are `toolkit.errors`."""


def add_plugin_commands(commands: Any, wanted: str, kind: str = 'command') -> None:
    """Add the commands of all plugins to argparse's subparsers; only `wanted`'s plugin is imported.

    Args:
        commands: the subparsers.
        wanted: the name that the command line has, '' for none.
        kind: 'command', or 'bench' for what `toolkit bench` runs.
    """
    from toolkit.registry import plugin_index

    for entry in plugin_index.index().entries:
        if entry.kind == kind:
            sub = commands.add_parser(
                entry.name, help=entry.summary[:1].lower() + entry.summary[1:].rstrip('.')
            )
            if entry.name == wanted:
                command = _registered(wanted, kind)
                command.add_arguments(sub)
                sub.set_defaults(run=lambda arguments, command=command: command().run(arguments))


def _registered(name: str, kind: str) -> type[Command]:
    from toolkit.registry import kinds

    return kinds()[kind].get(name)
