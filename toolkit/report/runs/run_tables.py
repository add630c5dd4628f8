"""Tables of single runs, of hyperparameters, and of several studies side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from toolkit.analysis.aggregate import Analysis
from toolkit.analysis.conditions import Condition
from toolkit.analysis.table_cells import (
    Table,
    TableCell,
    format_heading,
    list_name_columns,
    make_name_cells,
)
from toolkit.analysis.tables import choose_metric_digits, format_summary
from toolkit.io.run_results import RunResult
from toolkit.io.tables import formatting


def make_runs_table(analysis: Analysis) -> Table:
    """Makes the table of all runs with their metrics, a row per run."""
    options = analysis.results.options
    digits = {
        metric: options.digits.get(
            metric,
            choose_metric_digits([analysis.summarize(c, metric) for c in analysis.conditions]),
        )
        for metric in analysis.metrics
    }
    has_folds = any(run.fold is not None for run in analysis.results.runs)
    rows, conditions, statuses = [], [], []
    for place, condition in enumerate(analysis.conditions):
        names = make_name_cells(analysis, condition)
        for run in condition.runs:
            rows.append([TableCell(run.id), *names, *_make_cells(run, digits, has_folds)])
            conditions.append(place)
            statuses.append(run.status)
    names = ['run', *list_name_columns(analysis), 'status']
    headings = [
        format_heading(options.show(metric), better) for metric, better in analysis.metrics.items()
    ]
    folds = ['fold'] if has_folds else []
    columns = [*names, 'seed', *folds, *headings, 'time', 'memory']
    better = [None] * (len(names) + 1 + len(folds)) + [*analysis.metrics.values(), False, False]
    title = f'{analysis.results.name}: all runs'
    return Table(
        title,
        columns,
        rows,
        len(names),
        better=better,
        conditions=conditions,
        statuses=statuses,
    )


def _make_cells(
    run: RunResult, digits: Mapping[str, int | None], has_folds: bool
) -> list[TableCell]:
    fold = formatting.MISSING if run.fold is None else str(run.fold)
    return [
        TableCell(run.status),
        TableCell(str(run.seed), value=run.seed),
        *([TableCell(fold, value=run.fold)] if has_folds else []),
        *(
            TableCell(formatting.format_number(value, digits[metric]), value=value)
            for metric, value in ((metric, run.metrics.get(metric)) for metric in digits)
        ),
        TableCell(formatting.format_duration(run.seconds), value=run.seconds),
        TableCell(formatting.format_memory(run.memory), value=run.memory),
    ]


def insert_hyperparameters(table: Table, values: Mapping[str, Sequence[str]]) -> Table:
    """Inserts a column after the names for each value of the config, by condition."""
    places = table.conditions
    rows = [
        [
            *row[: table.left],
            *(TableCell(column[place] or formatting.MISSING) for column in values.values()),
            *row[table.left :],
        ]
        for row, place in zip(table.rows, places, strict=True)
    ]
    added = [None] * len(values)
    return dataclasses.replace(
        table,
        columns=[*table.columns[: table.left], *values, *table.columns[table.left :]],
        rows=rows,
        left=table.left + len(values),
        better=[*table.better[: table.left], *added, *table.better[table.left :]],
    )


def make_studies_table(analyses: Sequence[Analysis]) -> Table | None:
    """Makes the table of conditions that several studies have; None if there is none."""
    found: list[dict[str, Condition]] = [
        {condition.label: condition for condition in analysis.conditions} for analysis in analyses
    ]
    counts = [label for conditions in found for label in conditions]
    labels = [label for label in dict.fromkeys(counts) if counts.count(label) > 1]
    metrics: dict[str, bool | None] = {}
    for analysis in analyses:
        metrics |= {name: metrics.get(name, better) for name, better in analysis.metrics.items()}
    shown = [
        (name, place)
        for name in metrics
        for place, analysis in enumerate(analyses)
        if name in analysis.metrics
    ]
    if not labels or not shown:
        return None
    rows = []
    for label in labels:
        cells = []
        for name, place in shown:
            condition = found[place].get(label)
            if condition is None:
                cells.append(TableCell(formatting.MISSING))
                continue
            score = analyses[place].summarize(condition, name)
            text = format_summary(score, condition, choose_metric_digits([score]))
            cells.append(TableCell(text, value=score.mean))
        rows.append([TableCell(label), *cells])
    columns = [
        f'{format_heading(name, metrics[name])} {analyses[place].results.name}'
        for name, place in shown
    ]
    return Table(
        'studies',
        ['condition', *columns],
        rows,
        1,
        ['Mean ± standard deviation over the runs of each study. Differences are not tested.'],
        better=[None, *(metrics[name] for name, _ in shown)],
    )
