"""The report's panel of classifiers: confusion, ROC, PR and reliability of all variants."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import escape

from plugins.classification.reporting.curves import GRID
from toolkit.registry import PANELS
from toolkit.report import plotly_bundle
from toolkit.report.panel import Panel, PanelRun, Rendered

FILE = Path('figures/figures.json')
_HERE = Path(__file__).parent


@dataclass
class Variant:
    """What the runs of a variant have found: the numbers of `figures.json`, one for each run."""

    label: str
    place: int
    runs: list[Mapping[str, Any]] = field(default_factory=list)

    def of(self, task: str) -> list[Mapping[str, Any]]:
        """The numbers of a task."""
        return [run['tasks'][task] for run in self.runs if task in run['tasks']]


@PANELS.register
class ClassifierCurves(Panel):
    """ROC, PR and reliability of all variants over each other, and their confusion matrices.

    Reads `figures/figures.json` of the runs, which the hook ClassificationFigures writes.
    """

    title = 'Classification'
    style = (_HERE / 'curves_panel.css').read_text(encoding='utf-8')
    script = (_HERE / 'curves_panel.js').read_text(encoding='utf-8')

    def render(self, runs: Sequence[PanelRun], budget: int) -> Rendered | None:
        """The charts, and the matrices of as many variants as the budget allows; None without
        numbers."""
        variants, notes = _variants(runs)
        variants = [variant for variant in variants if variant.runs]
        tasks = list(dict.fromkeys(t for v in variants for run in v.runs for t in run['tasks']))
        if not tasks:
            return Rendered('', tuple(notes)) if notes else None
        chart, count = _chart(tasks, variants, budget // 2)
        if count < len(variants):
            notes.append(f'Curves of {count} of {len(variants)} variants are shown, to save room.')
        room = budget - len(chart.encode()) - 2000
        tables = ''
        for task in tasks:
            html, kept = _matrices(task, [v for v in variants if v.of(task)], room)
            room -= len(html.encode())
            tables += html
            if kept:
                notes.append(kept)
        caption = (
            '<p class="legend">True classes in rows, decided ones in columns; counts over all runs '
            'of a variant, shaded by the share of the row. Research use only.</p>'
        )
        return Rendered(chart + tables + caption, tuple(notes))


# -- reading ---------------------------------------------------------------------------------------


def _variants(runs: Sequence[PanelRun]) -> tuple[list[Variant], list[str]]:
    """The variants in the plan's order, each with what its runs have written."""
    variants: dict[str, Variant] = {}
    notes = []
    for run in runs:
        variant = variants.setdefault(run.label, Variant(run.label, len(variants)))
        path = run.result.folder / FILE
        if not path.exists():
            continue
        try:
            record = json.loads(path.read_text(encoding='utf-8'))
            for numbers in record['tasks'].values():
                np.array(numbers['confusion'], dtype=int).reshape(len(numbers['classes']), -1)
                if not {'curves', 'reliability', 'failures'} <= numbers.keys():
                    raise ValueError('it is not of this version')
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            notes.append(f'{run.label}: {path.name} cannot be used: {error!r}')
            continue
        variant.runs.append(record)
    return list(variants.values()), notes


def _task(task: str, variants: Sequence[Variant]) -> dict[str, Any]:
    """What the chart draws of a task: curves of the variants by class, and their calibration."""
    shown = [v for v in variants if v.of(task)]
    names = list(dict.fromkeys(c for v in shown for n in v.of(task) for c in n['curves']))
    curves = {name: [found for v in shown if (found := _curves(v, task, name))] for name in names}
    return {
        'classes': {name: found for name, found in curves.items() if found},
        'reliability': [_reliability(variant, task) for variant in shown],
        'of': shown[0].of(task)[0]['reliability']['of'],
    }


def _curves(variant: Variant, task: str, name: str) -> dict[str, Any] | None:
    """ROC and PR of a class: those of the one run, or mean and range over several at GRID."""
    found = [c for n in variant.of(task) if 'roc' in (c := n['curves'].get(name, {}))]
    if not found:
        return None
    told: dict[str, Any] = {**_look(variant), 'runs': len(found)}
    for kind, area in (('roc', 'AUC'), ('pr', 'AP')):
        told[area] = [c[area][0] for c in found]
        if len(found) == 1:
            told[kind] = found[0][kind]
            told[f'{area}_interval'] = found[0][area][1:]
        else:
            values = np.stack([_at_grid(c[kind], kind) for c in found])
            spread = {'y': values.mean(0), 'low': values.min(0), 'high': values.max(0)}
            told[kind] = {k: [float(f'{v:.4g}') for v in y] for k, y in spread.items()}
    told['operating'] = [c['operating'] for c in found if 'operating' in c]
    told['prevalence'] = found[0]['positives'] / (found[0]['positives'] + found[0]['negatives'])
    return told


def _at_grid(curve: Mapping[str, Any], kind: str) -> np.ndarray:
    """A curve at GRID; precision holds until the next recall that is reached."""
    x, y = np.array(curve['x']), np.array(curve['y'])
    if kind == 'roc':
        return np.interp(GRID, x, y)
    return y[np.minimum(np.searchsorted(x, GRID), len(y) - 1)]


def _reliability(variant: Variant, task: str) -> dict[str, Any]:
    """The bins of all runs together."""
    told: dict[str, Any] = _look(variant)
    for when in ('before', 'after'):
        bins: dict[float, list[float]] = {}
        for numbers in variant.of(task):
            for b in numbers['reliability'][when]['bins']:
                sums = bins.setdefault(b['low'], [0.0, 0.0, 0])
                sums[0] += b['n'] * b['confidence']
                sums[1] += b['n'] * b['accuracy']
                sums[2] += b['n']
        rows = [(p / n, right / n, n) for _, (p, right, n) in sorted(bins.items())]
        told[when] = {
            'confidence': [round(r[0], 4) for r in rows],
            'accuracy': [round(r[1], 4) for r in rows],
            'n': [r[2] for r in rows],
            'ECE': float(np.mean([n['reliability'][when]['ECE'] for n in variant.of(task)])),
        }
    return told


def _chart(tasks: Sequence[str], variants: Sequence[Variant], budget: int) -> tuple[str, int]:
    """The chart of as many variants as the bytes allow, and of how many it is."""
    count = len(variants)
    while count:
        shown = [task for task in tasks if any(v.of(task) for v in variants[:count])]
        data = {task: _task(task, variants[:count]) for task in shown}
        if not any(task['classes'] for task in data.values()):
            return '', len(variants)  # a test of one class has no curves
        text = json.dumps(data, ensure_ascii=False, separators=(',', ':'))
        chart = _CHART.format(data=text.replace('<', '\\u003c'), tasks=_options(shown))
        if len(chart.encode()) <= budget:
            return chart, count
        count //= 2
    return '', 0


# -- showing ---------------------------------------------------------------------------------------


def _look(variant: Variant) -> dict[str, Any]:
    return {'label': variant.label, **plotly_bundle.look(variant.place)}


def _matrices(task: str, variants: Sequence[Variant], room: int) -> tuple[str, str]:
    """The confusion matrices of a task, and a note where not all of them have room."""
    kept: list[str] = []
    for variant in variants:
        part = _matrix(variant, task)
        room -= len(part.encode())
        if room < 0:
            break
        kept.append(part)
    note = ''
    if len(kept) < len(variants):
        note = f'{task}: confusion matrices of {len(kept)} of {len(variants)} variants are shown.'
    if not kept:
        return '', note
    matrices = f'<div class="matrices">{"".join(kept)}</div>'
    return f'<h3>{escape(task)}: confusion</h3>{matrices}', note


def _matrix(variant: Variant, task: str) -> str:
    """The confusion matrix over all runs of a variant, as a table."""
    numbers = variant.of(task)
    classes = numbers[0]['classes']
    counts = np.sum([n['confusion'] for n in numbers if n['classes'] == classes], axis=0)
    head = ''.join(f'<th scope="col">{escape(name)}</th>' for name in classes)
    rows = []
    for name, row in zip(classes, counts):
        total = int(row.sum())
        cells = ''.join(_cell(int(n), total) for n in row)
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    runs = f' <span>{len(numbers)} runs</span>' if len(numbers) > 1 else ''
    return (
        f'<table class="confusion"><caption>{escape(variant.label)}{runs}</caption>'
        f'<thead><tr><td></td>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _cell(count: int, total: int) -> str:
    share = count / total if total else 0.0
    told = f'{100 * share:.0f} %' if total else '–'
    return f'<td style="--share:{share:.3f}">{count}<small>{told}</small></td>'


def _options(names: Sequence[str]) -> str:
    return ''.join(f'<option>{escape(name)}</option>' for name in names)


_CHART = (_HERE / 'curves_panel.html').read_text(encoding='utf-8')
