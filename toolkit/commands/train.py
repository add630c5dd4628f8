"""`toolkit train`: trains a config."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.commands.arguments import add_config, add_plugins
from toolkit.registry.command import Command


class TrainCommand(Command):
    """Train a config, with validation on the way."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_config(parser)
        add_plugins(parser)
        parser.add_argument(
            '--work-dir', type=Path, required=True, metavar='DIR', help='folder of this run'
        )
        parser.add_argument('--resume', action='store_true', help='continue the run that DIR holds')

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.config import load
        from toolkit.config.check import fill_checked
        from toolkit.engine import distributed
        from toolkit.run.capsule import make_capsule_input
        from toolkit.run.train import train

        config = load(arguments.config, arguments.overrides)
        config.use_plugins(arguments.plugin)
        run = fill_checked(config)
        folder = arguments.work_dir
        with config.locate_errors():
            result = train(
                run, folder, resume=arguments.resume, capsule_input=make_capsule_input(config)
            )
        if distributed.is_main() and result.status == 'finished':
            print(f'run in {folder}; test it with: toolkit test --run {folder}')
        return result.exit_status
