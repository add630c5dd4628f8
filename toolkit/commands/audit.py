"""`toolkit audit`: finds duplicates, leaks and defects in the data of a task."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import RegistryError, ToolkitError
from toolkit.registry.command import Command

if TYPE_CHECKING:
    from toolkit.interfaces import Auditor


class AuditCommand(Command):
    """Check data for duplicates, leaks, and damaged or wrong files.

    DATA tells of which kind they are: labelled images or satellite scenes. The options depend on
    it: `toolkit audit DATA --help` lists those of one kind. The data are not changed.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('data', nargs='+', metavar='DATA', help='a manifest, an archive, or a folder')
        add('--json', type=Path, metavar='FILE', help='write all findings')
        add('--overwrite', action='store_true', help='replace output files that exist')

    @classmethod
    def add_dependent_arguments(
        cls, parser: argparse.ArgumentParser, known: argparse.Namespace, rest: Sequence[str]
    ) -> None:
        words = [*(known.data or []), *(word for word in rest if not word.startswith('-'))]
        if not words:  # for `toolkit audit --help`; auditors may share options
            parser.conflict_handler = 'resolve'
            for auditor in _list_auditors():
                _add_auditor(parser, auditor)
            return
        accepting = [auditor for auditor in _list_auditors() if auditor.accepts(words)]
        if len(accepting) == 1:
            _add_auditor(parser, accepting[0])
            parser.set_defaults(auditor=accepting[0])

    @classmethod
    def list_dependent_arguments(cls) -> list[argparse._ArgumentGroup]:
        return [
            _add_auditor(argparse.ArgumentParser(add_help=False), auditor)
            for auditor in _list_auditors()
        ]

    def run(self, arguments: argparse.Namespace) -> int:
        auditor: type[Auditor] | None = getattr(arguments, 'auditor', None)
        if auditor is None:
            expected = '; or '.join(f'{a.items}: {a.formats}' for a in _list_auditors())
            raise ToolkitError(f'{" ".join(arguments.data)}: expected data of one kind: {expected}')
        return auditor().audit(arguments.data, arguments)


def _list_auditors() -> list[type[Auditor]]:
    """Lists the auditors of all plugins that can be imported."""
    from toolkit.registry import AUDITORS

    found = []
    for name in AUDITORS.names():
        try:
            found.append(AUDITORS.get(name))
        except RegistryError:
            continue  # the message about the kinds of data lists the others
    return found


def _add_auditor(
    parser: argparse.ArgumentParser, auditor: type[Auditor]
) -> argparse._ArgumentGroup:
    group = parser.add_argument_group(f'options for {auditor.items}', inspect.getdoc(auditor))
    auditor.add_arguments(group)
    return group
