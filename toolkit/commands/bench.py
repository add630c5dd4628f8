"""`toolkit bench`: measures speed and memory."""

from __future__ import annotations

import argparse

from toolkit.errors import ToolkitError
from toolkit.registry.command import Command, add_plugin_commands


class BenchCommand(Command):
    """Measure speed and memory of alternatives in turns."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_plugin_commands(parser.add_subparsers(title='benches', metavar='NAME'), 'bench')

    def run(self, arguments: argparse.Namespace) -> int:
        raise ToolkitError('name a bench; `toolkit bench --help` lists them')
