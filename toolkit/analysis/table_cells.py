"""Table with cells, and the cells and headings that name conditions and metrics."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from toolkit.analysis.aggregate import Analysis, Comparison
from toolkit.analysis.conditions import Condition, format_setting
from toolkit.analysis.interval_bars import Bar

OTHER_CODE = '†'
CHANGED = '‡'
MEANING_OF_BEST = (
    'better than every other row of its column and data set by more than noise '
    '(paired tests, Bonferroni-corrected, p < 0.05).'
)

# Columns of the tables that an axis may be taken for.
COLUMNS = (
    *('variant', 'data', 'run', 'status', 'seed', 'fold', 'n', 'metric'),
    *('time', 'memory', 'parameters', 'MACs'),
)


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
        better: for each column whether higher numbers are better; None where neither is. Empty
            where no column has better numbers.
        conditions: for each row the index of its condition; empty where rows have none.
        statuses: for each row that of its run; empty where rows are of no single runs.
        meaning_of_best: of the mark of the best cell of a column.
    """

    title: str
    columns: list[str]
    rows: list[list[TableCell]]
    left: int
    notes: list[str] = field(default_factory=list)
    better: Sequence[bool | None] = ()
    conditions: Sequence[int] = ()
    statuses: Sequence[str] = ()
    meaning_of_best: ClassVar[str] = MEANING_OF_BEST

    @property
    def marked_columns(self) -> list[bool]:
        """True for each column with stars or a trend in a cell, which need room."""
        return [any(cell.stars or cell.trend for cell in column) for column in zip(*self.rows)]

    @property
    def has_best(self) -> bool:
        """True if a cell is marked as the best of its column."""
        return any(cell.best for row in self.rows for cell in row)


def get_trend(found: Comparison | None) -> str:
    """Gets the trend of a difference: better, worse or nothing."""
    return {True: 'better', False: 'worse', None: ''}[found.better if found else None]


def name_family(analysis: Analysis) -> str:
    """Names the family of the corrected tests, if it is that of a primary metric."""
    options = analysis.results.options
    return '' if options.primary is None else f' of {options.show(options.primary)}'


def list_name_columns(analysis: Analysis) -> list[str]:
    """Lists the headers of the columns that name a condition."""
    names = mark_axes(name_axes(analysis.axes), COLUMNS)
    axes = [analysis.results.options.show(name) for name in names]
    return ['variant', *axes, *(['data'] if analysis.has_data else [])]


def mark_axes(axes: Sequence[str], columns: Collection[str]) -> list[str]:
    """Marks the axes that bear the name of another column of a table."""
    return [f'{name} (axis)' if name in columns else name for name in axes]


def name_axes(paths: list[str]) -> list[str]:
    """Names axes by their last key, or by their whole path if two share the key."""
    last = [path.rpartition('.')[2] for path in paths]
    return [path if last.count(key) > 1 else key for path, key in zip(paths, last)]


def make_name_cells(analysis: Analysis, condition: Condition) -> list[TableCell]:
    """Makes the cells that name a condition."""
    show = analysis.results.options.show
    reference = ' (reference)' if condition.variant == analysis.results.compare_to else ''
    if any(run.other_code for run in condition.runs):
        reference += f' {OTHER_CODE}'
    if any(run.id in analysis.results.changed for run in condition.runs):
        reference += f' {CHANGED}'
    settings = [
        format_setting(condition.settings[path]) if path in condition.settings else '-'
        for path in analysis.axes
    ]
    data = []
    if analysis.has_data:
        data = ['-' if condition.data is None else show(format_setting(condition.data))]
    return [TableCell(text) for text in (show(condition.variant) + reference, *settings, *data)]


def format_heading(metric: str, better: bool | None) -> str:
    """Formats the name of a metric with an arrow to the better values."""
    return metric if better is None else f'{metric} {"↑" if better else "↓"}'
