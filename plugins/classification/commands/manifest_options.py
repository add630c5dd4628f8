"""Options of commands that read a manifest."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from toolkit.errors import ToolkitError


def add_manifest_options(parser: argparse.ArgumentParser) -> None:
    """Declare --columns, --task and --outside."""
    add = parser.add_argument
    add(
        '--columns',
        nargs='+',
        action='extend',
        default=[],
        metavar='NAME=COLUMN',
        help="the file's own names: patient=case_id; patient= where there is no such column",
    )
    add(
        '--task',
        nargs='+',
        action='extend',
        default=[],
        metavar='NAME=COLUMN',
        help='column with the labels of a task; NAME alone where it is called the same',
    )
    add('--outside', action='store_true', help="paths may leave the manifest's folder")


def named_columns(given: Sequence[str]) -> dict[str, str | None]:
    """`patient=case_id` as names by name, None where nothing follows the `=`.

    Raises:
        ToolkitError: something else, or a name twice.
    """
    columns: dict[str, str | None] = {}
    for text in given:
        name, equals, column = text.partition('=')
        if not equals or not name or name in columns:
            raise ToolkitError(f'--columns: found {text!r}, expected NAME=COLUMN, each name once')
        columns[name] = column or None
    return columns


def named_tasks(given: Sequence[str]) -> dict[str, str]:
    """`malignancy=malignant` as columns by task.

    Raises:
        ToolkitError: a name without its column, or twice.
    """
    tasks: dict[str, str] = {}
    for text in given:
        name, equals, column = text.partition('=')
        if not name or (equals and not column) or name in tasks:
            raise ToolkitError(f'--task: found {text!r}, expected NAME=COLUMN, each name once')
        tasks[name] = column or name
    return tasks
