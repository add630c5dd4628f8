"""`toolkit report`: writes an HTML report."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.commands.arguments import add_plugins
from toolkit.registry.command import Command


class ReportCommand(Command):
    """Write an HTML report of studies and runs."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_plugins(parser)
        parser.add_argument(
            'folders', nargs='+', type=Path, metavar='DIR', help='folder of a study or of a run'
        )
        parser.add_argument(
            '--output',
            type=Path,
            metavar='FILE',
            help='the HTML file (default: report.html in DIR, or here if there are several)',
        )
        parser.add_argument(
            '--overwrite', action='store_true', help='replace a file that is no report, too'
        )

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.io.run_layout import REPORT
        from toolkit.io.verification import plugin_trust
        from toolkit.registry import plugin_index
        from toolkit.report import page

        for plugin in arguments.plugin:
            path = plugin_index.find_path(plugin)
            plugin_index.add(plugin)
            if path is not None:
                plugin_trust.trust_in_process(path)
        folders = arguments.folders
        output = arguments.output or (folders[0] if len(folders) == 1 else Path()) / REPORT
        for note in page.write(folders, output, overwrite=arguments.overwrite):
            print(note)
        print(f'wrote {output}')
        return 0
