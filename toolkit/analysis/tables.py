"""Tables of a study's results, comparisons and missing runs, for every output format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from toolkit.analysis.aggregate import (
    Analysis,
    Comparison,
    Condition,
    MetricSummary,
    format_setting,
    summarize_costs,
)
from toolkit.analysis.effects import Effect, find_effects
from toolkit.analysis.interval_bars import Bar, Interval, make_bars
from toolkit.analysis.paired_tests import PairedTest
from toolkit.io import formatting

OTHER_CODE = '†'
MEANING_OF_BEST = (
    'better than every other row of its column and data set by more than noise '
    '(paired tests, Bonferroni-corrected, p < 0.05).'
)
COSTS = ('parameters', 'MACs', 'time', 'memory')


@dataclass(frozen=True)
class TableCell:
    """A cell of a table.

    Attributes:
        text: the formatted value.
        stars: of significance.
        best: True if it is better than the rest of its column by more than noise.
        value: number to sort by; None to sort by the text.
        bar: position of the value in the range of the column.
        trend: 'better' or 'worse' than the reference, or ''.
    """

    text: str
    stars: str = ''
    best: bool = False
    value: float | None = None
    bar: Bar | None = None
    trend: str = ''


@dataclass(frozen=True)
class Table:
    """A table with a title and notes.

    Attributes:
        title: of the table.
        columns: headers.
        rows: of as many cells.
        left: number of columns at the left that hold words; the others hold numbers.
        notes: meaning of marks and columns.
        meaning_of_best: of the mark of the best cell of a column.
    """

    title: str
    columns: list[str]
    rows: list[list[TableCell]]
    left: int
    notes: list[str] = field(default_factory=list)
    meaning_of_best: ClassVar[str] = MEANING_OF_BEST

    @property
    def marked_columns(self) -> list[bool]:
        """True for each column with stars or a trend in a cell, which need room."""
        return [any(cell.stars or cell.trend for cell in column) for column in zip(*self.rows)]

    @property
    def has_best(self) -> bool:
        """True if a cell is marked as the best of its column."""
        return any(cell.best for row in self.rows for cell in row)


def make_tables(analysis: Analysis) -> list[Table]:
    """Makes the tables of results, comparisons and missing runs, without those that are empty."""
    tables = [
        make_results_table(analysis),
        make_comparison_table(analysis),
        *(make_axis_table(analysis, axis) for axis in analysis.results.options.along),
        make_effects_table(analysis),
        make_missing_table(analysis),
    ]
    return [table for table in tables if table.rows]


def make_results_table(analysis: Analysis) -> Table:
    """Makes the table of metrics (mean and standard deviation) and costs, a row per condition."""
    scores = [_make_metric_column(analysis, metric) for metric in analysis.metrics]
    options = analysis.results.options
    known = ['n', *analysis.metrics, *COSTS]
    chosen = known if options.columns is None else options.columns
    rows = []
    for place, condition in enumerate(analysis.conditions):
        runs = TableCell(format_runs(condition), value=len(condition.select_runs('finished')))
        cells = [runs, *(column[place] for column in scores), *_make_cost_cells(condition)]
        found = dict(zip(known, cells, strict=True))
        # A metric that no run reports yet has no column.
        row = [found[name] for name in chosen if name in found]
        rows.append([*_make_name_cells(analysis, condition), *row])
    headings = {
        metric: format_heading(options.show(metric), better)
        for metric, better in analysis.metrics.items()
    }
    names = _list_name_columns(analysis)
    columns = [*names, *(headings.get(name, name) for name in chosen if name in known)]
    return Table(analysis.results.name, columns, rows, len(names), list_result_notes(analysis))


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
        trend = _get_trend(found) if stars else ''
        column.append(TableCell(text, stars, condition in best, mean, bar, trend))
    return column


def make_comparison_table(analysis: Analysis) -> Table:
    """Makes the table of differences, intervals, p and effect, a row per condition and metric."""
    options = analysis.results.options
    title = f'differences from {options.show(analysis.results.compare_to or "")}'
    return _make_difference_table(analysis, title, analysis.comparisons)


def make_axis_table(analysis: Analysis, axis: str) -> Table:
    """Makes the table of differences along an axis from the condition at its first value."""
    found = {(n, metric): c for (n, path, metric), c in analysis.along.items() if path == axis}
    first = next((c.settings[axis] for c in analysis.conditions if axis in c.settings), None)
    name = analysis.results.options.show(axis.rpartition('.')[2])
    title = f'differences along {name} from {format_setting(first)}'
    return _make_difference_table(analysis, title, found)


def _make_difference_table(
    analysis: Analysis, title: str, comparisons: Mapping[tuple[int, str], Comparison]
) -> Table:
    columns = ['pairs', 'difference', '95 % interval', 'p', 'p (Holm)', 'g']
    if analysis.count_tests()[1]:
        columns += ['items', 'p (Holm) over items']
    rows = []
    for metric in analysis.metrics:
        shown = TableCell(analysis.results.options.show(metric))
        found = {p: c for (p, name), c in comparisons.items() if name == metric}
        scaled = make_bars([_get_reach(c) for c in found.values()], zero=True)
        for (place, comparison), bar in zip(found.items(), scaled):
            names = [*_make_name_cells(analysis, analysis.conditions[place]), shown]
            rows.append([*names, *_make_comparison_cells(comparison, bar)[: len(columns)]])
    names = [*_list_name_columns(analysis), 'metric']
    title = f'{analysis.results.name}: {title}'
    return Table(title, [*names, *columns], rows, len(names), list_comparison_notes(analysis))


def make_effects_table(analysis: Analysis) -> Table:
    """Makes the table of main effects and interactions of a factorial study; else without rows."""
    show = analysis.results.options.show
    every, rows = find_effects(analysis), []
    for found in every:
        bars = make_bars([_get_effect_reach(effect) for effect in found.effects], zero=True)
        for effect, bar in zip(found.effects, bars):
            reach = [] if effect.low is None else [(effect.high - effect.low) / 2]
            digits = formatting.choose_digits([effect.estimate], reach)
            low, high = (formatting.format_signed(v, digits) for v in (effect.low, effect.high))
            names = _make_name_cells(analysis, found.condition)[1:]
            rows.append(
                [
                    TableCell(' × '.join(map(show, effect.switches))),
                    *names,
                    TableCell(show(found.metric)),
                    TableCell(str(effect.blocks), value=effect.blocks),
                    TableCell(
                        formatting.format_signed(effect.estimate, digits), value=effect.estimate
                    ),
                    TableCell(
                        'runs do not vary' if effect.low is None else f'[{low}, {high}]',
                        value=effect.low,
                        bar=bar,
                    ),
                    TableCell(formatting.format_p(effect.p), value=effect.p),
                    TableCell(
                        formatting.format_p(effect.p_holm),
                        formatting.format_stars(effect.p_holm),
                        value=effect.p_holm,
                    ),
                ]
            )
    names = ['effect', *_list_name_columns(analysis)[1:], 'metric']
    columns = [*names, 'blocks', 'estimate', '95 % interval', 'p', 'p (Holm)']
    tests = sum(e.p_holm is not None for found in every for e in found.effects)
    notes = [
        'Effect: mean difference between a switch on and off. Interaction (×): the mean amount by '
        'which the effect of one is larger where the other is on. Least squares with seeds and '
        f'folds as blocks; p (Holm): corrected over these {tests} tests{_name_family(analysis)}.'
    ]
    title = f'{analysis.results.name}: effects of the switches'
    return Table(title, columns, rows, len(names), notes)


def _get_effect_reach(effect: Effect) -> Interval:
    if effect.low is None or effect.high is None:
        return (effect.estimate,) * 3
    return effect.low, effect.estimate, effect.high


def make_missing_table(analysis: Analysis) -> Table:
    """Makes the table of runs that have not finished, or finished without a metric."""
    rows = []
    for run in analysis.results.runs:
        lacking = [name for name in analysis.metrics if run.metrics.get(name) is None]
        if run.status == 'finished' and not lacking:
            continue
        message = run.message
        if run.status == 'finished':
            message = f'without {", ".join(lacking)}' + (f'; {message}' if message else '')
        texts = (run.id, run.status, str(run.attempts), message or formatting.MISSING)
        rows.append([TableCell(text) for text in texts])
    columns = ['run', 'status', 'attempts', 'message']
    return Table(f'{analysis.results.name}: runs without results', columns, rows, 4)


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


def choose_difference_digits(test: PairedTest) -> int | None:
    """Chooses the digits of a difference: two of the reach of its own interval."""
    reach = [] if test.low is None or test.high is None else [(test.high - test.low) / 2]
    return formatting.choose_digits([test.difference or 0.0], reach)


def _make_comparison_cells(found: Comparison, bar: Bar | None) -> list[TableCell]:
    """Makes the cells of pairs, difference, interval, p, corrected p, g, and the items' n and p."""
    test, items = found.runs, found.items
    planned = test.n + found.unpaired
    finer = choose_difference_digits(test)
    low, high = (
        formatting.format_signed(test.low, finer),
        formatting.format_signed(test.high, finer),
    )
    interval = test.why if test.low is None else f'[{low}, {high}]'
    difference = formatting.format_signed(test.difference, finer)
    return [
        TableCell(f'{test.n} of {planned}' if found.unpaired else str(test.n), value=test.n),
        TableCell(difference, value=test.difference, trend=_get_trend(found)),
        TableCell(interval, value=test.low, bar=bar),
        TableCell(formatting.format_p(test.p), value=test.p),
        TableCell(
            formatting.format_p(found.runs_holm),
            formatting.format_stars(found.runs_holm),
            value=found.runs_holm,
        ),
        TableCell(formatting.format_number(test.effect, 2), value=test.effect),
        TableCell(str(items.n) if items.n else formatting.MISSING, value=items.n),
        TableCell(
            formatting.format_p(found.items_holm),
            formatting.format_stars(found.items_holm),
            value=found.items_holm,
        ),
    ]


def _get_spread(score: MetricSummary) -> Interval:
    if score.mean is None:
        return None
    return score.mean - (score.sd or 0), score.mean, score.mean + (score.sd or 0)


def _get_reach(found: Comparison) -> Interval:
    test = found.runs
    if test.difference is None:
        return None
    if test.low is None or test.high is None:
        return (test.difference,) * 3
    return test.low, test.difference, test.high


def _get_trend(found: Comparison | None) -> str:
    return {True: 'better', False: 'worse', None: ''}[found.better if found else None]


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


def format_heading(metric: str, better: bool | None) -> str:
    """Formats the name of a metric with an arrow to the better values."""
    return metric if better is None else f'{metric} {"↑" if better else "↓"}'


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
            f'(paired t-test over seeds and folds, Holm-corrected over all {tests} tests'
            f'{_name_family(analysis)}).'
        )
    for common in dict.fromkeys(run.overlap for run in analysis.results.runs if run.overlap):
        told = [run.id for run in analysis.results.runs if run.overlap == common]
        few = ', '.join(told[:3]) + (f' and {len(told) - 3} more' if len(told) > 3 else '')
        notes.append(f'Not held apart: {common} ({few}).')
    done = sum(run.status == 'finished' for run in analysis.results.runs)
    if done < len(analysis.results.runs):
        notes.append(f'{done} of {len(analysis.results.runs)} runs have finished.')
    if other := [run.id for run in analysis.results.runs if run.other_code]:
        few = ', '.join(other[:3]) + (f' and {len(other) - 3} more' if len(other) > 3 else '')
        notes.append(
            f'{OTHER_CODE} made with other code or packages than when the study was last started, '
            f'and not compared with runs that were not: {few}; run them anew by --rerun changed.'
        )
    return notes


def list_comparison_notes(analysis: Analysis) -> list[str]:
    """Lists the meanings of the columns of the comparisons, and their tests."""
    runs, items = analysis.count_tests()
    notes = [
        'Difference: mean of (variant − reference) over pairs of runs with equal seed and fold. '
        "g: Hedges' g of the paired differences. p: paired t-test.",
        f'p (Holm): corrected over all {runs} tests over runs of this study'
        f'{_name_family(analysis)}.',
    ]
    if analysis.results.options.primary is not None and len(analysis.metrics) > 1:
        notes.append('The p of other metrics are not corrected: they explore and prove nothing.')
    if any(len({run.fold for run in c.runs}) > 1 for c in analysis.conditions):
        notes.append('Folds share training data: variances are corrected by Nadeau and Bengio.')
    if items:
        notes.append(
            'Items: test items, each by its mean difference over the pairs; paired bootstrap-t, '
            f'corrected over all {items} tests over items.'
        )
    else:
        reasons = {c.items.why for c in analysis.comparisons.values() if c.runs.n}
        if reasons:
            notes.append(f'No test over test items: {"; ".join(sorted(reasons))}.')
    return notes


def _name_family(analysis: Analysis) -> str:
    options = analysis.results.options
    return '' if options.primary is None else f' of {options.show(options.primary)}'


def _list_name_columns(analysis: Analysis) -> list[str]:
    axes = [analysis.results.options.show(name) for name in name_axes(analysis.axes)]
    return ['variant', *axes, *(['data'] if analysis.has_data else [])]


def name_axes(paths: list[str]) -> list[str]:
    """Names axes by their last key, or by their whole path if two share the key."""
    last = [path.rpartition('.')[2] for path in paths]
    return [path if last.count(key) > 1 else key for path, key in zip(paths, last)]


def _make_name_cells(analysis: Analysis, condition: Condition) -> list[TableCell]:
    show = analysis.results.options.show
    reference = ' (reference)' if condition.variant == analysis.results.compare_to else ''
    if any(run.other_code for run in condition.runs):
        reference += f' {OTHER_CODE}'
    settings = [
        format_setting(condition.settings[path]) if path in condition.settings else '-'
        for path in analysis.axes
    ]
    data = []
    if analysis.has_data:
        data = ['-' if condition.data is None else show(format_setting(condition.data))]
    return [TableCell(text) for text in (show(condition.variant) + reference, *settings, *data)]
