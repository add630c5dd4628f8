"""`toolkit completion`: makes Tab complete the command line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from toolkit.commands.completion import complete
from toolkit.commands.completion.scripts import TEMPLATES, make_script
from toolkit.errors import ToolkitError
from toolkit.io import atomic_write
from toolkit.registry.command import Command, add_plugin_commands


class CompletionCommand(Command):
    """Print what makes a shell complete commands, options, configs, components and overrides.

    In `~/.bashrc`: `eval "$(toolkit completion bash)"`, in `~/.zshrc`:
    `eval "$(toolkit completion zsh)"`, in `~/.config/fish/config.fish`:
    `toolkit completion fish | source`.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('shell', nargs='?', choices=sorted(TEMPLATES), help='the shell that is to complete')
        add(
            '--write-words',
            action='store_true',
            help='write all words into the cache of this user, from which Tab reads them',
        )
        add(
            '--write-paths',
            metavar='CONFIG',
            help='write there what overrides of this config may name',
        )

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.commands.completion.words import collect_words, list_paths

        if arguments.write_words:
            add_plugin_commands(arguments.root_parser.subparsers)
            _keep(complete.words_file(), collect_words(arguments.root_parser))
        elif arguments.write_paths:
            config = arguments.write_paths
            _keep(complete.paths_file(config), list_paths(config))
        elif arguments.shell:
            print(make_script(arguments.shell), end='')
        else:
            raise ToolkitError(f'expected a shell: {", ".join(sorted(TEMPLATES))}')
        return 0


def _keep(file: str, words: Any) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    atomic_write.write(Path(file), json.dumps(words))
