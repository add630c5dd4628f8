"""`toolkit push`: shares a run."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from toolkit.commands.arguments import add_trust
from toolkit.registry.command import Command


class PushCommand(Command):
    """Share a finished run: records, weights, plugins and a card, as a folder or on a hub.

    Logs, pictures and reports stay. What is shared names the samples of the test and this machine:
    `metrics.json` has a row per sample, `capsule.json` the command, paths and hardware. Changes of
    the code that were not committed when the run began (`diff.patch`) stay without `--with-patch`.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('folder', type=Path, metavar='RUN', help='folder of the run')
        parser.add_argument(
            'destination',
            metavar='DEST',
            help='new folder; or hf:OWNER/NAME, a repository of the Hugging Face hub',
        )
        parser.add_argument(
            '--license', metavar='ID', help='license of the weights, for the card: apache-2.0'
        )
        parser.add_argument(
            '--public',
            action='store_true',
            help='a new repository of the hub is public (default: private)',
        )
        parser.add_argument(
            '--overwrite',
            action='store_true',
            help='commit to a repository of the hub that holds files already',
        )
        parser.add_argument(
            '--with-patch',
            action='store_true',
            help='share diff.patch too, the changes of the code that were not committed',
        )
        add_trust(parser)

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.run.sharing.push import push

        pushed = push(
            arguments.folder,
            arguments.destination,
            license_=arguments.license,
            public=arguments.public,
            overwrite=arguments.overwrite,
            with_patch=arguments.with_patch,
        )
        for name, file in pushed.files.items():
            print(f'{file.size:>13,}  {name}')
        if pushed.has_left_patch:
            print(
                'left out: diff.patch, changes of the code that were not committed; whoever '
                'repeats the run may need them: read them, and share them by --with-patch'
            )
        source = shlex.quote(arguments.destination)
        print(f'shared in {pushed.place}; get it with: toolkit pull {source} DIR')
        return 0
