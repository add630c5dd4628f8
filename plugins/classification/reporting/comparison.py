"""Comparison of tested runs on the same items, value by value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from plugins.classification.metrics.clinical_metrics import (
    ClinicalMetrics,
    Level,
    find_aggregations,
    find_clinical_metrics,
)
from plugins.classification.metrics.functional import bootstrap
from plugins.classification.metrics.functional.delong import compare_areas
from plugins.classification.metrics.functional.patients import Aggregation
from plugins.classification.metrics.intervals import (
    CONSTANT,
    explain_few_patients,
    finite_or_none,
)
from plugins.classification.metrics.named_metrics import (
    OF_COSTS,
    MetricValues,
    expand_names,
    is_higher_better,
)
from plugins.classification.metrics.predictions import Predictions, read_rows
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.io.json_values import parse_json
from toolkit.io.run_layout import METRICS_FILE
from toolkit.registry import METRICS, build
from toolkit.run import capsule


@dataclass(frozen=True)
class TestedRun:
    """Predictions of a tested run for a task.

    Attributes:
        folder: folder of the run.
        metric: metric that measured the task.
        predictions: predictions of all items.
        aggregate: rule of the run's test that joins the images of a patient.
        overlap: what the test holds that the training holds too, and why; '' for nothing.
    """

    folder: Path
    metric: ClinicalMetrics
    predictions: Predictions
    aggregate: Aggregation
    overlap: str = ''


def read_tested_run(folder: Path, task: str | None = None) -> TestedRun:
    """Read the predictions of a tested run.

    Args:
        folder: folder of the run.
        task: name of the task; None for the only one.
    Raises:
        ToolkitError: no run, not tested, no such task, a damaged file.
    """
    config = capsule.read(folder).get('config') or {}
    nodes = (config.get('test_evaluator') or {}).get('metrics') or {}
    clinical: dict[str, list[str]] = {}
    for key, node in nodes.items():
        if node.get('type') == 'ClinicalMetrics':
            clinical.setdefault(node['task'], []).append(key)
    if not clinical:
        raise ToolkitError(
            f'{folder} has no ClinicalMetrics in test_evaluator, whose rows are compared'
        )
    if task is None and len(clinical) > 1:
        raise ToolkitError(
            f'{folder} has several tasks; choose one: --task {" or ".join(clinical)}'
        )
    task = next(iter(clinical)) if task is None else task
    if task not in clinical:
        raise ToolkitError(
            f'{folder} measures no task {task!r}{did_you_mean(task, clinical)}; it measures: '
            f'{", ".join(clinical)}'
        )
    metrics = {key: build.build(nodes[key], METRICS) for key in clinical[task]}
    key, metric = find_clinical_metrics(metrics)[task]
    path = folder / METRICS_FILE
    try:
        record = parse_json(path.read_text(encoding='utf-8'))
        rows = record['rows'][key]
    except OSError as error:
        raise ToolkitError(
            f'{folder} is not tested: no {METRICS_FILE} in it; run toolkit test --run {folder}'
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ToolkitError(
            f'{path} is damaged, or older than its config; test the run again'
        ) from error
    return TestedRun(
        folder,
        metric,
        read_rows(rows, metric.task, f'the rows in {path}'),
        find_aggregations(metrics)[task],
        record.get('overlap') or '',
    )


def compare_runs(
    a: Sequence[TestedRun],
    b: Sequence[TestedRun],
    *,
    names: Sequence[str] | None = None,
    level: Level = 'image',
    aggregate: Aggregation | None = None,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare the mean over the runs of one side with that of the other.

    Args:
        a: runs of the first side, at least one.
        b: runs of the second side.
        names: names of values; None for those that fit the task.
        level: 'image' or 'patient'.
        aggregate: rule that joins a patient's images; None for that of the first run's test.
        resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.
    Returns:
        `values` by name, each with `a`, `b`, `difference` (a minus b), `low`, `high`, `p`, `better`
        ('higher' or 'lower'), of an AUC `delong`, and `no_interval`, the reason for a missing
        interval; and the data that they are computed on.
    Raises:
        ToolkitError: the runs are of other tasks or items, or a name is unknown.
    """
    first = a[0]
    task = first.metric.task
    aggregate = first.aggregate if aggregate is None else aggregate
    try:
        wanted = expand_names(task, names)
    except ValueError as error:
        raise ToolkitError(str(error)) from error
    if len({run.metric.task.costs for side in (a, b) for run in side}) > 1:
        if named := set(names or ()) & set(OF_COSTS):
            raise ToolkitError(f'{named.pop()} cannot be compared: the runs have other costs')
        wanted = [name for name in wanted if name not in OF_COSTS]
    aligned = [[_align(run, first) for run in side] for side in (a, b)]
    items = [
        [p.by_patient(aggregate) if level == 'patient' else p.labelled() for p in side]
        for side in aligned
    ]
    base = items[0][0]
    if not len(base):
        raise ToolkitError(f'nothing in {first.folder} has a label of the task')
    measured = [[_metric_values(p, first.metric.rarest) for p in side] for side in items]
    resampled = [
        [
            bootstrap.score_resamples(
                partial(run.compute, wanted),
                bootstrap.draw_weights(base.patients, resamples, seed),
            )
            for run in side
        ]
        for side in measured
    ]
    whole = [[run.compute(wanted) for run in side] for side in measured]
    same = _are_equal(items)
    values = {}
    for name in wanted:
        means = [float(np.mean([run[name] for run in side])) for side in whole]
        sides = [[run[name] for run in side] for side in resampled]
        paired = bootstrap.paired_difference(*sides)
        record = values[name] = {
            'better': 'higher' if is_higher_better(name) else 'lower',
            'a': finite_or_none(means[0]),
            'b': finite_or_none(means[1]),
            'difference': finite_or_none(means[0] - means[1]),
            'low': paired.interval.low,
            'high': paired.interval.high,
            'p': paired.p,
            'undefined': round(paired.interval.undefined, 4),
        }
        runs = [run for side in measured for run in side]
        why = next((text for run in runs if (text := run.explain_undefined(name))), '')
        reasons = [explain_few_patients(run, base.patients, name) for run in runs]
        few = next(filter(None, reasons), '')
        constant = bootstrap.is_constant(np.mean(sides[0], axis=0) - np.mean(sides[1], axis=0))
        if why:
            record['why'] = why
        elif not same and (reason := few or (CONSTANT if constant else '')):
            record |= {'low': None, 'high': None, 'p': None, 'no_interval': reason}
        if name.partition('/')[0] == 'AUC':
            record['delong'] = None if few else _delong(name, items)
    return {
        'task': first.metric.task_name,
        'classes': list(task.classes),
        'positive': task.positive,
        'level': level,
        'aggregate': aggregate if level == 'patient' else None,
        'items': len(base),
        'patients': len(np.unique(base.patients)),
        'without_label': int((first.predictions.labels < 0).sum()),
        'a': [str(run.folder) for run in a],
        'b': [str(run.folder) for run in b],
        'resamples': resamples,
        'seed': seed,
        'values': values,
    }


def _metric_values(predictions: Predictions, rarest: int | None) -> MetricValues:
    return MetricValues(
        predictions.task,
        predictions.labels,
        predictions.probabilities,
        predictions.decisions,
        rarest,
    )


def _are_equal(items: list[list[Predictions]]) -> bool:
    """Tell whether all runs predict the same, so that their difference is known to be 0."""
    base = items[0][0]
    return all(
        np.array_equal(p.probabilities, base.probabilities)
        and np.array_equal(p.decisions, base.decisions)
        for side in items
        for p in side
    )


def _align(run: TestedRun, first: TestedRun) -> Predictions:
    """Bring a run's predictions of the same classes into the order of another run's items."""
    # Costs and coverage are rules of a decision, which runs may differ in.
    ours, theirs = run.metric.task, first.metric.task
    if (ours.classes, ours.positive) != (theirs.classes, theirs.positive):
        raise ToolkitError(
            f'{run.folder} has the classes {", ".join(ours.classes)} (positive: {ours.positive}), '
            f'{first.folder} has {", ".join(theirs.classes)} (positive: {theirs.positive})'
        )
    return _match_items(run, first)


def _match_items(run: TestedRun, first: TestedRun) -> Predictions:
    """Match the items of two runs by their names."""
    ours, theirs = first.predictions, run.predictions
    place = {name: i for i, name in enumerate(theirs.ids)}
    if len(place) < len(theirs) or len(set(ours.ids)) < len(ours):
        raise ToolkitError(f'{run.folder} or {first.folder} has two items of one name')
    missing = [name for name in ours.ids if name not in place]
    more = [name for name in theirs.ids if name not in set(ours.ids)]
    if missing or more:
        raise ToolkitError(
            f'{run.folder} and {first.folder} were not tested on the same items: '
            + '; '.join(
                f'only in {folder} {len(found)}: {_list_few(found)}'
                for folder, found in ((first.folder, missing), (run.folder, more))
                if found
            )
        )
    found = theirs.subset(np.array([place[name] for name in ours.ids], dtype=int))
    for column, own, other in (
        ('label', ours.labels, found.labels),
        ('patient', ours.patients, found.patients),
    ):
        if differs := list(ours.ids[own != other]):
            raise ToolkitError(
                f'{run.folder} and {first.folder} give {len(differs)} items another {column}: '
                f'{_list_few(differs)}'
            )
    return found


def _list_few(found: list[str], count: int = 5) -> str:
    return ', '.join(found[:count]) + (', ...' if len(found) > count else '')


def _delong(name: str, items: list[list[Predictions]]) -> dict[str, float | None] | None:
    """Test the mean areas of two sides by DeLong's method; None with too few patients."""
    base = items[0][0]
    own = _metric_values(base, None).class_index(name)
    scores = [np.stack([p.probabilities[:, own] for p in side]) for side in items]
    try:
        found = compare_areas(*scores, base.labels == own, base.patients)
    except ValueError:
        return None
    return {'low': found.low, 'high': found.high, 'p': found.p}
