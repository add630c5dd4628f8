"""Evaluates metrics over a dataset, batch by batch on each process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.engine.dataloader import SampleRequest
from toolkit.engine.process import distributed
from toolkit.errors import DataError, ToolkitError
from toolkit.interfaces import Metric
from toolkit.testing import guards

Row = dict[str, Any]


def collect_directions(metrics: Mapping[str, Metric]) -> dict[str, bool]:
    """Returns, by name of each metric value, whether higher is better.

    A metric with one value reports it as `key`, a metric with several values as `key.name`.
    """
    return {
        _name_value(key, metric, value): better
        for key, metric in metrics.items()
        for value, better in metric.directions.items()
    }


def list_main_metrics(metrics: Mapping[str, Metric]) -> list[str]:
    """Lists the names of the main values of each metric; all values if it declares none."""
    return [
        _name_value(key, metric, value)
        for key, metric in metrics.items()
        for value in (metric.main or metric.directions)
    ]


def _name_value(key: str, metric: Metric, value: str) -> str:
    return key if len(metric.directions) == 1 else f'{key}.{value}'


def get_item_names(batch: Mapping[str, Any], requests: Sequence[SampleRequest]) -> list[str | None]:
    """Returns the name of each sample, `item` in its `meta`, or None."""
    metas = batch.get('meta') or [None] * len(requests)
    return [meta.get('item') if isinstance(meta, Mapping) else None for meta in metas]


@dataclass
class Evaluation:
    """Result of an evaluation.

    Attributes:
        metrics: values by name.
        directions: whether higher is better, by name.
        rows: by key of each metric, one row per item in the order of the dataset; `item` is the
            name of the item if the samples have names.
    """

    metrics: dict[str, float]
    directions: dict[str, bool]
    rows: dict[str, list[Row]] = field(default_factory=dict)


class Evaluator:
    """Collector of the rows of all metrics.

    Args:
        metrics: by key, as configured.
        samples: number of samples; requests at later positions are repetitions.
    """

    def __init__(self, metrics: Mapping[str, Metric], samples: int) -> None:
        self.metrics = dict(metrics)
        self._samples = samples
        self._rows: dict[int, dict[str, Row]] = {}
        self._places: dict[str, int] = {}

    def reset(self) -> None:
        self._rows, self._places = {}, {}

    def add(
        self, requests: Sequence[SampleRequest], outputs: Mapping[str, Any], batch: dict[str, Any]
    ) -> None:
        """Measures a batch.

        Raises:
            ToolkitError: a metric did not give a row per item, or rows without its values.
            DataError: two items of the same name.
        """
        for key, metric in self.metrics.items():
            with guards.keep_unchanged({'outputs': outputs, 'batch': batch}, metric):
                rows = metric.measure(outputs, batch)
            _check_rows(metric, rows)
            if len(rows) != len(requests):
                raise guards.make_run_error(
                    metric,
                    f'measured {len(rows)} rows for {len(requests)} items; `measure` must return '
                    'one row per item',
                )
            for request, row, item in zip(
                requests, rows, get_item_names(batch, requests), strict=True
            ):
                if request.position < self._samples:
                    self._check_name(item, request.position)
                    named = row if item is None else {'item': item, **row}
                    self._rows.setdefault(request.position, {})[key] = named

    def _check_name(self, item: str | None, position: int) -> None:
        """Checks that no two samples have the same name, by which rows are paired."""
        if item is not None and self._places.setdefault(item, position) != position:
            raise DataError(
                f"two samples are named {item!r}; give each a name of its own in meta['item'], by "
                'which rows of results are paired and images are named'
            )

    def finish(self) -> Evaluation:
        """Summarizes the rows of all processes, with the same result on each.

        Raises:
            ToolkitError: a metric returned a name that its `directions` do not have.
        """
        merged: dict[int, dict[str, Row]] = {}
        for part in distributed.gather(self._rows):
            merged.update(part)
        rows = {key: [merged[p][key] for p in sorted(merged)] for key in self.metrics}
        values: dict[str, float] = {}
        for key, metric in self.metrics.items():
            summary = metric.summarize(rows[key])
            unknown = summary.keys() - metric.directions.keys()
            if unknown:
                raise ToolkitError(
                    f'the metric {key!r} ({type(metric).__name__}) returned {min(unknown)!r}, '
                    f'which its directions ({", ".join(metric.directions)}) do not name'
                )
            for value, number in summary.items():
                values[_name_value(key, metric, value)] = float(number)
        return Evaluation(values, collect_directions(self.metrics), rows)


def _check_rows(metric: Metric, rows: Sequence[Row]) -> None:
    """Checks that rows are mappings, with the values that the base class summarizes.

    Raises:
        ComponentRunError: one is not.
    """
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise guards.make_run_error(
            metric, 'measures no list of rows; return a list with a mapping for each sample'
        )
    if rows and type(metric).summarize is Metric.summarize:
        for name in metric.directions:
            if name not in rows[0]:
                raise guards.make_run_error(
                    metric,
                    f'measures rows with {", ".join(map(repr, rows[0])) or "no value"}, but its '
                    f'directions name {name!r}: add it to each row, or write `summarize`',
                )
            for row in rows:
                if name in row:
                    _check_number(metric, name, row[name])


def _check_number(metric: Metric, name: str, value: Any) -> None:
    """Checks that a value can be summarized by its mean.

    Raises:
        ComponentRunError: it is no number.
    """
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):
        shape = getattr(value, 'shape', None)
        found = f'a {type(value).__name__}' + (f' of shape {tuple(shape)}' if shape else '')
        raise guards.make_run_error(
            metric,
            f'measures {name!r} as {found}, which is no number; give each row a number, or write '
            '`summarize`',
        ) from None
