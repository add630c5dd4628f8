"""Evaluates metrics over a dataset, batch by batch on each process."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from toolkit.engine import checkpoint
from toolkit.engine.collation import make_dataset_error
from toolkit.engine.dataloader import SampleRequest
from toolkit.engine.process import distributed
from toolkit.errors import DataError, RunError
from toolkit.interfaces import Dataset, Metric
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
        dataset: that gives the samples, for messages about their names.
    """

    def __init__(
        self, metrics: Mapping[str, Metric], samples: int, dataset: Dataset | None = None
    ) -> None:
        self.metrics = dict(metrics)
        self._samples = samples
        self._dataset = dataset
        self._rows: dict[int, dict[str, Row]] = {}
        self._places: dict[str, int] = {}
        self._is_named: bool | None = None

    def reset(self) -> None:
        self._rows, self._places, self._is_named = {}, {}, None

    def add(
        self, requests: Sequence[SampleRequest], outputs: Mapping[str, Any], batch: dict[str, Any]
    ) -> None:
        """Measures a batch.

        Raises:
            ToolkitError: a metric did not give a row per item, or rows without its values.
            ComponentRunError, DataError: two items of the same name, or one without.
        """
        names = get_item_names(batch, requests)
        for request, item in zip(requests, names, strict=True):
            if request.position < self._samples:
                self._check_name(item, request.position)
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
            for request, row, item in zip(requests, rows, names, strict=True):
                if request.position < self._samples:
                    named = row if item is None else {'item': item, **row}
                    self._rows.setdefault(request.position, {})[key] = named

    def _check_name(self, item: str | None, position: int) -> None:
        """Checks that all samples or none have a name, and each its own: rows are paired by it."""
        self._is_named = (item is not None) if self._is_named is None else self._is_named
        if self._is_named != (item is not None):
            found = f'sample {position} has {"no name" if item is None else f"the name {item!r}"}'
        elif item is not None and self._places.setdefault(item, position) != position:
            found = f'two samples are named {item!r}'
        else:
            return
        message = (
            f"{found}; give each a name of its own in meta['item'], by which rows of results are "
            'paired and images are named'
        )
        if self._dataset is None:
            raise DataError(message)
        raise make_dataset_error(self._dataset, message)

    def finish(self) -> Evaluation:
        """Summarizes the rows of all processes, with the same result on each.

        Raises:
            ComponentRunError: a metric did not return a number for each name of its `directions`.
        """
        merged: dict[int, dict[str, Row]] = {}
        for part in distributed.gather(self._rows):
            merged.update(part)
        rows = {key: [merged[p][key] for p in sorted(merged)] for key in self.metrics}
        values: dict[str, float] = {}
        for key, metric in self.metrics.items():
            summary = metric.summarize(rows[key])
            _check_summary(metric, summary)
            for value, number in summary.items():
                values[_name_value(key, metric, value)] = float(number)
        return Evaluation(values, collect_directions(self.metrics), rows)


def _check_summary(metric: Metric, summary: Any) -> None:
    """Checks that a summary has a number for each name of `directions`, and no others.

    Raises:
        ComponentRunError: it has not.
    """
    names = ', '.join(metric.directions)
    if not isinstance(summary, Mapping):
        found = f'as a {type(summary).__name__}'
    elif other := sorted(map(str, summary.keys() ^ metric.directions.keys())):
        found = f'{"without" if other[0] in metric.directions else "with"} {other[0]!r}'
    else:
        found = ''
    if found:
        raise guards.make_run_error(
            metric,
            f'summarizes {found}; `summarize` returns a number for each name in its '
            f'directions: {names}',
        )
    for name, value in summary.items():
        _check_number(metric, name, value)


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
        for name, row in itertools.product(metric.directions, rows):
            if name not in row:
                raise guards.make_run_error(
                    metric,
                    f'measures rows with {", ".join(map(repr, row)) or "no value"}, but its '
                    f'directions name {name!r}: add it to each row, or write `summarize`',
                )
            _check_number(metric, name, row[name])
    try:
        checkpoint.to_plain(rows)
    except RunError as error:
        raise guards.make_run_error(
            metric, f'measures rows that no file can hold: {error}'
        ) from error


def _check_number(metric: Metric, name: str, value: Any) -> None:
    """Checks that a value can be summarized by its mean.

    Raises:
        ComponentRunError: it is no number.
    """
    try:
        float(value.detach() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        shape = getattr(value, 'shape', None)
        found = f'a {type(value).__name__}' + (f' of shape {tuple(shape)}' if shape else '')
        raise guards.make_run_error(
            metric,
            f'gives {name!r} as {found}, which is no number; rows and `summarize` give numbers',
        ) from None
