"""A metric's values per test item, where the metric is their mean."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from toolkit.io.run_layout import Row, RunResult

# Item -> value. An item is its `id` where rows have one, its place in the data otherwise.
ItemValues = dict[Any, float]


def item_values(run: RunResult, metric: str) -> ItemValues | None:
    """The metric of a run per test item.

    Which column of which rows it is follows from the value itself: the column whose mean the run
    reported. So a metric that is summed up in another way (an area under a curve, a maximum) is
    never resampled as if it were a mean.

    Returns:
        None where the metric is no such mean.
    Raises:
        ToolkitError: the run's rows are damaged.
    """
    reported = run.metrics.get(metric)
    if reported is None:
        return None
    for rows, column in _candidates(run.rows(), metric):
        values = [row.get(column) for row in rows]
        if not all(_number(value) for value in values):
            continue
        if math.isclose(math.fsum(values) / len(values), reported, rel_tol=1e-9, abs_tol=1e-12):
            return dict(zip(_items(rows), values))
    return None


def _candidates(rows: dict[str, list[Row]], metric: str) -> Iterator[tuple[list[Row], str]]:
    """Where the metric may come from: `key.column` of several values, or the one column of a key
    that holds numbers. Of several columns, one may have the mean that was reported by chance."""
    for key, found in rows.items():
        if not found:
            continue
        if metric == key:
            columns = [column for column, value in found[0].items() if _number(value)]
            if len(columns) == 1:
                yield found, columns[0]
        elif metric.startswith(f'{key}.'):
            yield found, metric[len(key) + 1 :]


def _items(rows: list[Row]) -> list[Any]:
    names = [row.get('id') for row in rows]
    unique = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return names if unique else list(range(len(rows)))


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
