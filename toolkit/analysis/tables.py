"""A study's tables as text in cells, the same for every style that prints them."""

from __future__ import annotations

from dataclasses import dataclass, field

from toolkit.analysis import formatting
from toolkit.analysis.aggregate import Analysis, Cell, Comparison, Score, cost, words
from toolkit.analysis.interval_bars import Bar, Interval, bars

COSTS = ('parameters', 'MACs', 'time', 'memory')


@dataclass(frozen=True)
class Text:
    """A cell of a table.

    Attributes:
        text: what it says.
        stars: of significance.
        best: whether it is the best of its column.
        value: what a table that can be sorted sorts by; the text where None.
        bar: where the value lies.
        trend: whether it is 'better' or 'worse' than the reference.
    """

    text: str
    stars: str = ''
    best: bool = False
    value: float | None = None
    bar: Bar | None = None
    trend: str = ''


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: what it shows.
        columns: headers.
        rows: of as many cells.
        left: how many columns at the left are words; the others are numbers.
        notes: what marks and columns mean.
    """

    title: str
    columns: list[str]
    rows: list[list[Text]]
    left: int
    notes: list[str] = field(default_factory=list)

    @property
    def marked(self) -> list[bool]:
        """For each column whether any of its cells has stars or a trend, which need room."""
        return [any(cell.stars or cell.trend for cell in column) for column in zip(*self.rows)]


def grids(analysis: Analysis) -> list[Grid]:
    """The results, the comparisons, and the runs that are missing; tables without rows left out."""
    tables = [results(analysis), comparisons(analysis), missing(analysis)]
    return [table for table in tables if table.rows]


def results(analysis: Analysis) -> Grid:
    """A row per cell: mean and standard deviation of each metric, and the costs."""
    scores = [_metric_column(analysis, metric) for metric in analysis.metrics]
    rows = [
        [
            *_names(analysis, cell),
            Text(runs_of(cell), value=len(cell.of_status('finished'))),
            *(column[place] for column in scores),
            *_costs(cell),
        ]
        for place, cell in enumerate(analysis.cells)
    ]
    name = analysis.results.name
    metrics = [heading(metric, better) for metric, better in analysis.metrics.items()]
    left = len(_name_columns(analysis))
    columns = [*_name_columns(analysis), 'n', *metrics, *COSTS]
    return Grid(name, columns, rows, left, result_notes(analysis))


def _metric_column(analysis: Analysis, metric: str) -> list[Text]:
    """A metric's cells, one for each of the analysis."""
    scores = [analysis.score(cell, metric) for cell in analysis.cells]
    best, digits = analysis.best(metric), digits_of(scores)
    column = []
    for place, (cell, bar) in enumerate(zip(analysis.cells, bars([_spread(s) for s in scores]))):
        found = analysis.comparisons.get((place, metric))
        stars = formatting.mark(found.runs_holm) if found else ''
        text = score_text(scores[place], cell, digits)
        mean = scores[place].mean
        trend = _trend(found) if stars else ''
        column.append(Text(text, stars, cell in best, mean, bar, trend))
    return column


def comparisons(analysis: Analysis) -> Grid:
    """A row per cell and metric: difference, confidence interval, p, effect size."""
    columns = ['pairs', 'difference', '95 % interval', 'p', 'p (Holm)', 'g']
    if analysis.family()[1]:
        columns += ['items', 'p (Holm) over items']
    rows = []
    for metric in analysis.metrics:
        digits = digits_of([analysis.score(cell, metric) for cell in analysis.cells])
        found = {p: c for (p, name), c in analysis.comparisons.items() if name == metric}
        scaled = bars([_reach(c) for c in found.values()], zero=True)
        for (place, comparison), bar in zip(found.items(), scaled):
            names = [*_names(analysis, analysis.cells[place]), Text(metric)]
            rows.append([*names, *_comparison(comparison, bar, digits)[: len(columns)]])
    names = [*_name_columns(analysis), 'metric']
    title = f'{analysis.results.name}: differences from {analysis.results.compare_to}'
    return Grid(title, [*names, *columns], rows, len(names), comparison_notes(analysis))


def missing(analysis: Analysis) -> Grid:
    """A row per run that has not finished, or finished without a metric of the study."""
    rows = []
    for run in analysis.results.runs:
        lacking = [name for name in analysis.metrics if run.metrics.get(name) is None]
        if run.status == 'finished' and not lacking:
            continue
        message = run.message
        if run.status == 'finished':
            message = f'without {", ".join(lacking)}' + (f'; {message}' if message else '')
        texts = (run.id, run.status, str(run.attempts), message or formatting.MISSING)
        rows.append([Text(text) for text in texts])
    columns = ['run', 'status', 'attempts', 'message']
    return Grid(f'{analysis.results.name}: runs without results', columns, rows, 4)


# -- texts -----------------------------------------------------------------------------------------


def digits_of(scores: list[Score]) -> int | None:
    """Digits after the point of a metric's column."""
    return formatting.decimals(
        [s.mean for s in scores if s.mean is not None], [s.sd for s in scores if s.sd is not None]
    )


def score_text(score: Score, cell: Cell, digits: int | None) -> str:
    """Mean and standard deviation, with n where it is not the row's; or why there is none."""
    if score.mean is None:
        statuses = {run.status for run in cell.runs}
        alone = len(statuses) == 1 and 'finished' not in statuses
        return statuses.pop() if alone else formatting.MISSING
    text = formatting.number(score.mean, digits)
    if score.sd is not None:
        text += f' ± {formatting.number(score.sd, digits)}'
    if score.n != len(cell.of_status('finished')):
        text += f' (n = {score.n})'
    return text


def _comparison(found: Comparison, bar: Bar | None, digits: int | None) -> list[Text]:
    """Pairs, difference, interval, p, corrected p, g, items, corrected p over items."""
    test, items = found.runs, found.items
    planned = test.n + found.unpaired
    finer = None if digits is None else digits + 1
    low, high = formatting.signed(test.low, finer), formatting.signed(test.high, finer)
    interval = test.why if test.low is None else f'[{low}, {high}]'
    difference = formatting.signed(test.difference, finer)
    return [
        Text(f'{test.n} of {planned}' if found.unpaired else str(test.n), value=test.n),
        Text(difference, value=test.difference, trend=_trend(found)),
        Text(interval, value=test.low, bar=bar),
        Text(formatting.probability(test.p), value=test.p),
        Text(
            formatting.probability(found.runs_holm),
            formatting.mark(found.runs_holm),
            value=found.runs_holm,
        ),
        Text(formatting.number(test.effect, 2), value=test.effect),
        Text(str(items.n) if items.n else formatting.MISSING, value=items.n),
        Text(
            formatting.probability(found.items_holm),
            formatting.mark(found.items_holm),
            value=found.items_holm,
        ),
    ]


def _spread(score: Score) -> Interval:
    if score.mean is None:
        return None
    return score.mean - (score.sd or 0), score.mean, score.mean + (score.sd or 0)


def _reach(found: Comparison) -> Interval:
    test = found.runs
    if test.difference is None:
        return None
    if test.low is None or test.high is None:
        return (test.difference,) * 3
    return test.low, test.difference, test.high


def _trend(found: Comparison | None) -> str:
    return {True: 'better', False: 'worse', None: ''}[found.better if found else None]


def runs_of(cell: Cell) -> str:
    """Runs that finished, out of how many where some did not, and how many failed."""
    done, failed = len(cell.of_status('finished')), len(cell.of_status('failed'))
    text = str(done) if done == len(cell.runs) else f'{done}/{len(cell.runs)}'
    return f'{text} ({failed} failed)' if failed else text


def _costs(cell: Cell) -> list[Text]:
    found = cost(cell)
    return [
        Text(formatting.count(found.parameters), value=found.parameters),
        Text(formatting.count(found.macs), value=found.macs),
        Text(formatting.format_duration(found.seconds), value=found.seconds),
        Text(formatting.memory(found.memory), value=found.memory),
    ]


def heading(metric: str, better: bool | None) -> str:
    """A metric's name with an arrow to the better values."""
    return metric if better is None else f'{metric} {"↑" if better else "↓"}'


def result_notes(analysis: Analysis) -> list[str]:
    """What the results' marks and columns mean."""
    notes = ['↑ higher is better, ↓ lower.']
    if any(len(cell.runs) > 1 for cell in analysis.cells):
        notes = [
            'Mean ± standard deviation over n runs (seeds and folds); ↑ higher is better, ↓ lower.',
            'Time: mean of a run; memory: the highest of a run.',
        ]
    if (tests := analysis.family()[0]) > 0:
        notes.append(
            f'* p < 0.05, ** p < 0.01, *** p < 0.001: differs from {analysis.results.compare_to} '
            f'(paired t-test over seeds and folds, Holm-corrected over all {tests} tests).'
        )
    done = sum(run.status == 'finished' for run in analysis.results.runs)
    if done < len(analysis.results.runs):
        notes.append(f'{done} of {len(analysis.results.runs)} runs have finished.')
    if other := [run.id for run in analysis.results.runs if run.other_code]:
        few = ', '.join(other[:3]) + (f' and {len(other) - 3} more' if len(other) > 3 else '')
        notes.append(
            f'Made with other code or packages than when the study was last started: {few}; '
            'run them anew by --rerun changed.'
        )
    return notes


def comparison_notes(analysis: Analysis) -> list[str]:
    """How the comparisons were made."""
    runs, items = analysis.family()
    notes = [
        'Difference: mean of (variant − reference) over pairs of runs with equal seed and fold. '
        "g: Hedges' g of the paired differences. p: paired t-test.",
        f'p (Holm): corrected over all {runs} tests over runs of this study.',
    ]
    if any(len({run.fold for run in cell.runs}) > 1 for cell in analysis.cells):
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


def _name_columns(analysis: Analysis) -> list[str]:
    return ['variant', *axis_names(analysis.axes), *(['data'] if analysis.has_data else [])]


def axis_names(paths: list[str]) -> list[str]:
    """Axes by their last key, by their whole path where two share it."""
    last = [path.rpartition('.')[2] for path in paths]
    return [path if last.count(key) > 1 else key for path, key in zip(paths, last)]


def _names(analysis: Analysis, cell: Cell) -> list[Text]:
    reference = ' (reference)' if cell.variant == analysis.results.compare_to else ''
    settings = [words(cell.settings[p]) if p in cell.settings else '-' for p in analysis.axes]
    data = [words(cell.data) if cell.data is not None else '-'] if analysis.has_data else []
    return [Text(text) for text in (cell.variant + reference, *settings, *data)]
