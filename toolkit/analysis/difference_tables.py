"""Tables of differences between conditions, along axes, and of the effects of switches."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.analysis.aggregate import Analysis, Comparison
from toolkit.analysis.conditions import format_setting
from toolkit.analysis.designs.effects import Effect, find_effects
from toolkit.analysis.designs.shapley import pair_orders
from toolkit.analysis.interval_bars import Bar, Interval, make_bars
from toolkit.analysis.paired_tests import PairedTest
from toolkit.analysis.table_cells import (
    OTHER_CODE,
    Table,
    TableCell,
    get_trend,
    list_name_columns,
    make_name_cells,
    name_family,
)
from toolkit.io.tables import formatting


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
    rows, conditions = [], []
    for metric, higher in analysis.metrics.items():
        shown = TableCell(analysis.results.options.show(metric))
        found = {p: c for (p, name), c in comparisons.items() if name == metric}
        scaled = make_bars([_get_reach(c) for c in found.values()], zero=True)
        for (place, comparison), bar in zip(found.items(), scaled):
            names = [*make_name_cells(analysis, analysis.conditions[place]), shown]
            rows.append([*names, *_make_comparison_cells(comparison, bar, higher)[: len(columns)]])
            conditions.append(place)
    names = [*list_name_columns(analysis), 'metric']
    title = f'{analysis.results.name}: {title}'
    notes = list_comparison_notes(analysis)
    better = dict.fromkeys(('pairs', 'difference', '95 % interval', 'g', 'items'), True)
    return Table(
        title,
        [*names, *columns],
        rows,
        len(names),
        notes,
        better=[*([None] * len(names)), *(better.get(name, False) for name in columns)],
        conditions=conditions,
    )


_EFFECTS = (
    'Effect: mean difference between a switch on and off. Interaction (×): the mean amount by '
    'which the effect of one is larger where the other is on.'
)
_EFFECT_NOTES = {
    'factorial': _EFFECTS,
    'fractional': (
        f'{_EFFECTS} Only some combinations were run: a row with + or − is the sum of these '
        'effects; interactions of three or more are taken to be 0.'
    ),
    'shapley': 'Shapley value: mean difference that turning a switch on makes, over all orders.',
}


def make_effects_table(analysis: Analysis) -> Table:
    """Makes the table of main effects and interactions of a factorial study; else without rows."""
    show = analysis.results.options.show
    every, rows = find_effects(analysis), []
    is_one_order = len(pair_orders(analysis.results.options.orders)) == 1
    missing = (
        'one block has no spread',
        'one order has no spread' if is_one_order else 'runs do not vary',
    )
    for found in every:
        bars = make_bars([_get_effect_reach(effect) for effect in found.effects], zero=True)
        for effect, bar in zip(found.effects, bars):
            reach = [] if effect.low is None else [(effect.high - effect.low) / 2]
            digits = formatting.choose_digits([effect.estimate], reach)
            low, high = (formatting.format_signed(v, digits) for v in (effect.low, effect.high))
            names = make_name_cells(analysis, found.condition)[1:]
            rows.append(
                [
                    TableCell(' '.join([' × '.join(map(show, effect.switches)), *effect.aliases])),
                    *names,
                    TableCell(show(found.metric)),
                    TableCell(str(effect.blocks), value=effect.blocks),
                    TableCell(
                        formatting.format_signed(effect.estimate, digits), value=effect.estimate
                    ),
                    TableCell(
                        f'[{low}, {high}]'
                        if effect.low is not None
                        else missing[effect.blocks > 1],
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
    design = analysis.results.options.design
    kind = 'Shapley value' if design == 'shapley' else 'effect'
    names = [kind, *list_name_columns(analysis)[1:], 'metric']
    columns = [*names, 'blocks', 'estimate', '95 % interval', 'p', 'p (Holm)']
    tests = sum(e.p_holm is not None for found in every for e in found.effects)
    notes = [
        f'{_EFFECT_NOTES[design]} Least squares with seeds and folds as blocks; p (Holm): '
        f'corrected over these {tests} tests{name_family(analysis)}.',
        'These tests and those of the differences between variants are two families, each with at '
        'most 5 % false alarms: choose before the runs which of them answers your question.',
    ]
    if len({condition.is_seedless for condition in analysis.conditions}) > 1:
        notes.append(
            'Some variants train nothing and do not vary with the seed: each interval is that of '
            'its own values by block, with blocks − 1 degrees of freedom.'
        )
    notes += _list_code_notes(analysis)
    if design == 'shapley' and analysis.results.options.orders:
        count = len(analysis.results.options.orders)
        notes.append(f'From {count} sampled orders; intervals count their spread too.')
    what = 'Shapley values' if design == 'shapley' else 'effects'
    title = f'{analysis.results.name}: {what} of the switches'
    return Table(title, columns, rows, len(names), notes)


def _get_effect_reach(effect: Effect) -> Interval:
    if effect.low is None or effect.high is None:
        return (effect.estimate,) * 3
    return effect.low, effect.estimate, effect.high


def choose_difference_digits(test: PairedTest) -> int | None:
    """Chooses the digits of a difference: two of the reach of its own interval."""
    reach = [] if test.low is None or test.high is None else [(test.high - test.low) / 2]
    return formatting.choose_digits([test.difference or 0.0], reach)


def _make_comparison_cells(
    found: Comparison, bar: Bar | None, higher: bool | None
) -> list[TableCell]:
    """Makes the cells of pairs, difference, interval, p, corrected p, g, and the items' n and p.

    Where lower is better, a lower difference sorts as the better one.
    """
    test, items = found.runs, found.items
    worst = test.high if higher is False else test.low
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
        TableCell(difference, value=_orient(test.difference, higher), trend=get_trend(found)),
        TableCell(interval, value=_orient(worst, higher), bar=bar),
        TableCell(formatting.format_p(test.p), value=test.p),
        TableCell(
            formatting.format_p(found.runs_holm),
            formatting.format_stars(found.runs_holm),
            value=found.runs_holm,
        ),
        TableCell(formatting.format_number(test.effect, 2), value=_orient(test.effect, higher)),
        TableCell(str(items.n) if items.n else formatting.MISSING, value=items.n),
        TableCell(
            formatting.format_p(found.items_holm),
            formatting.format_stars(found.items_holm),
            value=found.items_holm,
        ),
    ]


def _orient(value: float | None, higher: bool | None) -> float | None:
    """Turns the sign of a value where lower is better."""
    return -value if value is not None and higher is False else value


def _get_reach(found: Comparison) -> Interval:
    test = found.runs
    if test.difference is None:
        return None
    if test.low is None or test.high is None:
        return (test.difference,) * 3
    return test.low, test.difference, test.high


def name_test(analysis: Analysis) -> str:
    """Names the test over runs."""
    if analysis.results.options.sequential is None:
        return 'paired t-test'
    return 'anytime-valid paired t-test'


def _list_code_notes(analysis: Analysis) -> list[str]:
    """Says that two results kept from other code may be of two codes."""
    if sum(any(run.other_code for run in c.runs) for c in analysis.conditions) < 2:
        return []
    return [
        f'{OTHER_CODE} Where several sides are marked, nothing shows that they were made with the '
        'same code: the difference and its p may be of the code; --rerun changed decides it.'
    ]


def list_comparison_notes(analysis: Analysis) -> list[str]:
    """Lists the meanings of the columns of the comparisons, and their tests."""
    runs, items = analysis.count_tests()
    notes = [
        'Difference: mean of (variant − reference) over pairs of runs with equal seed and fold. '
        f"g: Hedges' g of the paired differences. p: {name_test(analysis)}.",
        f'p (Holm): corrected over all {runs} tests over runs of this study{name_family(analysis)}.'
        if runs
        else 'No test over runs: no difference has pairs that vary.',
    ]
    notes += _list_code_notes(analysis)
    if len({condition.is_seedless for condition in analysis.conditions}) > 1:
        notes.append('A variant without training has no seeds: its run is paired with every seed.')
    if analysis.results.options.sequential is not None:
        notes.append(
            'Seeds were added after looking at results; tests and intervals are valid all the same '
            '(Gaussian mixture; Lai 1976).'
        )
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
