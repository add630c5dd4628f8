"""`toolkit split` for manifests of images."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from plugins.classification.audit.sources import ManifestSource
from plugins.classification.data.manifests.manifest_options import (
    add_columns_option,
    add_patients_option,
    add_tasks_option,
    parse_columns,
    parse_tasks,
)
from plugins.classification.data.split import (
    SplitPositions,
    SplitSpec,
    check_classes,
    split_records,
)
from plugins.classification.data.split_file import SUBSETS, save_split
from plugins.classification.image_record import list_files
from plugins.classification.tasks import MISSING_NAMES, Task
from toolkit.errors import ToolkitError
from toolkit.interfaces import Splitter
from toolkit.io.output_path import check_outputs
from toolkit.io.tables.shown_console import ShownConsole
from toolkit.registry import SPLITTERS


@SPLITTERS.register
class ImageSplitter(Splitter):
    """Assigns images to folds; those of a patient stay together, classes have equal shares.

    Datasets take the file as `split: {by: file, file: FILE, fold: 0}`. It holds the ids of each
    subset and a hash of ids and patients.
    """

    items = 'images'
    columns = ('image',)
    suffix = '.folds.json'

    @classmethod
    def add_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        """Declares the options of the manifest and those of `SplitSpec`."""
        add_columns_option(parser)
        add_patients_option(parser)
        add_tasks_option(parser)
        add = parser.add_argument
        add(
            '--by',
            choices=('folds', 'holdout', 'centre'),
            default='folds',
            help='k folds, one share, or one fold for each centre (default: %(default)s)',
        )
        add('--folds', type=int, default=5, metavar='K', help='with --by folds (%(default)s)')
        add(
            '--test',
            type=float,
            default=0.2,
            metavar='SHARE',
            help='with --by holdout (%(default)s)',
        )
        add(
            '--val',
            type=float,
            default=0.15,
            metavar='SHARE',
            help='share of the images outside the test (default: %(default)s)',
        )
        add(
            '--meant',
            nargs='+',
            default=[],
            metavar='CLASS',
            help="classes that are meant although they look like missing values, such as 'unknown'",
        )
        add(
            '--empty',
            choices=('error', 'allow'),
            default='error',
            help='for a subset without a sample of a class (default: %(default)s)',
        )

    @classmethod
    def accepts(cls, columns: Sequence[str], arguments: argparse.Namespace) -> bool:
        """Tells whether the manifest has the column `image`, or the one that --columns names."""
        named = parse_columns(getattr(arguments, 'columns', []))
        return named.get('image', 'image') in columns

    def split(self, manifest: Path, output: Path, arguments: argparse.Namespace) -> str:
        """Splits the images into folds, into one holdout, or by centre; see `SplitSpec`."""
        columns, named = parse_columns(arguments.columns), parse_tasks(arguments.task)
        source = ManifestSource(manifest, columns, named, arguments.outside, arguments.patients)
        check_outputs([output], list_files(source.records), overwrite=True)
        tasks = {name: _make_task(source, name, arguments.meant) for name in source.tasks}
        options = {name: getattr(arguments, name) for name in ('by', 'folds', 'test', 'val')}
        options['seed'] = arguments.seed
        count = {'folds': arguments.folds, 'holdout': 1}.get(arguments.by) or len(
            {record.centre for record in source.records}
        )
        folds = []
        for fold in range(count):
            try:
                spec = SplitSpec(**options, fold=fold)
            except ValueError as error:
                raise ToolkitError(f'--{error}') from error
            folds.append(split_records(source.records, spec, tasks))
        for fold, positions in enumerate(folds):
            for subset in SUBSETS if arguments.empty == 'error' else ():
                if positions[subset] or (subset == 'val' and arguments.val):
                    members = [source.records[i] for i in positions[subset]]
                    check_classes(members, tasks, f'{subset} of fold {fold}')
        ids = [
            {subset: [source.records[i].id for i in positions[subset]] for subset in SUBSETS}
            for positions in folds
        ]
        digest = save_split(output, source.records, ids, options)
        ShownConsole().print(_make_table(source, folds))
        return digest


def _make_task(source: ManifestSource, name: str, meant: Sequence[str]) -> Task:
    found = {record.labels[name] for record in source.records if name in record.labels}
    if len(found) < 2:
        raise ToolkitError(
            f'--task {name}: expected two classes or more, found {", ".join(found) or "none"}'
        )
    looking = sorted(text for text in found if text.casefold() in MISSING_NAMES)
    if unsure := [text for text in looking if text not in meant]:
        raise ToolkitError(
            f'--task {name}: {unsure[0]!r} is how tables write a missing value; blank these cells, '
            f'or say that it is a class by --meant {unsure[0]}'
        )
    return Task(tuple(sorted(found)), meant=tuple(meant))


def _make_table(source: ManifestSource, folds: Sequence[SplitPositions]) -> Table:
    patients = len({record.patient for record in source.records})
    title = f'{source.name}: {len(source.records)} images, {patients} patients'
    table = Table(title=title, title_justify='left')
    table.add_column('fold', justify='right')
    table.add_column('subset')
    table.add_column('images', justify='right')
    table.add_column('patients', justify='right')
    for task in source.tasks:
        table.add_column(task)
    for fold, positions in enumerate(folds):
        for subset in SUBSETS:
            members = [source.records[i] for i in positions[subset]]
            counts = [Counter(r.labels.get(task, '-') for r in members) for task in source.tasks]
            table.add_row(
                str(fold),
                subset,
                str(len(members)),
                str(len({record.patient for record in members})),
                *(' '.join(f'{k}:{n}' for k, n in sorted(count.items())) for count in counts),
            )
    return table
