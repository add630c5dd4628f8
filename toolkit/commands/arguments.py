"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.io.verification import plugin_trust

if TYPE_CHECKING:
    from toolkit.config import Config
    from toolkit.run.load_run import TrainedRun

OVERRIDE = 'key.path=value'


def add_config(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Declares a config and its overrides, which may stand anywhere on the command line."""
    parser.add_argument(
        'config', nargs='?', metavar='CONFIG', help='path of a config, or name of a shipped one'
    )
    parser.set_defaults(config_required=required)
    add_overrides(parser, 'change of the config')


def add_overrides(parser: argparse.ArgumentParser, help_: str) -> None:
    """Declares overrides of a config."""
    parser.add_argument('overrides', nargs='*', metavar=OVERRIDE, help=help_)


class _Trust(argparse.Action):
    """Action that allows plugins as soon as it is parsed: options of a task need them already."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, True)
        plugin_trust.allow_all(True)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Declares `--trust`."""
    parser.add_argument(
        '--trust',
        action=_Trust,
        nargs=0,
        default=False,
        help="run the plugins in a run's folder, which are code, though this user has not run or "
        'trusted them before',
    )


def add_plugins(parser: argparse.ArgumentParser) -> None:
    """Declares `--plugin` and `--trust`."""
    add_trust(parser)
    parser.add_argument(
        '--plugin',
        action='append',
        default=[],
        metavar='MODULE|PATH',
        help='a plugin beside the built-in ones; may be repeated',
    )


def use_plugins(config: Config, arguments: argparse.Namespace) -> None:
    """Registers the plugins of a config and of the command line, and prints notes on them.

    Raises:
        ToolkitError: see `Config.use_plugins`.
    """
    config.use_plugins(arguments.plugin)
    if os.environ.get('RANK', '0') == '0':
        for note in config.plugin_notes:
            print(note, file=sys.stderr)


def add_trained_run(parser: argparse.ArgumentParser, required: bool = False) -> None:
    """Declares `--run` and `--checkpoint`."""
    parser.add_argument(
        '--run',
        dest='run_dir',
        type=Path,
        required=required,
        metavar='DIR',
        help='folder of a trained run',
    )
    parser.add_argument(
        '--checkpoint',
        metavar='best|last|PATH',
        help='weights to load (default: best if there is one, else last)',
    )


def load_given_run(arguments: argparse.Namespace) -> TrainedRun:
    """Loads the run or config of `add_config`, `add_trained_run` and `add_plugins`."""
    from toolkit.run.load_run import load_trained

    return load_trained(
        arguments.config,
        arguments.overrides,
        arguments.run_dir,
        arguments.checkpoint,
        arguments.plugin,
    )
