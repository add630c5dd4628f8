"""`toolkit check`: checks a config and its data before anything runs."""

from __future__ import annotations

import argparse

from toolkit.commands.arguments import add_config, add_plugins, use_plugins
from toolkit.registry.command import Command


class CheckCommand(Command):
    """Check a whole config and its data without running it.

    Says what `train` or `test` would refuse, and warns of what is probably not intended. Data are
    looked at for about two seconds each; what was not looked at is said.
    """

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
        parser.add_argument('--no-data', action='store_true', help='do not open the data')

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.config import load
        from toolkit.config.checks.check import fill_checked, load_whole
        from toolkit.config.yaml_file import ConfigError
        from toolkit.errors import ComponentRunError

        config = load_whole(
            lambda overrides: load(arguments.config, overrides),
            arguments.overrides,
            arguments.plugin,
        )
        use_plugins(config, arguments)
        run = fill_checked(config)
        if arguments.shapes:
            from toolkit.bench.cost import format_costs, measure_system_costs
            from toolkit.testing.check_system import check_system

            try:
                with config.locate_errors():
                    checked = check_system(run.model)
                    if checked.faults:
                        raise ConfigError(*(config.problem(f.path, f.text) for f in checked.faults))
                    system, device = checked.system, checked.device
                    print(format_costs(measure_system_costs(system, arguments.size, device)))
            except ComponentRunError as error:
                error.exit_status = 2  # nothing has run but this check
                raise
            return 0
        from toolkit.engine.preflight import inspect_run

        found = inspect_run(config, run, data=not arguments.no_data)
        for warning in found.warnings:
            print(f'warning: {warning}')
        if found.problems:
            raise ConfigError(*found.problems)
        print(f'{arguments.config}: no problem found')
        unseen = found.unseen + ['the data (--no-data)'] * arguments.no_data
        if unseen:
            print(f'not looked at: {"; ".join(unseen)}')
        return 0
