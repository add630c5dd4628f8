"""`toolkit schema`: writes a JSON Schema of configs or study files, for editors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from toolkit.commands.arguments import add_plugins
from toolkit.registry import plugin_index
from toolkit.registry.command import Command


class SchemaCommand(Command):
    """Write a JSON Schema of configs, or of study files, for editors.

    Editors complete, explain and check by it.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_plugins(parser)
        parser.add_argument(
            '--study', action='store_true', help='the schema of study files in place of configs'
        )
        parser.add_argument(
            '--output', type=Path, metavar='FILE', help='file to write (default: print)'
        )
        parser.add_argument('--overwrite', action='store_true', help='replace a file that exists')

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.config.json_schema import make_schema
        from toolkit.io import atomic_write
        from toolkit.io.output_path import check_outputs
        from toolkit.study.study_schema import make_study_schema

        for plugin in arguments.plugin:
            plugin_index.add(plugin)
        output = arguments.output
        if output is not None:
            check_outputs([output], [], overwrite=arguments.overwrite)
        schema = make_study_schema() if arguments.study else make_schema()
        text = json.dumps(schema, ensure_ascii=False, indent=1) + '\n'
        if output is None:
            print(text, end='')
        else:
            atomic_write.write(output, text)
            print(f'wrote {output}')
        return 0
