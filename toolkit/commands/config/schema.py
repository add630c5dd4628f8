"""`toolkit schema`: writes a JSON Schema of configs, for editors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from toolkit.commands.arguments import add_plugins
from toolkit.registry import plugin_index
from toolkit.registry.command import Command


class SchemaCommand(Command):
    """Write a JSON Schema of configs, by which editors complete, explain and check them."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_plugins(parser)
        parser.add_argument(
            '--output', type=Path, metavar='FILE', help='file to write (default: print)'
        )
        parser.add_argument('--overwrite', action='store_true', help='replace a file that exists')

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.config.json_schema import make_schema
        from toolkit.io import atomic_write
        from toolkit.io.output_path import check_outputs

        for plugin in arguments.plugin:
            plugin_index.add(plugin)
        output = arguments.output
        if output is not None:
            check_outputs([output], [], overwrite=arguments.overwrite)
        text = json.dumps(make_schema(), ensure_ascii=False, indent=1) + '\n'
        if output is None:
            print(text, end='')
        else:
            atomic_write.write(output, text)
            print(f'wrote {output}')
        return 0
