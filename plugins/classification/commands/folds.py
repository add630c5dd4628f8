"""`toolkit folds`: make splits of a manifest once, look at them, and save them."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from plugins.classification.audit.sources import ManifestSource
from plugins.classification.data.manifest_options import (
    add_manifest_options,
    parse_columns,
    parse_tasks,
)
from plugins.classification.data.split import PARTS, Parts, SplitSpec, check_classes, divide
from plugins.classification.data.split_file import save_split
from plugins.classification.tasks import Task
from toolkit.errors import ToolkitError
from toolkit.io.data_paths import data_path
from toolkit.registry import COMMANDS
from toolkit.registry.command import Command

SUFFIX = '.folds.json'


@COMMANDS.register(name='folds')
class FoldsCommand(Command):
    """Split a manifest of images into folds, patients together and classes in equal shares.

    Writes a file that datasets take as `split: {by: file, file: FILE, fold: 0}`. It holds the ids
    of each part and a hash of ids and patients, and is refused once these have changed.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('manifest', metavar='MANIFEST', help='CSV or Parquet file with an image a row')
        add_manifest_options(parser)
        add(
            '--by',
            choices=('folds', 'holdout', 'centre'),
            default='folds',
            help='k folds, one share, or a fold for each centre (default: %(default)s)',
        )
        add('--folds', type=int, default=5, metavar='K', help='default: %(default)s')
        add('--test', type=float, default=0.2, metavar='SHARE', help='with --by holdout (0.2)')
        add(
            '--val',
            type=float,
            default=0.15,
            metavar='SHARE',
            help='of what is not test (default: %(default)s)',
        )
        add('--seed', type=int, default=0, metavar='N', help='of the draw (default: 0)')
        add(
            '--empty',
            choices=('error', 'allow'),
            default='error',
            help='what becomes of a part without a sample of a class (default: %(default)s)',
        )
        add('--output', type=Path, metavar='FILE', help=f'default: beside MANIFEST, {SUFFIX}')
        add('--overwrite', action='store_true', help='replace splits that are there')

    def run(self, arguments: argparse.Namespace) -> int:
        manifest = data_path(arguments.manifest)
        output = arguments.output or manifest.with_name(manifest.stem + SUFFIX)
        if output.is_dir():
            raise ToolkitError(f'cannot write {output}: it is a folder; name the file')
        if output.exists() and not arguments.overwrite:
            raise ToolkitError(
                f'{output} is there already; keep it, as results depend on it, or replace it with '
                '--overwrite'
            )
        columns, named = parse_columns(arguments.columns), parse_tasks(arguments.task)
        source = ManifestSource(manifest, columns, named, arguments.outside)
        tasks = {name: _task(source, name) for name in source.tasks}
        how = {name: getattr(arguments, name) for name in ('by', 'folds', 'test', 'val', 'seed')}
        count = {'folds': arguments.folds, 'holdout': 1}.get(arguments.by) or len(
            {record.centre for record in source.records}
        )
        made = []
        for fold in range(count):
            try:
                spec = SplitSpec(**how, fold=fold)
            except ValueError as error:
                raise ToolkitError(f'--{error}') from error
            made.append(divide(source.records, spec, tasks))
        for fold, parts in enumerate(made):
            for part in PARTS if arguments.empty == 'error' else ():
                if parts[part] or (part == 'val' and arguments.val):
                    members = [source.records[i] for i in parts[part]]
                    check_classes(members, tasks, f'{part} of fold {fold}')
        ids = [
            {part: [source.records[i].id for i in parts[part]] for part in PARTS} for parts in made
        ]
        digest = save_split(output, source.records, ids, how)
        Console().print(_table(source, made))
        print(f'written to {output} ({digest[:16]})')
        return 0


def _task(source: ManifestSource, name: str) -> Task:
    found = {record.labels[name] for record in source.records if name in record.labels}
    if len(found) < 2:
        raise ToolkitError(
            f'--task {name}: expected two classes or more, found {", ".join(found) or "none"}'
        )
    return Task(tuple(sorted(found)))


def _table(source: ManifestSource, made: Sequence[Parts]) -> Table:
    patients = len({record.patient for record in source.records})
    title = f'{source.name}: {len(source.records)} images, {patients} patients'
    table = Table(title=title, title_justify='left')
    table.add_column('fold', justify='right')
    table.add_column('part')
    table.add_column('images', justify='right')
    table.add_column('patients', justify='right')
    for task in source.tasks:
        table.add_column(task)
    for fold, parts in enumerate(made):
        for part in PARTS:
            members = [source.records[i] for i in parts[part]]
            counts = [Counter(r.labels.get(task, '-') for r in members) for task in source.tasks]
            table.add_row(
                str(fold),
                part,
                str(len(members)),
                str(len({record.patient for record in members})),
                *(' '.join(f'{k}:{n}' for k, n in sorted(count.items())) for count in counts),
            )
    return table
