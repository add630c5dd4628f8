"""`toolkit report`: writes an HTML report."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.commands.arguments import add_plugins
from toolkit.errors import ToolkitError
from toolkit.registry.command import Command


class ReportCommand(Command):
    """Write or serve an HTML report of studies and runs."""

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

        parser.add_argument(
            '--serve',
            action='store_true',
            help='show the report in a browser, and renew it while runs go on; no file is written',
        )
        parser.add_argument(
            '--port', type=int, metavar='N', help='port of --serve (default: 8642; 0: a free one)'
        )
        parser.add_argument(
            '--host',
            metavar='NAME',
            help='address of --serve (default: 127.0.0.1, for this computer alone; others need the '
            'token that is printed)',
        )

    def run(self, arguments: argparse.Namespace) -> int:
        _check(arguments)
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
        if arguments.serve:
            from toolkit.report.live import server
            from toolkit.report.live.renewal import Renewal

            port = server.PORT if arguments.port is None else arguments.port
            server.serve(Renewal(folders), arguments.host or server.LOCAL, port)
            return 0
        output = arguments.output or (folders[0] if len(folders) == 1 else Path()) / REPORT
        for note in page.write(folders, output, overwrite=arguments.overwrite):
            print(note)
        print(f'wrote {output}')
        return 0


def _check(arguments: argparse.Namespace) -> None:
    """Checks that the options go together."""
    for name in ('port', 'host'):
        if getattr(arguments, name) is not None and not arguments.serve:
            raise ToolkitError(f'--{name} is an option of --serve; give both')
    if arguments.serve and (arguments.output or arguments.overwrite):
        raise ToolkitError('--serve writes no file: leave out --output and --overwrite')
