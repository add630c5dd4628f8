"""`toolkit COMMAND ...`: one command; `tools/COMMAND.py` are the same commands as scripts.

Nothing heavy is imported before it is needed: help, show, diff and list run without torch.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import toolkit
from toolkit.commands import builtin
from toolkit.errors import ToolkitError

_EPILOG = """\
a config is a path, or the name of a shipped one:  toolkit train ldpnet/ldpnet_2022_synthetic ...
key.path=value changes a key, +key.path=value adds one, key.path=null removes a part
`toolkit COMMAND --help` explains a command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status.

    0 is fine, 1 failed during a run, 2 a mistake in what was asked, 130 or 143 interrupted.
    """
    if 'RANK' in os.environ:
        # Each process would print torch's warning that looking for parts that no loss reaches (a
        # variant may have some) costs time.
        os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')
    try:
        arguments = _parse(argv)
        return arguments.run(arguments) or 0
    except ToolkitError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:  # `toolkit show ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130


class _CommandParser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'{self.prog}: {message} (see {self.prog} --help)\n')


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = _CommandParser(
        'toolkit',
        description='Compose image networks from parts by config; train, test and compare them.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'ablakit {toolkit.__version__}')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int | None], help_: str
    ) -> _CommandParser:
        sub = commands.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + '.')
        sub.set_defaults(run=run)
        if name not in ('show', 'diff', 'rerun', 'bench'):
            sub.add_argument(
                '--plugin',
                action='append',
                default=[],
                metavar='MODULE|PATH',
                help='a plugin beside the built-in ones; may be given several times',
            )
        return sub

    sub = command('train', builtin.train, 'train a config, validating on the way')
    _config(sub)
    sub.add_argument('--work-dir', type=Path, required=True, help='folder of this run')
    sub.add_argument('--resume', action='store_true', help='go on where the run in D stopped')

    sub = command('test', builtin.test, 'test a trained run and print its metrics')
    _config(sub, required=False)
    _run_folder(sub)
    sub.add_argument('--work-dir', type=Path, help='where metrics.json goes (default: the run)')

    sub = command('predict', builtin.predict, 'predict for files with a trained run')
    _config(sub, required=False)
    _run_folder(sub)
    sub.add_argument(
        '--input',
        nargs='+',
        default=[],
        metavar='FILE',
        help="files to predict for; the run's own test data if left out",
    )
    sub.add_argument('--output', type=Path, required=True, help='file to write')
    sub.add_argument('--sensor', help="sensor of the input, where it is not that of the run's data")
    sub.add_argument('--tile', type=int, help='side of the windows in pixels')
    sub.add_argument('--workers', type=int, help='threads that compute (default: one a core)')
    sub.add_argument('--shard', metavar='i/n', help='only the i-th of n shares of the windows')
    sub.add_argument('--compress', choices=('none', 'deflate', 'zstd', 'lzw'), help='of the output')
    sub.add_argument('--cog', action='store_true', help='write a cloud-optimized GeoTIFF')

    sub = command('check', builtin.check, 'check a whole config without running it')
    _config(sub)
    sub.add_argument('--shapes', action='store_true', help='table of parts, parameters and MACs')
    sub.add_argument('--size', type=int, help='input height and width in pixels for --shapes')

    sub = command('show', builtin.show, 'print a config with its bases and overrides resolved')
    _config(sub)
    sub.add_argument('--origins', action='store_true', help='say where each value was written')

    sub = command('diff', builtin.diff, 'tell what really differs between two configs')
    sub.add_argument('a', metavar='A', help='config')
    sub.add_argument('b', metavar='B', help='config')
    _overrides(sub, 'applied to B, so that `toolkit diff X X key=value` shows what it does')
    sub.add_argument('--cost', action='store_true', help='parameters and MACs before and after')

    sub = command('list', builtin.list_, 'list kinds and their parts, and the shipped configs')
    sub.add_argument('kind', nargs='?', help='only this kind, with what each part is')
    sub.add_argument('--markdown', action='store_true', help='the reference of all parts')

    sub = command('report', builtin.report, 'write an HTML report of studies and runs')
    sub.add_argument('folders', nargs='+', type=Path, metavar='DIR', help='of a study, or of a run')
    sub.add_argument(
        '--output',
        type=Path,
        help='the HTML file (default: report.html in DIR, if there is one DIR)',
    )

    sub = command('rerun', builtin.rerun, 'repeat a run from what it left behind, and compare')
    sub.add_argument('folder', type=Path, metavar='DIR', help='folder of the run to repeat')
    sub.add_argument('--work-dir', type=Path, help='folder of the repetition (default: DIR-rerun)')

    sub = command('study', builtin.study, 'run a study: variants x seeds, from a file to a table')
    sub.add_argument('file', metavar='FILE', help='study file, or the name of a shipped one')
    sub.add_argument('--work-dir', type=Path, help='folder of the study (default: work/NAME)')
    sub.add_argument('--plan', action='store_true', help='check and show the runs; start none')
    sub.add_argument('--table', action='store_true', help='print the results that there are so far')
    sub.add_argument(
        '--style',
        choices=('text', 'markdown', 'csv', 'latex', 'json'),
        help='of the table (default: text)',
    )
    sub.add_argument('--only', nargs='+', default=[], metavar='VARIANT', help='run these alone')
    sub.add_argument('--seeds', nargs='+', type=int, default=[], help='run these alone')
    sub.add_argument(
        '--rerun',
        nargs='+',
        default=[],
        choices=('failed', 'changed'),
        help='run again what failed, or what was made with another config, code or data',
    )
    sub.add_argument('--jobs', type=int, help='runs at a time, instead of what the file says')
    words = [word for word in argv if not word.startswith('-')]

    sub = command('bench', builtin.unnamed_bench, 'measure speed and memory, side by side')
    benches = sub.add_subparsers(title='what is measured', metavar='NAME')
    if words[:1] == ['bench']:
        from toolkit.registry.command import add_plugin_commands

        add_plugin_commands(benches, words[1] if len(words) > 1 else '', 'bench')
    if not words or words[0] not in commands.choices:
        # Plugins' sources are looked at only where one of their commands may be meant, or listed.
        from toolkit.registry.command import add_plugin_commands

        add_plugin_commands(commands, words[0] if words else '')
    return parser


def _config(sub: _CommandParser, required: bool = True) -> None:
    sub.add_argument('config', nargs='?', metavar='CONFIG', help='config')
    sub.set_defaults(config_required=required)
    _overrides(sub, 'changes to the config')


def _overrides(sub: _CommandParser, help_: str) -> None:
    sub.add_argument('overrides', nargs='*', metavar='key.path=value', help=help_)


def _run_folder(sub: _CommandParser) -> None:
    sub.add_argument('--run', dest='run_dir', type=Path, help='folder of a trained run')
    sub.add_argument(
        '--checkpoint', help="'best', 'last' or a path (default: best where there is one)"
    )


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments of a command; overrides may stand anywhere on the line.

    argparse takes positional arguments in one run only and leaves the later ones over.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(argv)
    arguments, rest = parser.parse_known_args(argv)
    late = [text for text in rest if '=' in text and not text.startswith('-')]
    if not hasattr(arguments, 'overrides'):
        late = []
    if len(late) < len(rest):
        parser.error('unrecognized arguments: ' + ' '.join(t for t in rest if t not in late))
    if hasattr(arguments, 'config'):
        given = [*filter(None, [arguments.config]), *arguments.overrides, *late]
        arguments.overrides = [text for text in given if '=' in text]
        names = [text for text in given if '=' not in text]
        if len(names) > 1:
            parser.error(f'one config expected, found {len(names)}: {" ".join(names)}')
        arguments.config = names[0] if names else None
        if arguments.config_required and not names:
            parser.error('which CONFIG? give a path or the name of a shipped one')
    elif late:
        arguments.overrides = [*arguments.overrides, *late]
    return arguments


if __name__ == '__main__':
    sys.exit(main())
