"""Bars that show values and their intervals on the common scale of a column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# low, middle, high in the column's unit; None for a cell without a bar.
Interval = tuple[float, float, float] | None


@dataclass(frozen=True)
class Bar:
    """An interval in percent of the width of the scale.

    Attributes:
        low: left end.
        middle: the value.
        high: right end.
        zero: position of 0; None if the scale does not show it.
    """

    low: float
    middle: float
    high: float
    zero: float | None = None


def make_bars(intervals: Sequence[Interval], zero: bool = False) -> list[Bar | None]:
    """Places intervals on the scale that holds them all.

    Args:
        intervals: of the cells of one column.
        zero: include 0 in the scale and mark it.
    """
    known = [i for i in intervals if i is not None]
    ends = [value for interval in known for value in interval] + ([0.0] if zero else [])
    if not known:
        return [None] * len(intervals)
    low, width = min(ends), max(ends) - min(ends)

    def place(value: float) -> float:
        return round(100 * (value - low) / width, 2) if width else 50.0

    return [
        None if i is None else Bar(*(place(value) for value in i), place(0.0) if zero else None)
        for i in intervals
    ]
