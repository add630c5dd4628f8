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
            '--shapes',
            action='store_true',
            help='run each component once, losses included, and hold it to the contract of its '
            'kind; table of components, parameters and MACs',
        )
        parser.add_argument(
            '--size', type=int, metavar='N', help='input height and width in pixels for --shapes'
        )

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.config import load
        from toolkit.config.check import fill_checked
        from toolkit.config.yaml_file import ConfigError

        config = load(arguments.config, arguments.overrides)
        config.use_plugins(arguments.plugin)
        run = fill_checked(config)
        if arguments.shapes:
            from toolkit.bench.cost import format_costs, measure_system_costs
            from toolkit.testing.check_system import check_system

            with config.locate_errors():
                checked = check_system(run.model)
                if checked.faults:
                    raise ConfigError(*(config.problem(f.path, f.text) for f in checked.faults))
                system, device = checked.system, checked.device
                print(format_costs(measure_system_costs(system, arguments.size, device)))
        else:
            print(f'{arguments.config}: no problem found')
        return 0
