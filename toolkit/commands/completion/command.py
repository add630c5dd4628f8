"""`toolkit completion`: makes Tab complete the command line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

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
        add('--write-words', type=Path, metavar='FILE', help='write all words into FILE')
        add(
            '--write-paths',
            nargs=2,
            metavar=('CONFIG', 'FILE'),
            help='write the paths of a config, which overrides may name, into FILE',
        )

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.commands.completion.words import collect_words, list_paths

        if arguments.write_words:
            add_plugin_commands(arguments.root_parser.subparsers)
            words = collect_words(arguments.root_parser)
            atomic_write.write(arguments.write_words, json.dumps(words))
        elif arguments.write_paths:
            config, file = arguments.write_paths
            atomic_write.write(Path(file), json.dumps(list_paths(config)))
        elif arguments.shell:
            print(make_script(arguments.shell), end='')
        else:
            raise ToolkitError(f'expected a shell: {", ".join(sorted(TEMPLATES))}')
        return 0
