"""Tables of a study's results and missing runs, and all tables in order."""

from __future__ import annotations

from toolkit.analysis.aggregate import Analysis
from toolkit.analysis.conditions import Condition, MetricSummary, summarize_costs
from toolkit.analysis.difference_tables import (
    make_axis_table,
    make_comparison_table,
    make_effects_table,
    name_test,
)
from toolkit.analysis.interval_bars import Interval, make_bars
from toolkit.analysis.search.trials import make_trials_table
from toolkit.analysis.table_cells import (
    CHANGED,
    OTHER_CODE,
    Table,
    TableCell,
    format_heading,
    get_trend,
    list_name_columns,
    make_name_cells,
    name_family,
)
from toolkit.errors import list_few
from toolkit.io.tables import formatting

COSTS = ('parameters', 'MACs', 'time', 'memory')


def make_tables(analysis: Analysis) -> list[Table]:
    """Makes the tables of results, comparisons, missing runs and trials, without empty ones."""
    tables = [
        make_results_table(analysis),
        make_comparison_table(analysis),
        *(make_axis_table(analysis, axis) for axis in analysis.results.options.along),
        make_effects_table(analysis),
        make_missing_table(analysis),
        make_trials_table(analysis.results),
    ]
    return [table for table in tables if table is not None and table.rows]


def make_results_table(analysis: Analysis) -> Table:
    """Makes the table of metrics (mean and standard deviation) and costs, a row per condition."""
    scores = [_make_metric_column(analysis, metric) for metric in analysis.metrics]
    options = analysis.results.options
    known = ['n', *analysis.metrics, *COSTS]
    chosen = options.columns or [*known[: -len(COSTS)], *_list_known_costs(analysis)]
    rows = []
    for place, condition in enumerate(analysis.conditions):
        runs = TableCell(format_runs(condition), value=len(condition.select_runs('finished')))
        cells = [runs, *(column[place] for column in scores), *_make_cost_cells(condition)]
        found = dict(zip(known, cells, strict=True))
        # A metric that no run reports yet has no column.
        row = [found[name] for name in chosen if name in found]
        rows.append([*make_name_cells(analysis, condition), *row])
    headings = {
        metric: format_heading(options.show(metric), better)
        for metric, better in analysis.metrics.items()
    }
    names = list_name_columns(analysis)
    shown = [name for name in chosen if name in known]
    columns = [*names, *(headings.get(name, name) for name in shown)]
    directions = {'n': True, **dict.fromkeys(COSTS, False), **analysis.metrics}
    return Table(
        analysis.results.name,
        columns,
        rows,
        len(names),
        list_result_notes(analysis),
        better=[*([None] * len(names)), *(directions[name] for name in shown)],
        conditions=range(len(rows)),
    )


def _list_known_costs(analysis: Analysis) -> list[str]:
    """Lists the costs to show: without sizes of systems where none is known, as of a program."""
    costs = [summarize_costs(condition) for condition in analysis.conditions]
    sizes = [cost.parameters for cost in costs], [cost.macs for cost in costs]
    unknown = [all(size is None for size in found) for found in sizes]
    return [name for name, is_out in zip(COSTS, [*unknown, False, False]) if not is_out]


def _make_metric_column(analysis: Analysis, metric: str) -> list[TableCell]:
    """Makes the cells of a metric, one per condition."""
    scores = [analysis.summarize(condition, metric) for condition in analysis.conditions]
    best = analysis.find_best(metric)
    digits = analysis.results.options.digits.get(metric, choose_metric_digits(scores))
    column = []
    for place, (condition, bar) in enumerate(
        zip(analysis.conditions, make_bars([_get_spread(s) for s in scores]))
    ):
        found = analysis.comparisons.get((place, metric))
        stars = formatting.format_stars(found.runs_holm) if found else ''
        text = format_summary(scores[place], condition, digits)
        mean = scores[place].mean
        trend = get_trend(found) if stars else ''
        column.append(TableCell(text, stars, condition in best, mean, bar, trend))
    return column


def make_missing_table(analysis: Analysis) -> Table:
    """Makes the table of runs that have not finished, or finished without a metric."""
    rows, conditions = [], []
    places = {run.id: n for n, c in enumerate(analysis.conditions) for run in c.runs}
    for run in analysis.results.runs:
        lacking = [name for name in analysis.metrics if run.metrics.get(name) is None]
        if run.status == 'finished' and not lacking:
            continue
        message = run.message
        if run.status == 'finished':
            message = f'without {", ".join(lacking)}' + (f'; {message}' if message else '')
        texts = (run.id, run.status, str(run.attempts), message or formatting.MISSING)
        rows.append([TableCell(text) for text in texts])
        conditions.append(places[run.id])
    columns = ['run', 'status', 'attempts', 'message']
    title = f'{analysis.results.name}: runs without results'
    return Table(title, columns, rows, 4, conditions=conditions)


# -- texts -----------------------------------------------------------------------------------------


def choose_metric_digits(scores: list[MetricSummary]) -> int | None:
    """Chooses the digits after the point for the column of a metric."""
    return formatting.choose_digits(
        [s.mean for s in scores if s.mean is not None], [s.sd for s in scores if s.sd is not None]
    )


def format_summary(score: MetricSummary, condition: Condition, digits: int | None) -> str:
    """Formats mean and standard deviation, with n if some runs lack the value.

    Without values it is the status of the runs, if they share one.
    """
    if score.mean is None:
        statuses = {run.status for run in condition.runs}
        alone = len(statuses) == 1 and 'finished' not in statuses
        return statuses.pop() if alone else formatting.MISSING
    text = formatting.format_number(score.mean, digits)
    if score.sd is not None:
        text += f' ± {formatting.format_number(score.sd, digits)}'
    if score.n != len(condition.select_runs('finished')):
        text += f' (n = {score.n})'
    return text


def _get_spread(score: MetricSummary) -> Interval:
    if score.mean is None:
        return None
    return score.mean - (score.sd or 0), score.mean, score.mean + (score.sd or 0)


def format_runs(condition: Condition) -> str:
    """Formats the numbers of finished, planned and failed runs: '5', '3/5', '4/5 (1 failed)'."""
    done, failed = (len(condition.select_runs(status)) for status in ('finished', 'failed'))
    text = str(done) if done == len(condition.runs) else f'{done}/{len(condition.runs)}'
    return f'{text} ({failed} failed)' if failed else text


def _make_cost_cells(condition: Condition) -> list[TableCell]:
    found = summarize_costs(condition)
    return [
        TableCell(formatting.format_count(found.parameters), value=found.parameters),
        TableCell(formatting.format_count(found.macs), value=found.macs),
        TableCell(formatting.format_duration(found.seconds), value=found.seconds),
        TableCell(formatting.format_memory(found.memory), value=found.memory),
    ]


def list_result_notes(analysis: Analysis) -> list[str]:
    """Lists the meanings of the marks and columns of the results."""
    notes = ['↑ higher is better, ↓ lower.']
    if any(len(condition.runs) > 1 for condition in analysis.conditions):
        notes = [
            'Mean ± standard deviation over n runs (seeds and folds); ↑ higher is better, ↓ lower.',
            'Time: mean of a run; memory: the highest of a run.',
        ]
    if (tests := analysis.count_tests()[0]) > 0:
        notes.append(
            '* p < 0.05, ** p < 0.01, *** p < 0.001: differs from '
            f'{analysis.results.options.show(analysis.results.compare_to or "the first value")} '
            f'({name_test(analysis)} over seeds and folds, Holm-corrected over all {tests} tests'
            f'{name_family(analysis)}).'
        )
    for count in sorted({run.processes for run in analysis.results.runs} - {1}):
        notes.append(
            f'Trained by {count} processes together, each with a batch of its own: an iteration '
            f'has {count} times batch_size samples.'
        )
    for common in dict.fromkeys(run.overlap for run in analysis.results.runs if run.overlap):
        told = [run.id for run in analysis.results.runs if run.overlap == common]
        notes.append(f'Not held apart: {common} ({list_few(told)}).')
    done = sum(run.status == 'finished' for run in analysis.results.runs)
    if done < len(analysis.results.runs):
        notes.append(f'{done} of {len(analysis.results.runs)} runs have finished.')
    if other := [run.id for run in analysis.results.runs if run.other_code]:
        notes.append(
            f'{OTHER_CODE} made with other code or packages than when the study was last started, '
            f'and not compared with runs that were not: {list_few(other)}; run them anew by '
            '--rerun changed.'
        )
    if mixed := [c.label for c in analysis.conditions if c.has_several_codes]:
        notes.append(
            f'{OTHER_CODE} The mean and the spread of {"; ".join(mixed)} are over runs of different'
            ' code or packages, and may be theirs in part.'
        )
    changed = analysis.results.changed
    for paths in dict.fromkeys(changed.values()):
        told = [run for run, found in changed.items() if found == paths]
        notes.append(
            f'{CHANGED} {list_few(paths)} changed after the study was last started, and these '
            f'results are of what was there before: {list_few(told)}; --plan says what belongs to '
            'the study still.'
        )
    return notes
