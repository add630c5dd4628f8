"""Values of a metric per test sample, for metrics that are their mean."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from toolkit.io.run_results import Row, RunResult

# Sample -> value. A sample is named by its `id` if the rows have one, else by its position.
SampleValues = dict[Any, float]


def find_sample_values(run: RunResult, metric: str) -> SampleValues | None:
    """Finds the values of a metric for each test sample of a run.

    The column is the one whose mean equals the reported value. A metric that is no mean of samples
    (an area under a curve, a maximum) has none, and is never resampled as if it were a mean.

    Returns:
        The values; None if the metric is no such mean.
    Raises:
        ToolkitError: the rows of the run are damaged.
    """
    reported = run.metrics.get(metric)
    if reported is None:
        return None
    for rows, column in _list_candidates(run.rows(), metric):
        values = [row.get(column) for row in rows]
        if not all(_is_number(value) for value in values):
            continue
        if math.isclose(math.fsum(values) / len(values), reported, rel_tol=1e-9, abs_tol=1e-12):
            return dict(zip(_name_samples(rows), values))
    return None


def _list_candidates(rows: dict[str, list[Row]], metric: str) -> Iterator[tuple[list[Row], str]]:
    """Yields the columns that the metric may be the mean of.

    These are the column of `key.column`, or the only column of a key that holds numbers: one of
    several columns could have the reported mean by chance.
    """
    for key, found in rows.items():
        if not found:
            continue
        if metric == key:
            columns = [column for column, value in found[0].items() if _is_number(value)]
            if len(columns) == 1:
                yield found, columns[0]
        elif metric.startswith(f'{key}.'):
            yield found, metric[len(key) + 1 :]


def _name_samples(rows: list[Row]) -> list[Any]:
    names = [row.get('id') for row in rows]
    unique = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return names if unique else list(range(len(rows)))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
