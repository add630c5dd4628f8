"""Commands: the base class of `toolkit NAME`, and the parser that declares their arguments."""

from __future__ import annotations

import argparse
import functools
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from toolkit.errors import RegistryError, did_you_mean


class Command(ABC):
    """A command, `toolkit NAME`.

    A plugin registers it under its name: `@COMMANDS.register(name='evaluate')`. The first line of
    its docstring is its help in `toolkit --help`, which does not import the plugin.
    """

    contract = 'toolkit.testing.task_kinds.CommandContract'

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Declares the arguments of the command."""

    @classmethod  # noqa: B027 - most commands have none
    def add_dependent_arguments(
        cls, parser: argparse.ArgumentParser, known: argparse.Namespace, rest: Sequence[str]
    ) -> None:
        """Declares arguments that depend on the values of others; by default there are none.

        Args:
            parser: of the command.
            known: values of the arguments that `add_arguments` declares, as far as they are given.
            rest: words of the command line that none of these arguments takes.
        """

    @classmethod
    def list_dependent_arguments(cls) -> list[argparse._ArgumentGroup]:
        """All arguments that may depend on others, for the reference; by default there are none."""
        return []

    @abstractmethod
    def run(self, arguments: argparse.Namespace) -> int:
        """Runs the command.

        Returns:
            The exit status.
        Raises:
            ToolkitError: a mistake of the user.
        """


class CommandParser(argparse.ArgumentParser):
    """Parser that declares the arguments of its command once the command line chooses it.

    So `toolkit --help` lists the commands of plugins without importing them. An error is one line.

    Args:
        command: gives the class of the command; None for a parser without a command.
        **options: see `argparse.ArgumentParser`.
    """

    def __init__(
        self, *, command: Callable[[], type[Command]] | None = None, **options: Any
    ) -> None:
        options.setdefault('formatter_class', argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)
        self._command = command
        self._declared = command is None
        self.subparsers: Any = None

    @property
    def subcommands(self) -> dict[str, CommandParser]:
        """Parsers of the commands below this one, by name."""
        return dict(self.subparsers.choices) if self.subparsers is not None else {}

    def add_subparsers(self, **options: Any) -> Any:
        """Adds subparsers; see `argparse.ArgumentParser`."""
        self.subparsers = super().add_subparsers(**options)
        return self.subparsers

    def dependent_groups(self) -> list[argparse._ArgumentGroup]:
        """All arguments that may depend on others; see `Command.list_dependent_arguments`."""
        return self._command().list_dependent_arguments() if self._command is not None else []

    def run(self, arguments: argparse.Namespace) -> int:
        """Runs the command with its parsed arguments; returns the exit status."""
        assert self._command is not None
        return self._command()().run(arguments)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Declares the arguments of the command, then parses the command line."""
        self.declare(list(sys.argv[1:] if args is None else args))
        return super().parse_known_args(args, namespace)

    def declare(self, argv: Sequence[str] = ()) -> None:
        """Declares the arguments of the command, those that depend on `argv` included."""
        if self._declared or self._command is None:
            return
        self._declared = True
        command = self._command()
        self.description = inspect.getdoc(command)
        self.set_defaults(command_parser=self)
        command.add_arguments(self)
        own, default = command.add_dependent_arguments, Command.add_dependent_arguments
        if getattr(own, '__func__', None) is not getattr(default, '__func__', None):
            command.add_dependent_arguments(self, *_parse_leniently(command, argv))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Checks a choice, such as the name of a command; names the nearest ones."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += did_you_mean(str(value), map(str, action.choices or ()))
            raise

    def error(self, message: str) -> NoReturn:
        """Prints the error as one line and exits with status 2."""
        self.exit(2, f'{self.prog}: {message} (see {self.prog} --help)\n')


def add_command(
    subparsers: Any, name: str, summary: str, command: Callable[[], type[Command]]
) -> None:
    """Adds a command to the subparsers of argparse.

    Args:
        subparsers: as `add_subparsers` returns them, for parsers of class `CommandParser`.
        name: of the command.
        summary: the first line of its docstring.
        command: gives its class; called when the command line chooses it.
    """
    if name in subparsers.choices:
        raise RegistryError(f'two commands are named {name!r}; rename the one of the plugin')
    help_ = summary[:1].lower() + summary[1:].rstrip('.')
    subparsers.add_parser(name, help=help_.replace('%', '%%'), command=command)


def add_plugin_commands(subparsers: Any, kind: str = 'command') -> None:
    """Adds the commands that plugins register to the subparsers of argparse.

    Args:
        subparsers: as of `add_command`.
        kind: 'command', or 'bench' for `toolkit bench`.
    """
    from toolkit.registry import plugin_index

    for entry in plugin_index.get_index().of_kind(kind):
        add_command(
            subparsers, entry.name, entry.summary, functools.partial(_registered, entry.name, kind)
        )


def _registered(name: str, kind: str) -> type[Command]:
    from toolkit.registry import get_kinds

    return get_kinds()[kind].get(name)


class _LenientParser(argparse.ArgumentParser):
    """Parser whose errors are exceptions; the real parser reports them to the user."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _parse_leniently(
    command: type[Command], argv: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    """The values of a command's own arguments, though others are missing or not declared yet."""
    parser = _LenientParser(add_help=False)
    command.add_arguments(parser)
    for action in parser._actions:
        action.required = False
    try:
        return parser.parse_known_args([a for a in argv if a not in ('-h', '--help')])
    except ValueError:
        return parser.parse_known_args([])
