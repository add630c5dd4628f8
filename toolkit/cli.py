"""Command line `toolkit COMMAND ...`; scripts `tools/COMMAND.py` call the same commands.

Help, show, diff and list start without torch: commands import what they need when they run.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

import toolkit
from toolkit.commands import BUILTIN_COMMANDS
from toolkit.errors import ToolkitError, did_you_mean, explain_exhaustion
from toolkit.io.shown_output import escape_output
from toolkit.io.verification import plugin_trust
from toolkit.registry import plugin_index
from toolkit.registry.command import CommandParser, add_command, add_plugin_commands

_EPILOG = """\
a config is a path, or the name of a shipped one:  toolkit train ldpnet/ldpnet_2022_synthetic ...
key.path=value changes a key, +key.path=value adds one, key.path=null removes a component
`toolkit COMMAND --help` explains a command
`toolkit COMMAND ... --traceback` shows where in the code an error comes from
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: words after `toolkit`; those of this process if None.
    Returns:
        The exit status: 0 for success, 1 for a failure during a run, 2 for a mistake that is found
        before any work, 130 or 143 for an interruption.
    """
    if 'RANK' in os.environ:
        # Otherwise each process prints torch's warning that the search for components that no loss
        # reaches costs time; a variant may have some.
        os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')
    _escape_unprintable()
    plugin_trust.allow_all(False)  # until --trust is parsed
    with escape_output():
        return _run(list(sys.argv[1:] if argv is None else argv))


def _run(words: list[str]) -> int:
    shows_traceback = '--traceback' in words
    try:
        arguments = _parse([word for word in words if word != '--traceback'])
        return arguments.command_parser.run(arguments) or 0
    except ToolkitError as error:
        if shows_traceback:
            trace = getattr(error, 'trace', '') or ''.join(traceback.format_exception(error))
            print(trace, file=sys.stderr, end='')
        print(error, file=sys.stderr)
        return error.exit_status
    except (MemoryError, RuntimeError) as error:
        if not (explanation := explain_exhaustion(error)):
            raise
        print(explanation, file=sys.stderr)
        return 1
    except BrokenPipeError:  # `toolkit show ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # The disk, a name or a permission; where a message says more, it was said before.
        if error.filename is None or shows_traceback:
            raise
        print(f'{error.filename}: {error.strerror}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130


def _escape_unprintable() -> None:
    """Lets a terminal that cannot show a character show its code, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, 'encoding', None) or 'utf-8').lower()
        if not encoding.startswith('utf') and hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')


def build_parser(argv: Sequence[str] = ()) -> CommandParser:
    """Builds the parser of `toolkit`.

    Args:
        argv: the command line. The sources of plugins are read only if it names no built-in
            command.
    """
    parser = CommandParser(
        prog='toolkit',
        description='Compose image networks of components by config; train, test, compare them.',
        epilog=_EPILOG,
    )
    parser.add_argument('--version', action='version', version=f'ablakit {toolkit.__version__}')
    subparsers = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    for name, command in BUILTIN_COMMANDS.items():
        summary = (command.__doc__ or '').split('\n')[0]
        add_command(subparsers, name, summary, lambda command=command: command)
    if next((word for word in argv if not word.startswith('-')), '') not in BUILTIN_COMMANDS:
        add_plugin_commands(subparsers)
    return parser


def _add_command_plugins(argv: list[str]) -> list[str]:
    """Adds the plugins of `--plugin` where a plugin may bring the command itself.

    Returns:
        The command line, without `--plugin` if its command does not declare it.
    """
    rest, found, words = [], [], iter(argv)
    for word in words:
        if word == '--plugin':
            found.append(next(words, ''))
        elif word.startswith('--plugin='):
            found.append(word.partition('=')[2])
        else:
            rest.append(word)
    name = next((word for word in rest if not word.startswith('-')), '')
    if not found or not name or name in BUILTIN_COMMANDS:
        return argv
    for plugin in found:
        plugin_index.add(plugin)
    parser = build_parser(rest).subcommands.get(name)
    if parser is None:
        return rest
    parser.declare(rest)
    return argv if '--plugin' in parser._option_string_actions else rest


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command; the config and its overrides may stand anywhere on the line.

    argparse takes positional arguments from one place only and returns later ones as unknown.
    """
    argv = _add_command_plugins(list(argv))
    root = build_parser(argv)
    arguments, rest = root.parse_known_args(argv)
    arguments.root_parser = root
    parser: CommandParser = arguments.command_parser
    has_config = hasattr(arguments, 'config_required')
    late = [
        word
        for word in rest
        if not word.startswith('-')
        and (has_config or ('=' in word and hasattr(arguments, 'overrides')))
    ]
    unknown = [word for word in rest if word not in late]
    if unknown:
        near = did_you_mean(unknown[0], parser._option_string_actions)
        parser.error(f'unrecognized arguments: {" ".join(unknown)}{near}')
    if has_config:
        late += getattr(arguments, 'returned_words', [])
        words = [*filter(None, [arguments.config]), *arguments.overrides, *late]
        arguments.overrides = [word for word in words if '=' in word]
        names = [word for word in words if '=' not in word]
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
