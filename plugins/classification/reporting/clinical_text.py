"""A clinical report as text: the lines that are printed, Markdown, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any


def main_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """Two lines for each task."""
    for name, task in record['tasks'].items():
        counts, values = task['counts'], task['values']
        missing = counts['missing_labels']
        yield (
            f'{name}: {counts["images"]} images of {counts["patients"]} patients'
            + (f', {missing} more without a label' if missing else '')
        )
        shown = (
            ('AUC', 'sensitivity', 'specificity')
            if task['positive'] is not None
            else ('macro_AUC', 'macro_F1', 'balanced_accuracy')
        )
        at = f' at threshold {task["threshold"]:.3f}' if task['threshold'] is not None else ''
        yield '  ' + '  '.join(f'{value} {cell(values[value])}' for value in shown) + at


def markdown(record: Mapping[str, Any]) -> str:
    """The whole record as Markdown."""
    lines = [
        '# Clinical report',
        '',
        f'**{record["note"]}**',
        '',
        f'Intervals: {record["interval"]}, {record["resamples"]} resamples, seed {record["seed"]}'
        + (', stratified by class' if record['stratified'] else '')
        + '. Where a share is 0 or 1, which no resample changes, it is the exact one of as many '
        'patients (Clopper and Pearson). A value that is not defined is a dash, with the reason.',
    ]
    for name, task in record['tasks'].items():
        lines += ['', f'## {name}', '', *_of_task(task)]
    return '\n'.join(lines) + '\n'


def _of_task(task: Mapping[str, Any]) -> Iterator[str]:
    counts = task['counts']
    yield (
        f'{counts["images"]} images of {counts["patients"]} patients have a label, '
        f'{counts["missing_labels"]} images have none.'
    )
    yield from _grid(
        ['class', 'images', 'patients'],
        [[n, c['images'], c['patients']] for n, c in counts['by_class'].items()],
    )
    if task['temperature'] is not None:
        cut = '' if task['threshold'] is None else f', threshold {task["threshold"]:.4f}'
        positive = '' if task['positive'] is None else f' on the probability of {task["positive"]}'
        yield ''
        yield (
            f'Temperature {task["temperature"]:.4f}{cut}{positive if cut else ""}: '
            f'{task["chosen"]}.'
        )
    yield from ['', '### By image', *_value_tables(task['values'])]
    if task['patients'] is not None:
        people = task['patients']
        conflicts = people['conflicting_labels']
        yield from ['', '### By patient', '']
        yield (
            f'{people["patients"]} patients, the probabilities of whose images are joined by '
            f'{people["aggregate"]}.'
            + (
                f' {len(conflicts)} have images with different labels: '
                + ', '.join(conflicts[:10])
                + (', ...' if len(conflicts) > 10 else '')
                + ('; they count as positive.' if task['positive'] else '; they are left out.')
                if conflicts
                else ''
            )
        )
        yield from _value_tables(people['values'])
    yield from ['', '### Confusion', '', 'True classes in rows, decided ones in columns.']
    yield from _grid(
        ['', *task['classes']],
        [[name, *row] for name, row in zip(task['classes'], task['confusion'])],
    )
    found = task['calibration']
    yield from ['', '### Calibration', '']
    note = f'ECE over {found["binning"]}; it is too high with few samples, in resamples even more.'
    yield note + (' Slope 1 and intercept 0 are best.' if 'slope' in found['before'] else '')
    yield from _grid(
        ['', 'before temperature', 'after'],
        [[n, cell(found['before'][n]), cell(found['after'][n])] for n in found['before']],
    )
    for attribute, groups in task['subgroups'].items():
        shown = list(next(iter(groups.values()))['values'])
        yield from ['', f'### By {attribute}']
        yield from _grid(
            [attribute, 'images', 'patients', *task['classes'], *shown],
            [
                [
                    name,
                    group['images'],
                    group['patients'],
                    *(c['images'] for c in group['by_class'].values()),
                    *(cell(group['values'][v]) for v in shown),
                ]
                for name, group in groups.items()
            ],
        )


def _value_tables(values: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Values of all classes together, then those by class with the classes in columns."""
    whole = {name: found for name, found in values.items() if '/' not in name}
    if whole:
        yield from _grid(
            ['value', 'estimate [95 % interval]'],
            [[name, cell(found)] for name, found in whole.items()],
        )
    of_class = [name.split('/', 1) for name in values if '/' in name]
    kinds = list(dict.fromkeys(kind for kind, _ in of_class))
    classes = list(dict.fromkeys(of for _, of in of_class))
    if kinds:
        yield from _grid(
            ['class', *kinds],
            [[of, *(cell(values[f'{kind}/{of}']) for kind in kinds)] for of in classes],
        )
    delong = [(n, v['delong']) for n, v in values.items() if v.get('delong') is not None]
    if delong:
        yield ''
        yield "DeLong's interval: " + ', '.join(
            f'{name} [{low:.3f}, {high:.3f}]' for name, (low, high) in delong
        )
    reasons = {name: found['why'] for name, found in values.items() if found.get('why')}
    if reasons:
        yield ''
        yield 'Not defined: ' + '; '.join(f'{name} ({why})' for name, why in reasons.items()) + '.'


def cell(found: Mapping[str, Any]) -> str:
    """A value with its interval; a dash where it is not defined."""
    if found['value'] is None:
        return '-'
    if found['low'] is None:
        return f'{found["value"]:.3f} [-]'
    return f'{found["value"]:.3f} [{found["low"]:.3f}, {found["high"]:.3f}]'


def _grid(header: list[str], rows: list[list[Any]]) -> Iterator[str]:
    yield ''
    yield '| ' + ' | '.join(_escaped(text) for text in header) + ' |'
    yield '|---' * len(header) + '|'
    for row in rows:
        yield '| ' + ' | '.join(_escaped(value) for value in row) + ' |'


def _escaped(value: Any) -> str:
    return str(value).replace('|', '\\|').replace('\n', ' ')


def table(record: Mapping[str, Any]) -> str:
    """Every value as a line of CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    columns = ('value', 'low', 'high', 'undefined', 'why')
    writer.writerow(['task', 'level', 'attribute', 'group', 'images', 'patients', 'name', *columns])
    for name, task in record['tasks'].items():
        for place, counts, values in _parts(task):
            for value, found in values.items():
                cells = [found.get(column) for column in columns]
                number = [counts['images'], counts['patients']]
                writer.writerow([name, *place, *number, value, *cells])
    return stream.getvalue()


def _parts(task: Mapping[str, Any]) -> Iterator[tuple[list[str], Any, Mapping[str, Any]]]:
    yield ['image', '', ''], task['counts'], task['values']
    for when in ('before', 'after'):
        place = ['image', 'calibration', f'{when} temperature']
        yield place, task['counts'], task['calibration'][when]
    if task['patients'] is not None:
        yield ['patient', '', ''], task['patients'], task['patients']['values']
    for attribute, groups in task['subgroups'].items():
        for group, found in groups.items():
            yield ['image', attribute, group], found, found['values']
