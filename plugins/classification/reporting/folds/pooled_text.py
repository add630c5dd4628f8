"""The pooled result of a study's folds as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plugins.classification.reporting.clinical.clinical_text import format_table, format_value
from toolkit.io.tables.formatting import neutralize_markdown

Record = Mapping[str, Any]
POOLING = (
    'Each image is predicted by the network that was not trained on its fold, and each patient '
    'counts once. A ranking such as AUC compares images of different networks here; the tables of '
    'the study hold the mean over folds.'
)


def to_markdown(record: Record) -> str:
    """Formats the pooled result of a study as Markdown."""
    lines = ['# Folds pooled', '', f'**{record["note"]}**', '', POOLING, '']
    lines.append(
        f'Intervals: 95 %, bootstrap by patient, {record["resamples"]} resamples, seed '
        f'{record["seed"]}. Values of several seeds are means over seeds.'
    )
    for label, reason in record['left_out'].items():
        lines += ['', f'{label} is not pooled: {reason}.']
    for note in record['notes']:
        lines += ['', f'Note: {note}.']
    for name, task in record['tasks'].items():
        for level, found in task['levels'].items():
            by = f' (joined by {task["aggregate"]})' if level == 'patient' else ''
            lines += ['', f'## {name}, by {level}{by}', *format_conditions(found)]
            if found['comparisons']:
                lines += ['', '### Against the reference', *format_comparisons(found)]
    return neutralize_markdown('\n'.join(lines) + '\n')


def format_conditions(found: Record) -> Iterator[str]:
    """Formats the values of all conditions, one per row."""
    names = list(next(iter(found['conditions'].values()))['values'])
    yield from format_table(
        ['condition', 'seeds', 'folds', 'items', 'patients', *names],
        [
            [
                label,
                len(one['seeds']),
                len(one['folds']),
                one['items'],
                one['patients'],
                *(format_value(one['values'][name]) for name in names),
            ]
            for label, one in found['conditions'].items()
        ],
    )
    yield from _format_reasons(found['conditions'])


def format_comparisons(found: Record) -> Iterator[str]:
    """Formats the differences of the conditions from their references, one per row."""
    rows = []
    for label, one in found['comparisons'].items():
        for name, value in one['values'].items():
            rows.append([label, one['reference'], name, *_format_difference(value)])
    head = ['condition', 'reference', 'value', 'difference [95 % interval]', 'p', 'p (Holm)']
    yield from format_table(head, rows)
    yield from _format_reasons(found['comparisons'])
    yield ''
    yield (
        'p: paired bootstrap over patients, two-sided; p (Holm) is corrected over the conditions. '
        'It does not cover the variation between seeds, which the tests of the study do.'
    )


def list_reasons(found: Mapping[str, Record]) -> list[str]:
    """Lists why values of conditions, or their differences, have no number or no interval.

    Args:
        found: `values` by name, of each condition; of a difference with its `reference`.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for label, one in found.items():
        condition = f'{label} against {one["reference"]}' if 'reference' in one else label
        for name, value in one['values'].items():
            if why := value.get('why') or value.get('no_interval'):
                names.setdefault((condition, why), []).append(name)
    return [f'{label}, {", ".join(named)}: {why}.' for (label, why), named in names.items()]


def _format_reasons(found: Mapping[str, Record]) -> Iterator[str]:
    for reason in list_reasons(found):
        yield from ['', reason]


def _format_difference(value: Record) -> list[str]:
    if value['difference'] is None:
        return ['-', '-', '-']
    shown = f'{value["difference"]:+.3f} [-]'
    if value['low'] is not None:
        shown = f'{value["difference"]:+.3f} [{value["low"]:+.3f}, {value["high"]:+.3f}]'
    return [shown, *('-' if value[key] is None else f'{value[key]:.3g}' for key in ('p', 'p_holm'))]
