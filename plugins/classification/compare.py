"""Whether one tested run is better than another on the same items."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from plugins.classification.clinical import number
from plugins.classification.metrics import ClinicalMetrics, Level
from plugins.classification.predictions import Predictions, from_rows
from plugins.classification.scores import bootstrap
from plugins.classification.scores.delong import compare as delong
from plugins.classification.scores.patients import Aggregation
from plugins.classification.scores.values import Scored, higher_is_better, names
from toolkit import build, files
from toolkit.engine import capsule
from toolkit.engine.evaluate import NAME as METRICS_FILE
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.registry import METRICS, VERBS
from toolkit.verb import Verb


@VERBS.register(name='compare')
class Compare(Verb):
    """Compare two tested runs of a classifier on the same items.

    Each value's difference has a 95 % interval and a p by a paired bootstrap over patients, an AUC
    has DeLong's too. Several runs of a side (seeds) are averaged. p is not corrected for the number
    of values that are looked at, nor does it say what other seeds would give: that is a study's.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add(
            'runs',
            nargs='+',
            type=Path,
            metavar='RUN',
            help='RUN_A RUN_B; with --against all of A',
        )
        add('--against', nargs='+', type=Path, metavar='RUN', help='the runs of B')
        add('--task', metavar='T', help='whose predictions; needed where there are several')
        add('--value', action='append', metavar='NAME', help='only this one; may be repeated')
        add('--level', choices=get_args(Level), default='image', help='what counts as an item')
        add(
            '--aggregate',
            choices=get_args(Aggregation),
            default='mean',
            help="how a patient's images are joined",
        )
        add('--resamples', type=int, default=bootstrap.RESAMPLES, metavar='N')
        add('--seed', type=int, default=0, metavar='N', help='of the resampling')
        add('--json', type=Path, metavar='FILE', help='write the comparison here too')

    def run(self, arguments: argparse.Namespace) -> int:
        a, b = arguments.runs, arguments.against
        if b is None:
            if len(a) != 2:
                raise ToolkitError(
                    f'expected RUN_A RUN_B, found {len(a)} folders; several of a side are '
                    'RUN_A1 RUN_A2 --against RUN_B1 RUN_B2'
                )
            a, b = a[:1], a[1:]
        if arguments.resamples < 100:
            raise ToolkitError(f'--resamples must be at least 100, found {arguments.resamples}')
        task = arguments.task
        sides = [[read(folder, task) for folder in side] for side in (a, b)]
        found = compare(
            *sides,
            chosen=arguments.value,
            level=arguments.level,
            aggregate=arguments.aggregate,
            resamples=arguments.resamples,
            seed=arguments.seed,
        )
        if arguments.json is not None:
            files.write(arguments.json, json.dumps(found, indent=1, allow_nan=False) + '\n')
        print(text(found))
        return 0


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


def text(found: Mapping[str, Any]) -> str:
    """A comparison as aligned text."""
    of = f'{found["patients"]} patients'
    if found['level'] == 'image':
        of = f'{found["items"]} images of {of}'
    lines = []
    for side in ('a', 'b'):
        runs = found[side]
        mean = f' (mean of {len(runs)} runs)' if len(runs) > 1 else ''
        lines.append(f'{side.upper()}: {", ".join(runs)}{mean}')
    lines.append(f'task {found["task"]}, {of}; differences are A less B')
    cells = [['value', 'better', 'A', 'B', 'difference', '95 % interval', 'p', "p of DeLong's"]]
    for name, value in found['values'].items():
        low, high = value['low'], value['high']
        cells.append(
            [
                name,
                value['better'],
                _shown(value['a']),
                _shown(value['b']),
                _shown(value['difference'], '+.4f'),
                '-' if low is None else f'[{low:+.4f}, {high:+.4f}]',
                _shown(value['p'], '.3g'),
                _shown((value['delong'] or {}).get('p'), '.3g') if 'delong' in value else '',
            ]
        )
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines += [
        '  '.join(
            c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))
        ).rstrip()
        for row in cells
    ]
    for name, value in found['values'].items():
        if value.get('why'):
            lines.append(f'{name} is not defined: {value["why"]}')
    lines.append(
        f'interval and p: paired bootstrap by patient, {found["resamples"]} resamples; p is not '
        'corrected for the number of values. Research use only.'
    )
    return '\n'.join(lines)


def _shown(value: float | None, form: str = '.4f') -> str:
    return '-' if value is None else format(value, form)
