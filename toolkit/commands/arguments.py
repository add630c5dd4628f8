"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

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


def add_plugins(parser: argparse.ArgumentParser) -> None:
    """Declares `--plugin`."""
    parser.add_argument(
        '--plugin',
        action='append',
        default=[],
        metavar='MODULE|PATH',
        help='a plugin beside the built-in ones; may be repeated',
    )


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
