"""`toolkit audit`: finds duplicates, leaks and damaged files in a set of images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from plugins.classification.audit.annotations import find_damaged
from plugins.classification.audit.findings import Audit, examine
from plugins.classification.audit.html_page import write_page
from plugins.classification.audit.scan import scan
from plugins.classification.audit.sources import (
    AuditSource,
    find_folder,
    is_image_source,
    open_source,
)
from plugins.classification.audit.tables import Sheet, make_sheets, to_json
from plugins.classification.data.manifests.manifest_options import (
    add_manifest_options,
    parse_columns,
    parse_tasks,
)
from plugins.classification.data.split_file import load_split
from plugins.classification.image_record import list_files
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.interfaces import Auditor
from toolkit.io import atomic_write
from toolkit.io.data_paths import find_data_file
from toolkit.io.json_values import write_json
from toolkit.io.output_path import check_outputs, write_all_or_none
from toolkit.io.tables.formatting import format_csv
from toolkit.io.tables.shown_console import ShownConsole
from toolkit.registry import AUDITORS

SHOWN = 12  # rows of a list of images on the terminal


@AUDITORS.register
class ImageAuditor(Auditor):
    """Finds duplicates, label conflicts, leaks and damaged files among labelled images.

    DATA is a table of images, a folder of them (FOLDER/CLASS/IMAGE, FOLDER/SUBSET/CLASS/IMAGE) or
    a MedMNIST archive. The images are not changed. Images are
    equal if their files or pixels are equal. They are nearly the same if small copies of them
    correlate by more than --threshold, or by more than .9 and their details by more than --detail.
    """

    items = 'images'
    formats = 'a manifest with a column image, a folder of images, or a MedMNIST .npz'

    @classmethod
    def accepts(cls, paths: Sequence[str]) -> bool:
        return any(is_image_source(path) for path in paths)

    @classmethod
    def add_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        add = parser.add_argument
        add_manifest_options(parser)
        split = parser.add_mutually_exclusive_group()
        split.add_argument('--split', metavar='FILE', help='split that `toolkit split` saved')
        split.add_argument('--split-column', metavar='NAME', help='column that names the subset')
        add('--fold', type=int, default=0, metavar='N', help='fold of --split, from 0 (default: 0)')
        add('--threshold', type=float, default=0.98, metavar='R', help='default: %(default)s')
        add('--detail', type=float, default=0.65, metavar='R', help='default: %(default)s')
        add(
            '--annotations',
            type=Path,
            metavar='FOLDER',
            help='folder of XML and JSON files to check',
        )
        add(
            '--html',
            type=Path,
            metavar='FILE',
            help='write a page that shows duplicates side by side',
        )
        add(
            '--groups',
            type=Path,
            metavar='FILE',
            help='write a CSV with id and group of each image: its patient, joined if images are '
            'nearly the same; as the patient column of a manifest, it keeps them together',
        )

    def audit(self, paths: Sequence[str], arguments: argparse.Namespace) -> int:
        if len(paths) > 1:
            raise ToolkitError(f'found {len(paths)} manifests of images, expected one')
        (arguments.manifest,) = paths
        for name in ('threshold', 'detail'):
            if not 0 < getattr(arguments, name) <= 1:
                raise ToolkitError(
                    f'--{name} is a correlation above 0 and up to 1, found '
                    f'{getattr(arguments, name):g}'
                )
        if arguments.fold < 0:
            raise ToolkitError(f'--fold must be 0 or more, found {arguments.fold}')
        annotations, annotated = (
            find_damaged(arguments.annotations) if arguments.annotations else ({}, 0)
        )
        source = open_source(
            arguments.manifest,
            parse_columns(arguments.columns),
            parse_tasks(arguments.task),
            arguments.outside,
            arguments.patients,
        )
        _check_outputs(source, arguments)
        split, subset_of = _read_split(source, arguments)
        audit = examine(
            source.name,
            source.records,
            scan(source),
            source.tasks,
            arguments.threshold,
            arguments.detail,
            subset_of=subset_of,
            split=split,
            annotations=annotations,
            annotated=annotated,
        )
        _print(audit)
        outputs = [path for path in (arguments.json, arguments.groups, arguments.html) if path]
        with write_all_or_none(outputs):
            if arguments.json:
                write_json(arguments.json, to_json(audit))
            if arguments.groups:
                atomic_write.write(arguments.groups, _format_groups(audit))
            if arguments.html:
                write_page(audit, source.read, arguments.html)
        for path in outputs:
            print(f'wrote {path}')
        return 0


def _check_outputs(source: AuditSource, arguments: argparse.Namespace) -> None:
    named = {n: p for n in ('json', 'html', 'groups') if (p := getattr(arguments, n)) is not None}
    annotations: Path | None = arguments.annotations
    inputs = [
        *([] if find_folder(arguments.manifest) else [find_data_file(arguments.manifest)]),
        *filter(None, [arguments.split]),
        *list_files(source.records),
        *(() if annotations is None else annotations.rglob('*')),
    ]
    check_outputs(
        named.values(),
        inputs,
        overwrite=arguments.overwrite,
        option=' or '.join(f'--{name}' for name in named),
    )


def _read_split(source: AuditSource, arguments: argparse.Namespace) -> tuple[str, dict[int, str]]:
    """Returns the name of the split, and the subset of each image that is in it."""
    if arguments.split:
        by_id = load_split(arguments.split, source.records, arguments.fold)
        name = f'{Path(arguments.split).name}, fold {arguments.fold}'
        return name, {i: by_id[r.id] for i, r in enumerate(source.records) if r.id in by_id}
    column = arguments.split_column or source.split_column
    if not column:
        return '', {}
    known = {name for record in source.records for name in record.attributes}
    if column not in known:
        raise ToolkitError(
            f'--split-column: {source.name} has no column {column!r}{did_you_mean(column, known)}; '
            f'it has: {", ".join(sorted(known))}'
        )
    values = {i: record.attributes.get(column, '') for i, record in enumerate(source.records)}
    return column, {i: value for i, value in values.items() if value}


def _format_groups(audit: Audit) -> str:
    rows = zip((record.id for record in audit.records), audit.name_groups(), strict=True)
    return format_csv(('id', 'group'), rows)


def _print(audit: Audit) -> None:
    console = ShownConsole()
    for sheet in make_sheets(audit):
        shown = SHOWN if sheet.listing else len(sheet.rows)
        console.print(_make_table(sheet, shown))
        if len(sheet.rows) > shown:
            print(f'{len(sheet.rows) - shown} more are in --json and --html')
        if sheet.note:
            print(sheet.note)
        print()


def _make_table(sheet: Sheet, shown: int) -> Table:
    table = Table(title=sheet.title, title_justify='left', title_style='bold')
    for place, column in enumerate(sheet.columns):
        number = all(isinstance(row[place], int) for row in sheet.rows)
        table.add_column(column, justify='right' if number else 'left', overflow='fold')
    for row in sheet.rows[:shown]:
        table.add_row(*(str(cell) for cell in row))
    return table
