"""Options of commands that read a manifest of images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

from plugins.classification.data.manifests.patient_ids import PatientIds
from toolkit.errors import ToolkitError


def add_manifest_options(parser: argparse._ActionsContainer) -> None:
    """Declares `--columns`, `--patients`, `--task` and `--outside`."""
    add_columns_option(parser)
    add_patients_option(parser)
    add_tasks_option(parser)
    parser.add_argument(
        '--outside', action='store_true', help="allow paths that leave the manifest's folder"
    )


def add_tasks_option(parser: argparse._ActionsContainer) -> None:
    """Declares `--task`."""
    parser.add_argument(
        '--task',
        nargs='+',
        action='extend',
        default=[],
        metavar='NAME=COLUMN',
        help='column with the labels of a task; NAME alone if the column has the same name',
    )


def add_patients_option(parser: argparse._ActionsContainer) -> None:
    """Declares `--patients`."""
    parser.add_argument(
        '--patients',
        choices=get_args(PatientIds),
        default='check',
        help='as_written: 1, 01 and 1.0 are different patients; check: an error (%(default)s)',
    )


def add_columns_option(parser: argparse._ActionsContainer) -> None:
    """Declares `--columns`."""
    parser.add_argument(
        '--columns',
        nargs='+',
        action='extend',
        default=[],
        metavar='NAME=COLUMN',
        help='column names of the manifest: patient=case_id; patient= if it has no such column',
    )


def add_values_option(parser: argparse._ActionsContainer) -> None:
    """Declares `--values`."""
    parser.add_argument(
        '--values',
        nargs='+',
        action='extend',
        default=[],
        metavar='TASK:VALUE=CLASS',
        help='class of a value of the manifest: pathology:1=malignant; pathology:9= for a missing '
        'label',
    )


def parse_values(words: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """Parses `pathology:1=malignant` as classes by task and value; None for an empty class.

    Raises:
        ToolkitError: another form, or a repeated value.
    """
    values: dict[str, dict[str, str | None]] = {}
    for word in words:
        task, colon, rest = word.partition(':')
        value, equals, name = rest.rpartition('=')
        if not (task and colon and equals and value) or value in values.get(task, {}):
            raise ToolkitError(
                f'--values: found {word!r}, expected TASK:VALUE=CLASS, each value once'
            )
        values.setdefault(task, {})[value] = name or None
    return values


def parse_columns(words: Sequence[str]) -> dict[str, str | None]:
    """Parses `patient=case_id` as columns by name; None for an empty column.

    Raises:
        ToolkitError: another form, or a repeated name.
    """
    columns: dict[str, str | None] = {}
    for word in words:
        name, equals, column = word.partition('=')
        if not equals or not name or name in columns:
            raise ToolkitError(f'--columns: found {word!r}, expected NAME=COLUMN, each name once')
        columns[name] = column or None
    return columns


def parse_tasks(words: Sequence[str]) -> dict[str, str]:
    """Parses `malignancy=malignant` as columns by task.

    Raises:
        ToolkitError: a name without its column, or a repeated name.
    """
    tasks: dict[str, str] = {}
    for word in words:
        name, equals, column = word.partition('=')
        if not name or (equals and not column) or name in tasks:
            raise ToolkitError(f'--task: found {word!r}, expected NAME=COLUMN, each name once')
        tasks[name] = column or name
    return tasks
