"""`toolkit rerun`: repeats a run and compares."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.commands.arguments import add_trust
from toolkit.io.shown_output import protect_output
from toolkit.registry.command import Command


class RerunCommand(Command):
    """Repeat a run from its folder and compare weights and metrics.

    The exit status is 0 if they are equal to the last bit, and 1 if they differ.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('folder', type=Path, metavar='DIR', help='folder of the run to repeat')
        parser.add_argument(
            '--work-dir',
            type=Path,
            metavar='NEW',
            help='folder of the repetition (default: DIR-rerun)',
        )
        add_trust(parser)

    @protect_output()
    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.run.rerun import rerun

        old: Path = arguments.folder
        new: Path = arguments.work_dir or old.with_name(old.name + '-rerun')
        result = rerun(old, new)
        for warning in result.warnings:
            print(f'since then: {warning}')
        if result.equal:
            print(f'{new} equals {old}: weights and metrics are the same to the last bit')
        else:
            print(f'{new} differs from {old}: {result.difference}')
        return result.exit_status
