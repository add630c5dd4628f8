"""`toolkit train`: trains a config."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.commands.arguments import add_config, add_plugins, use_plugins
from toolkit.errors import ToolkitError
from toolkit.io.shown_output import protect_output
from toolkit.registry.command import Command

if TYPE_CHECKING:
    from toolkit.config import Config
    from toolkit.config.schema import RunConfig


def _parse_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'expected a whole number from 1, found {text!r}')
    return int(text)


class _Resume(argparse.Action):
    """Action that takes the next word only if it is a checkpoint, since a config may follow."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option: str | None = None,
    ) -> None:
        word = None if values is None else str(values)
        is_checkpoint = word is not None and word.endswith('.pth')
        setattr(namespace, self.dest, Path(str(word)) if is_checkpoint else True)
        if word is not None and not is_checkpoint:
            namespace.returned_words = [*getattr(namespace, 'returned_words', []), word]


class TrainCommand(Command):
    """Train a config, with validation on the way."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_config(parser)
        add_plugins(parser)
        parser.add_argument(
            '--work-dir', type=Path, metavar='DIR', help='folder of this run; not with --try'
        )
        parser.add_argument(
            '--try',
            dest='is_try',
            action='store_true',
            help='train, validate, test and predict on one batch each, and keep nothing',
        )
        parser.add_argument(
            '--resume',
            nargs='?',
            action=_Resume,
            default=False,
            metavar='FILE.pth',
            help='continue the run that DIR holds, from its newest checkpoint or from FILE.pth',
        )
        parser.add_argument(
            '--iterations',
            type=_parse_count,
            metavar='N',
            help='train N iterations in place of the length in the config: schedules are scaled, '
            'and the validation is at the end',
        )
        parser.add_argument(
            '--allow-changed',
            action='store_true',
            help='continue it though data, plugins, threads or processes have changed, or its '
            'schedules by another length, and record that',
        )

    @protect_output()
    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.config import load
        from toolkit.config.checks.check import fill_checked, load_whole
        from toolkit.engine.process import distributed
        from toolkit.run.capsule import make_capsule_input
        from toolkit.run.changes import ALLOWED
        from toolkit.run.train import train

        if arguments.is_try == (arguments.work_dir is not None):
            raise ToolkitError('name the folder of the run: --work-dir DIR; or only --try it')
        if arguments.is_try and (arguments.resume or arguments.iterations):
            raise ToolkitError('--try is one iteration from the beginning; leave out the rest')
        iterations = 1 if arguments.is_try else arguments.iterations
        config = load_whole(
            lambda overrides: load(arguments.config, overrides, iterations),
            arguments.overrides,
            arguments.plugin,
        )
        use_plugins(config, arguments)
        run = fill_checked(config)
        if arguments.is_try:
            return _try(config, run)
        folder = arguments.work_dir
        with config.locate_errors():
            result = train(
                run,
                folder,
                resume=arguments.resume,
                capsule_input=make_capsule_input(config),
                allow_changed=ALLOWED if arguments.allow_changed else (),
            )
        if distributed.is_main() and result.status == 'finished':
            print(f'run in {folder}; test it with: toolkit test --run {folder}')
        return result.exit_status


def _try(config: Config, run: RunConfig) -> int:
    from toolkit.run.try_run import try_run

    with config.locate_errors():
        tried = try_run(run)
    print(f'one batch of {", ".join(tried)} went through; nothing was kept')
    return 0
