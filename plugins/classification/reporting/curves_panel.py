"""Report panel of classifiers: confusion, ROC, PR and reliability of all variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from plugins.classification.reporting.curves import GRID
from plugins.classification.reporting.sets_table import make_rows
from toolkit.io.json_values import parse_json
from toolkit.registry import PANELS
from toolkit.report import plotly_bundle
from toolkit.report.jinja_environment import make_environment
from toolkit.report.panel import Panel, PanelRun, Rendered

FILE = Path('figures/figures.json')
LEGEND = Markup(
    '<p class="legend">True classes in rows, decisions in columns; counts over all runs of a '
    'variant, shaded by the share of the row. Research use only.</p>'
)
MARGIN = 2000  # bytes for headings and the legend
CELL = 48  # bytes of a cell of a confusion matrix, at least
_HERE = Path(__file__).parent
Record = Mapping[str, Any]


@dataclass
class Variant:
    """The numbers of a variant's runs, each from its `figures.json`."""

    label: str
    place: int
    runs: list[Record] = field(default_factory=list)

    def numbers(self, task: str) -> list[Record]:
        """Return the numbers of a task, one for each run that has it."""
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
        """Render the charts, and the matrices of as many variants as the budget allows."""
        variants, notes = _read_variants(runs)
        variants = [variant for variant in variants if variant.runs]
        tasks = list(dict.fromkeys(t for v in variants for run in v.runs for t in run['tasks']))
        if not tasks:
            return Rendered('', tuple(notes)) if notes else None
        chart, count = _render_chart(tasks, variants, budget // 2)
        if count < len(variants):
            notes.append(f'Curves of {count} of {len(variants)} variants are shown, to save room.')
        notes += [note for task in tasks if (note := _describe_choice(task, variants))]
        room = budget - len(chart.encode()) - MARGIN
        tables = Markup('')
        for task in tasks:
            html, note = _render_matrices(task, [v for v in variants if v.numbers(task)], room)
            room -= len(html.encode())
            tables += html
            if note:
                notes.append(note)
            sets = _render_sets(task, variants)
            if sets and len(sets.encode()) <= room:
                room -= len(sets.encode())
                tables += sets
        return Rendered(chart + tables + LEGEND, tuple(notes))


# -- reading ---------------------------------------------------------------------------------------


def _read_variants(runs: Sequence[PanelRun]) -> tuple[list[Variant], list[str]]:
    """Read the numbers of all runs.

    Returns:
        The variants in the plan's order, and notes on files that cannot be used.
    """
    variants: dict[str, Variant] = {}
    notes = []
    for run in runs:
        variant = variants.setdefault(run.label, Variant(run.label, len(variants)))
        path = run.result.folder / FILE
        if not path.exists():
            continue
        try:
            record = parse_json(path.read_text(encoding='utf-8'))
            for numbers in record['tasks'].values():
                np.array(numbers['confusion'], dtype=int).reshape(len(numbers['classes']), -1)
                if not {'curves', 'reliability', 'failures'} <= numbers.keys():
                    raise ValueError('it is of another version; test the run again')
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            notes.append(f'{run.label}: {path.name} cannot be used: {error!r}')
            continue
        variant.runs.append(record)
    return list(variants.values()), notes


# -- the chart -------------------------------------------------------------------------------------


def _render_chart(
    tasks: Sequence[str], variants: Sequence[Variant], budget: int
) -> tuple[Markup, int]:
    """Render the chart of as many variants as the budget allows.

    Returns:
        The chart, '' if there is none, and the number of its variants.
    """
    count = len(variants)
    while count:
        shown = [task for task in tasks if any(v.numbers(task) for v in variants[:count])]
        data = {task: _collect_task(task, variants[:count]) for task in shown}
        if not any(task['classes'] for task in data.values()):
            return Markup(''), len(variants)  # a test of one class has no curves
        chart = fill_template('curves_panel.html.j2', data=data, tasks=shown)
        if len(chart.encode()) <= budget:
            return chart, count
        count //= 2
    return Markup(''), 0


def _collect_task(task: str, variants: Sequence[Variant]) -> dict[str, Any]:
    """Collect the curves of a task by class and variant, and the reliability of each variant."""
    shown = [v for v in variants if v.numbers(task)]
    names = list(dict.fromkeys(c for v in shown for n in v.numbers(task) for c in n['curves']))
    curves = {
        name: [found for v in shown if (found := _collect_curves(v, task, name))] for name in names
    }
    return {
        'classes': {name: found for name, found in curves.items() if found},
        'reliability': [_collect_reliability(variant, task) for variant in shown],
        'risk': [found for v in shown if (found := _collect_risk(v, task))],
        'of': shown[0].numbers(task)[0]['reliability']['of'],
    }


def _describe_choice(task: str, variants: Sequence[Variant]) -> str:
    """Say which classes have curves, if not all have; a positive class has the only one."""
    numbers = next(n for v in variants for n in v.numbers(task))
    shown, total = len(numbers['curves']), len(numbers['classes'])
    if numbers['positive'] is not None or shown == total:
        return ''
    return f'{task}: curves of the {shown} of {total} classes with the fewest images.'


def _collect_curves(variant: Variant, task: str, name: str) -> dict[str, Any] | None:
    """Collect ROC and PR of a class: those of the one run, or mean and range of several at GRID."""
    curves = [c for n in variant.numbers(task) if 'roc' in (c := n['curves'].get(name, {}))]
    if not curves:
        return None
    data: dict[str, Any] = {**_plot_style(variant), 'runs': len(curves)}
    for kind, area in (('roc', 'AUC'), ('pr', 'AP')):
        data[area] = [c[area][0] for c in curves]
        if len(curves) == 1:
            data[kind] = curves[0][kind]
            data[f'{area}_interval'] = curves[0][area][1:]
        else:
            values = np.stack([_interpolate(c[kind], kind) for c in curves])
            spread = {'y': values.mean(0), 'low': values.min(0), 'high': values.max(0)}
            data[kind] = {k: [float(f'{v:.4g}') for v in y] for k, y in spread.items()}
    data['operating'] = [c['operating'] for c in curves if 'operating' in c]
    positives, negatives = curves[0]['positives'], curves[0]['negatives']
    data['prevalence'] = positives / (positives + negatives)
    return data


def _interpolate(curve: Record, kind: str) -> np.ndarray:
    """Interpolate a curve at GRID; a precision holds until the next recall."""
    x, y = np.array(curve['x']), np.array(curve['y'])
    if kind == 'roc':
        return np.interp(GRID, x, y)
    return y[np.minimum(np.searchsorted(x, GRID), len(y) - 1)]


def _collect_reliability(variant: Variant, task: str) -> dict[str, Any]:
    """Collect the bins of all runs of a variant together."""
    data: dict[str, Any] = _plot_style(variant)
    for when in ('before', 'after'):
        bins: dict[float, list[float]] = {}
        for numbers in variant.numbers(task):
            for b in numbers['reliability'][when]['bins']:
                sums = bins.setdefault(b['low'], [0.0, 0.0, 0])
                sums[0] += b['n'] * b['confidence']
                sums[1] += b['n'] * b['accuracy']
                sums[2] += b['n']
        rows = [(p / n, right / n, n) for _, (p, right, n) in sorted(bins.items())]
        errors = [n['reliability'][when]['ECE'] for n in variant.numbers(task)]
        data[when] = {
            'confidence': [round(r[0], 4) for r in rows],
            'accuracy': [round(r[1], 4) for r in rows],
            'n': [r[2] for r in rows],
            'ECE': float(np.mean(errors)),
        }
    return data


def _collect_risk(variant: Variant, task: str) -> dict[str, Any] | None:
    """Collect the risk-coverage curve: of the one run, or the mean of several at GRID."""
    curves = [n['risk_coverage'] for n in variant.numbers(task) if n.get('risk_coverage')]
    if not curves:
        return None  # tested before there were such curves
    data: dict[str, Any] = {**_plot_style(variant), 'AURC': [c['AURC'] for c in curves]}
    if len(curves) == 1:
        return data | {'x': curves[0]['x'], 'y': curves[0]['y']}
    grid = GRID[1:]  # no decision has the coverage 0
    mean = np.mean([np.interp(grid, c['x'], c['y']) for c in curves], axis=0)
    return data | {
        'x': [float(v) for v in grid],
        'y': [float(f'{v:.4g}') for v in mean],
    }


def _plot_style(variant: Variant) -> dict[str, Any]:
    return {'label': variant.label, **plotly_bundle.choose_plot_style(variant.place)}


# -- confusion matrices ----------------------------------------------------------------------------


def _render_matrices(task: str, variants: Sequence[Variant], room: int) -> tuple[Markup, str]:
    """Render the confusion matrices of a task.

    Returns:
        The matrices, and a note if some of them have no room.
    """
    matrices: list[Markup] = []
    for variant in variants:
        if room < CELL * len(variant.numbers(task)[0]['classes']) ** 2:
            break  # without rendering it in vain
        matrix = _render_matrix(variant, task)
        room -= len(matrix.encode())
        if room < 0:
            break
        matrices.append(matrix)
    few = f'{len(matrices)} of {len(variants)} variants'
    whole = len(matrices) == len(variants)
    note = '' if whole else f'{task}: confusion matrices of {few} are shown.'
    if not matrices:
        return Markup(''), note
    title = Markup('<h3>{}: confusion</h3>').format(task)
    return title + Markup('<div class="matrices">{}</div>').format(Markup('').join(matrices)), note


def _render_matrix(variant: Variant, task: str) -> Markup:
    """Render the confusion matrix over all runs of a variant as a table."""
    numbers = variant.numbers(task)
    classes = numbers[0]['classes']
    counts = np.sum([n['confusion'] for n in numbers if n['classes'] == classes], axis=0)
    rows = [
        (name, [(int(n), int(n) / total if (total := int(row.sum())) else None) for n in row])
        for name, row in zip(classes, counts)
    ]
    return fill_template(
        'confusion_table.html.j2',
        label=variant.label,
        runs=len(numbers),
        classes=classes,
        rows=rows,
    )


def _render_sets(task: str, variants: Sequence[Variant]) -> Markup:
    """Render the table of prediction sets of a task; '' if no variant has some."""
    found = [
        (v.label, [n['prediction_sets'] for n in v.numbers(task) if n.get('prediction_sets')])
        for v in variants
    ]
    rows = make_rows(found)
    return fill_template('sets_table.html.j2', task=task, rows=rows) if rows else Markup('')


def fill_template(name: str, **values: Any) -> Markup:
    """Fill a template of this folder; values are escaped."""
    return Markup(_environment().get_template(name).render(**values))


@cache
def _environment() -> jinja2.Environment:
    found = make_environment(_HERE)
    found.policies['json.dumps_kwargs'] = {
        'sort_keys': False,
        'ensure_ascii': False,
        'separators': (',', ':'),
    }
    return found
