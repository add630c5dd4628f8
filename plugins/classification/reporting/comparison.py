"""Two sides of tested runs on the same items: read, aligned, and compared value by value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plugins.classification.metrics.clinical_metrics import ClinicalMetrics, Level
from plugins.classification.metrics.functional import bootstrap
from plugins.classification.metrics.functional.delong import compare as delong
from plugins.classification.metrics.functional.patients import Aggregation
from plugins.classification.metrics.named_metrics import Scored, higher_is_better, names
from plugins.classification.metrics.predictions import Predictions, from_rows
from plugins.classification.reporting.clinical_summary import number
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.registry import METRICS, build
from toolkit.run import capsule
from toolkit.run.test import NAME as METRICS_FILE


@dataclass(frozen=True)
class Tested:
    """What a tested run predicted for a task.

    Attributes:
        folder: of the run.
        metric: that measured the task.
        predictions: of all its items.
    """

    folder: Path
    metric: ClinicalMetrics
    predictions: Predictions


def read(folder: Path, task: str | None = None) -> Tested:
    """A tested run's predictions.

    Args:
        folder: of the run.
        task: which; None for the only one.
    Raises:
        ToolkitError: no run, not tested, no such task, a damaged file.
    """
    config = capsule.read(folder).get('config') or {}
    nodes = (config.get('test_evaluator') or {}).get('metrics') or {}
    clinical: dict[str, str] = {}
    for key, node in nodes.items():
        if node.get('type') == 'ClinicalMetrics':
            clinical.setdefault(node['task'], key)
    if not clinical:
        raise ToolkitError(f'{folder} has no ClinicalMetrics in test_evaluator to compare by')
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
    metric = build.build(nodes[clinical[task]], METRICS)
    path = folder / METRICS_FILE
    try:
        rows = json.loads(path.read_text(encoding='utf-8'))['rows'][clinical[task]]
    except OSError as error:
        raise ToolkitError(
            f'{folder} is not tested: no {METRICS_FILE} in it; run toolkit test --run {folder}'
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ToolkitError(
            f'{path} is damaged, or older than its config; test the run again'
        ) from error
    return Tested(folder, metric, from_rows(rows, metric.task, f'the rows in {path}'))


def compare(
    a: Sequence[Tested],
    b: Sequence[Tested],
    *,
    chosen: Sequence[str] | None = None,
    level: Level = 'image',
    aggregate: Aggregation = 'mean',
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare the mean over the runs of a side with that of the other.

    Args:
        a: one run or more.
        b: likewise.
        chosen: names of values; None for those that fit the task.
        level: 'image' or 'patient'.
        aggregate: how a patient's images are joined.
        resamples: of the bootstrap.
        seed: of its drawing.
    Returns:
        `values` by name, each with `a`, `b`, `difference` (a less b), `low`, `high`, `p`, `better`
        ('higher' or 'lower') and, of an AUC, `delong`; and what they were computed on.
    Raises:
        ToolkitError: the runs are of other tasks or items, or there is no such value.
    """
    first = a[0]
    task = first.metric.task
    try:
        wanted = names(task, chosen)
    except ValueError as error:
        raise ToolkitError(str(error)) from error
    aligned = [[_aligned(run, first) for run in side] for side in (a, b)]
    items = [
        [p.by_patient(aggregate) if level == 'patient' else p.labelled() for p in side]
        for side in aligned
    ]
    base = items[0][0]
    if not len(base):
        raise ToolkitError(f'nothing in {first.folder} has a label of the task')
    scored = [
        [Scored(task, p.labels, p.probabilities, p.decisions, first.metric.rarest) for p in side]
        for side in items
    ]
    drawn = [
        [
            bootstrap.resampled(
                lambda weights, run=run: run.values(wanted, weights),
                bootstrap.draws(base.patients, resamples, seed),
            )
            for run in side
        ]
        for side in scored
    ]
    whole = [[run.values(wanted) for run in side] for side in scored]
    values = {}
    for name in wanted:
        means = [float(np.mean([run[name] for run in side])) for side in whole]
        paired = bootstrap.paired(*([run[name] for run in side] for side in drawn))
        values[name] = {
            'better': 'higher' if higher_is_better(name) else 'lower',
            'a': number(means[0]),
            'b': number(means[1]),
            'difference': number(means[0] - means[1]),
            'low': paired.interval.low,
            'high': paired.interval.high,
            'p': paired.p,
            'undefined': round(paired.interval.undefined, 4),
        }
        if (why := scored[0][0].why_undefined(name) or scored[1][0].why_undefined(name)) != '':
            values[name]['why'] = why
        if name.partition('/')[0] == 'AUC':
            values[name]['delong'] = _delong(name, items)
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


def _aligned(run: Tested, first: Tested) -> Predictions:
    """A run's predictions in the order of another's items."""
    if run.metric.task != first.metric.task:
        raise ToolkitError(
            f'{run.folder} has the classes {", ".join(run.metric.task.classes)} (positive: '
            f'{run.metric.task.positive}), {first.folder} has '
            f'{", ".join(first.metric.task.classes)} (positive: {first.metric.task.positive})'
        )
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
                f'only in {folder} {len(found)}: {_few(found)}'
                for folder, found in ((first.folder, missing), (run.folder, more))
                if found
            )
        )
    found = theirs.chosen(np.array([place[name] for name in ours.ids], dtype=int))
    for what, own, other in (
        ('label', ours.labels, found.labels),
        ('patient', ours.patients, found.patients),
    ):
        if differs := list(ours.ids[own != other]):
            raise ToolkitError(
                f'{run.folder} and {first.folder} give {len(differs)} items another {what}: '
                f'{_few(differs)}'
            )
    return found


def _few(found: list[str], count: int = 5) -> str:
    return ', '.join(found[:count]) + (', ...' if len(found) > count else '')


def _delong(name: str, items: list[list[Predictions]]) -> dict[str, float] | None:
    """DeLong's test of the mean areas of two sides; None where a variance cannot be had."""
    base = items[0][0]
    of = name.partition('/')[2]
    own = base.task.classes.index(of) if of else int(base.positive or 0)
    scores = [np.stack([p.probabilities[:, own] for p in side]) for side in items]
    try:
        found = delong(*scores, base.labels == own, base.patients)
    except ValueError:
        return None
    return {'low': found.low, 'high': found.high, 'p': found.p}
