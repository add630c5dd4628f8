"""`toolkit pull`: takes over a shared run."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.registry.command import Command


class PullCommand(Command):
    """Get a shared run from a folder or a hub, after checking the hash of each file.

    DIR is then the folder of a run, for test, predict, rerun and the others. None of its code runs:
    commands on it ask for --trust if it brings plugins.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            'source',
            metavar='SRC',
            help='folder that push has written; or hf:OWNER/NAME[@REVISION]',
        )
        parser.add_argument('folder', type=Path, metavar='DIR', help='new folder of the run')

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.io.verification.hashing import hash_tree
        from toolkit.run.sharing.pull import pull

        folder: Path = arguments.folder
        pulled = pull(arguments.source, folder)
        print(f'run in {folder}: {pulled.files} files, {pulled.size:,} bytes, all as pushed')
        if pulled.plugins:
            print('it brings plugins, which are code; read them before you give --trust:')
            for path in pulled.plugins:
                print(f'  {path} (sha256 {hash_tree(path)[:12]})')
        print(f'test it with: toolkit test --run {folder}')
        return 0
