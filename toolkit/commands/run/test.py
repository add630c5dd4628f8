"""`toolkit test`: tests a trained run and prints its metrics."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.commands.arguments import add_config, add_plugins, add_trained_run, load_given_run
from toolkit.errors import ToolkitError
from toolkit.io.json_values import parse_json
from toolkit.io.shown_output import protect_output
from toolkit.io.tables.formatting import format_text_table
from toolkit.registry.command import Command


class TestCommand(Command):
    """Test a trained run and print its metrics."""

    __test__ = False  # a name that pytest would collect

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_config(parser, required=False)
        add_trained_run(parser)
        add_plugins(parser)
        parser.add_argument(
            '--work-dir',
            type=Path,
            metavar='DIR',
            help='folder for metrics.json (default: that of the run)',
        )

    @protect_output()
    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.engine.process import distributed
        from toolkit.io.run_layout import METRICS_FILE
        from toolkit.run.capsule import make_capsule_input
        from toolkit.run.changes import check_test_config
        from toolkit.run.load_run import load_config
        from toolkit.run.test import test

        trained = load_given_run(arguments)
        folder = arguments.work_dir or arguments.run_dir
        if folder is None:
            raise ToolkitError('name the folder for metrics.json: --work-dir DIR')
        if trained.config.replaced_plugins and folder == arguments.run_dir:
            names = ', '.join(trained.config.replaced_plugins)
            raise ToolkitError(
                f'{folder} is of a run with its own {names}; results of the other version belong '
                'into another folder: give --work-dir DIR'
            )
        if arguments.run_dir is not None and arguments.overrides:
            before = load_config(None, (), arguments.run_dir).tree
            check_test_config(arguments.run_dir, folder, before, trained.config.tree)
        with trained.config.locate_errors():
            capsule_input = make_capsule_input(trained.config)
            test(trained.run, folder, trained.weights, capsule_input=capsule_input)
        if distributed.is_main():
            record = parse_json((folder / METRICS_FILE).read_text(encoding='utf-8'))
            print(format_metrics(record['metrics'], record['directions']))
            if record.get('overlap'):
                print(f'note: {record["overlap"]}')
            print(f'written to {folder / METRICS_FILE}')
        return 0


def format_metrics(metrics: dict[str, float | None], directions: dict[str, bool]) -> str:
    """Formats metrics as an aligned table; `SAM/upsampled` is a further column of the row `SAM`.

    Metrics of several values (`key.value`) whose columns differ get tables of their own.

    Args:
        metrics: values by name; None for one that is not finite.
        directions: by name, True if higher is better.
    """
    groups: dict[str, dict[str, float | None]] = {}
    for name, value in metrics.items():
        key, dot, _ = name.partition('/')[0].partition('.')
        groups.setdefault(key if dot else '', {})[name] = value
    columns = [{name.partition('/')[2] for name in group} for group in groups.values()]
    if all(found == columns[0] for found in columns):
        return _format_group(metrics, directions)
    return '\n\n'.join(_format_group(group, directions) for group in groups.values())


def _format_group(metrics: dict[str, float | None], directions: dict[str, bool]) -> str:
    columns = list(dict.fromkeys(name.partition('/')[2] for name in metrics))
    rows: dict[str, dict[str, str]] = {}
    for name, value in metrics.items():
        metric, _, column = name.partition('/')
        rows.setdefault(metric, {})[column] = 'not finite' if value is None else f'{value:.6g}'
    cells = [['metric', 'better', *(column or 'value' for column in columns)]]
    for metric, values in rows.items():
        known = [d for name, d in directions.items() if name.partition('/')[0] == metric]
        better = {True: 'higher', False: 'lower'}[known[0]] if known else ''
        cells.append([metric, better, *(values.get(column, '') for column in columns)])
    return format_text_table(cells, left=2)
