"""`toolkit show`: prints a resolved config."""

from __future__ import annotations

import argparse

from toolkit.commands.arguments import add_config
from toolkit.registry.command import Command


class ShowCommand(Command):
    """Print a config with its bases and overrides resolved."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_config(parser)
        parser.add_argument(
            '--origins', action='store_true', help='add the file and line of each value'
        )

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.config import load
        from toolkit.config.dump import dump

        config = load(arguments.config, arguments.overrides)
        print(dump(config.tree, config.origins if arguments.origins else None), end='')
        return 0
