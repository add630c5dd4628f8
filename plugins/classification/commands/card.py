"""`toolkit card`: writes a model card of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from plugins.classification.interfaces import NOTE
from plugins.classification.reporting.model_card import NAME, make_card
from plugins.classification.reporting.standards.checklists import STANDARDS
from plugins.classification.reporting.standards.standard_card import make_standard_card
from toolkit.io import atomic_write
from toolkit.io.output_path import check_outputs
from toolkit.io.run_layout import list_run_files
from toolkit.registry import COMMANDS
from toolkit.registry.command import Command


@COMMANDS.register(name='card')
class Card(Command):
    """Write a model card of a classifier's run, or a reporting standard filled from it.

    Of a standard, every item is filled from the files of the run, or named as open.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            '--run', dest='run_dir', type=Path, required=True, metavar='D', help='folder of the run'
        )
        parser.add_argument(
            '--standard',
            choices=sorted(STANDARDS),
            help='fill this reporting standard (CLAIM 2024, TRIPOD+AI 2024) in place of the card',
        )
        parser.add_argument(
            '--output',
            type=Path,
            help=f'the file to write (default: D/{NAME}, or D/CLAIM.md, D/TRIPOD-AI.md)',
        )
        parser.add_argument('--overwrite', action='store_true', help='replace an existing card')

    def run(self, arguments: argparse.Namespace) -> int:
        standard = arguments.standard
        name = NAME if standard is None else f'{standard.upper()}.md'
        output = arguments.output or arguments.run_dir / name
        inputs = [*list_run_files(arguments.run_dir), arguments.run_dir / 'clinical.json']
        check_outputs([output], inputs, overwrite=arguments.overwrite)
        if standard is None:
            text = make_card(arguments.run_dir)
        else:
            text = make_standard_card(arguments.run_dir, standard)
        atomic_write.write(output, text)
        print(NOTE)
        print(f'wrote {output}')
        return 0
