"""`toolkit compare`: paired comparison of two tested runs of a classifier."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from plugins.classification.metrics.clinical_metrics import Level
from plugins.classification.metrics.functional.bootstrap import RESAMPLES
from plugins.classification.metrics.functional.patients import Aggregation
from plugins.classification.reporting.comparison import compare_runs, read_tested_run
from toolkit.errors import ToolkitError
from toolkit.io.json_values import write_json
from toolkit.io.output_path import check_outputs
from toolkit.io.run_layout import list_run_files
from toolkit.io.tables.formatting import format_text_table
from toolkit.registry import COMMANDS
from toolkit.registry.command import Command


@COMMANDS.register(name='compare')
class Compare(Command):
    """Compare two tested runs of a classifier on the same items.

    Each difference has a 95 % interval and a p-value of a paired bootstrap over patients; an AUC
    also has those of DeLong. Several runs of one side (seeds) are averaged. p is not corrected for
    the number of values, and does not cover the variation between seeds, which a study measures.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add(
            'runs',
            nargs='+',
            type=Path,
            metavar='RUN',
            help='RUN_A RUN_B; with --against all of A',
        )
        add('--against', nargs='+', type=Path, metavar='RUN', help='the runs of B')
        add('--task', metavar='T', help='whose predictions; needed where there are several')
        add('--value', action='append', metavar='NAME', help='only this one; may be repeated')
        add('--level', choices=get_args(Level), default='image', help='what counts as an item')
        add(
            '--aggregate',
            choices=get_args(Aggregation),
            help="rule that joins a patient's images (default: that of the run's test)",
        )
        add('--resamples', type=int, default=RESAMPLES, metavar='N')
        add('--seed', type=int, default=0, metavar='N', help='of the resampling')
        add('--json', type=Path, metavar='FILE', help='write the comparison here too')
        add('--overwrite', action='store_true', help='replace the file of --json if it exists')

    def run(self, arguments: argparse.Namespace) -> int:
        a, b = arguments.runs, arguments.against
        if b is None:
            if len(a) != 2:
                raise ToolkitError(
                    f'expected RUN_A RUN_B, found {len(a)} folders; several of a side are '
                    'RUN_A1 RUN_A2 --against RUN_B1 RUN_B2'
                )
            a, b = a[:1], a[1:]
        if arguments.resamples < 100:
            raise ToolkitError(f'--resamples must be at least 100, found {arguments.resamples}')
        if arguments.json is not None:
            check_outputs(
                [arguments.json],
                [path for folder in (*a, *b) for path in list_run_files(folder)],
                overwrite=arguments.overwrite,
                option='--json',
            )
        task = arguments.task
        sides = [[read_tested_run(folder, task) for folder in side] for side in (a, b)]
        found = compare_runs(
            *sides,
            names=arguments.value,
            level=arguments.level,
            aggregate=arguments.aggregate,
            resamples=arguments.resamples,
            seed=arguments.seed,
        )
        if arguments.json is not None:
            write_json(arguments.json, found)
        print(text(found))
        return 0


def text(found: Mapping[str, Any]) -> str:
    """A comparison as aligned text."""
    of = f'{found["patients"]} patients'
    if found['level'] == 'image':
        of = f'{found["items"]} images of {of}'
    lines = []
    for side in ('a', 'b'):
        runs = found[side]
        mean = f' (mean of {len(runs)} runs)' if len(runs) > 1 else ''
        lines.append(f'{side.upper()}: {", ".join(runs)}{mean}')
    lines.append(f'task {found["task"]}, {of}; differences are A less B')
    cells = [['value', 'better', 'A', 'B', 'difference', '95 % interval', 'p', "p of DeLong's"]]
    for name, value in found['values'].items():
        low, high = value['low'], value['high']
        cells.append(
            [
                name,
                value['better'],
                _shown(value['a']),
                _shown(value['b']),
                _shown(value['difference'], '+.4f'),
                '-' if low is None else f'[{low:+.4f}, {high:+.4f}]',
                _shown(value['p'], '.3g'),
                _shown((value['delong'] or {}).get('p'), '.3g') if 'delong' in value else '',
            ]
        )
    lines.append(format_text_table(cells, left=2))
    for name, value in found['values'].items():
        if value.get('why'):
            lines.append(f'{name} is not defined: {value["why"]}')
        if value.get('no_interval'):
            lines.append(f'{name} has no interval and no p: {value["no_interval"]}')
    lines.append(
        f'interval and p: paired bootstrap by patient, {found["resamples"]} resamples; p is not '
        'corrected for the number of values. Research use only.'
    )
    return '\n'.join(lines)


def _shown(value: float | None, form: str = '.4f') -> str:
    return '-' if value is None else format(value, form)
