"""`toolkit check`: checks a config before anything runs."""

from __future__ import annotations

import argparse

from toolkit.commands.arguments import add_config, add_plugins
from toolkit.registry.command import Command


class CheckCommand(Command):
    """Check a whole config without running it."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_config(parser)
        add_plugins(parser)
        parser.add_argument(
            '--shapes', action='store_true', help='table of components, parameters and MACs'
        )
        parser.add_argument(
            '--size', type=int, metavar='N', help='input height and width in pixels for --shapes'
        )

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.config import load
        from toolkit.config.check import fill_checked

        config = load(arguments.config, arguments.overrides)
        config.use_plugins(arguments.plugin)
        run = fill_checked(config)
        if arguments.shapes:
            from toolkit.bench.cost import format_costs, measure_costs

            with config.locate_errors():
                print(format_costs(measure_costs(run.model, arguments.size)))
        else:
            print(f'{arguments.config}: no problem found')
        return 0
