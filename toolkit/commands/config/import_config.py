"""`toolkit import`: rewrites a Python config of mmengine as YAML."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.registry.command import Command


class ImportCommand(Command):
    """Print a Python config of mmengine as YAML, without running it.

    Comments say where each section was written, what was not taken and why, and which components
    have no counterpart here. A config that must be run to be known is refused, with its line.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('file', type=Path, metavar='FILE.py', help='config of mmengine')

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.config.mmengine_import.translate import import_config

        print(import_config(arguments.file), end='')
        return 0
