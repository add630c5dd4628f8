"""A clinical report as text: printed lines, Markdown, CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plugins.classification.metrics.functional.bootstrap import MIN_PATIENTS
from plugins.classification.metrics.named_metrics import MAIN, POSITIVE_MAIN
from plugins.classification.reporting.clinical.uncertainty_text import (
    format_selection,
    format_sets,
)
from toolkit.io.tables.formatting import (
    escape_cell,
    format_csv,
    format_markdown_table,
    neutralize_markdown,
)

MAX_COLUMNS = 30  # of a table of classes


def format_main_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """Format two lines for each task: counts and main values."""
    if record.get('overlap'):
        yield f'not held apart: {record["overlap"]}'
    for name, task in record['tasks'].items():
        counts, values = task['counts'], task['values']
        missing = counts['missing_labels']
        yield (
            f'{name}: {counts["images"]} images of {counts["patients"]} patients'
            + (f', {missing} more without a label' if missing else '')
        )
        names = POSITIVE_MAIN if task['positive'] is not None else MAIN
        at = f' at threshold {task["threshold"]:.3f}' if task['threshold'] is not None else ''
        yield '  ' + '  '.join(f'{name} {format_value(values[name])}' for name in names) + at
    for pair in record.get('contradictions', []):
        if pair['contradicted']:
            first, second, count = pair['combinations'][0]
            yield (
                f'{" and ".join(pair["tasks"])} contradict each other in {pair["contradicted"]} of '
                f'{pair["images"]} images, such as {first} and {second} in {count}'
            )


def to_markdown(record: Mapping[str, Any]) -> str:
    """Format the whole record as Markdown."""
    lines = [
        '# Clinical report',
        '',
        f'**{record["note"]}**',
        '',
        f'Intervals: {record["interval"]}, {record["resamples"]} resamples, seed {record["seed"]}'
        + (', stratified by class' if record['stratified'] else '')
        + '. If no resample changes a value, or fewer than '
        f'{MIN_PATIENTS} patients take part, the interval is an exact or conservative one that '
        'counts patients (Clopper and Pearson), marked with *. An interval that is not known is '
        '[-], a value that is not defined is a dash, each with the reason.',
    ]
    if record.get('pooled'):
        lines += ['', _describe_pooling(record['pooled'])]
    if record.get('overlap'):
        lines += ['', f'**Not held apart: {record["overlap"]}.**']
    for name, task in record['tasks'].items():
        lines += ['', f'## {name}', '', *_format_task(task)]
    if record.get('contradictions'):
        lines += ['', '## Contradictions', *_format_contradictions(record['contradictions'])]
    return neutralize_markdown('\n'.join(lines) + '\n')


def _describe_pooling(pooled: Mapping[str, Any]) -> str:
    return (
        f'Pooled over the folds {", ".join(pooled["folds"])} of {pooled["condition"]}, seed '
        f'{pooled["seed"]}: each image is predicted by the network that was not trained on its '
        'fold, by the temperature and threshold of that fold. A ranking such as AUC compares '
        'images of different networks.'
    )


def _format_task(task: Mapping[str, Any]) -> Iterator[str]:
    counts = task['counts']
    yield (
        f'{counts["images"]} images of {counts["patients"]} patients have a label, '
        f'{counts["missing_labels"]} images have none.'
    )
    yield from format_table(
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
        yield from _format_rule(task)
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
    if len(task['classes']) > MAX_COLUMNS:
        yield f'The matrix of {len(task["classes"])} classes is in the JSON file.'
    else:
        yield from format_table(
            ['', *task['classes']],
            [[name, *row] for name, row in zip(task['classes'], task['confusion'])],
        )
    found = task['calibration']
    yield from ['', '### Calibration', '']
    note = f'ECE over {found["binning"]}; it is too high with few samples, in resamples even more.'
    yield note + (' Slope 1 and intercept 0 are best.' if 'slope' in found['before'] else '')
    yield from format_table(
        ['', 'before temperature', 'after'],
        [
            [n, format_value(found['before'][n]), format_value(found['after'][n])]
            for n in found['before']
        ],
    )
    yield from format_sets(task, format_table, format_value)
    yield from format_selection(task, format_table, format_value)
    for attribute, groups in task['subgroups'].items():
        shown = list(next(iter(groups.values()))['values'])
        classes = task['classes'] if len(task['classes']) <= MAX_COLUMNS else []
        yield from ['', f'### By {attribute}']
        yield from format_table(
            [attribute, 'images', 'patients', *classes, *shown],
            [
                [
                    name,
                    group['images'],
                    group['patients'],
                    *(group['by_class'][c]['images'] for c in classes),
                    *(format_value(group['values'][v]) for v in shown),
                ]
                for name, group in groups.items()
            ],
        )


def _format_rule(task: Mapping[str, Any]) -> Iterator[str]:
    """Format the parts of the decision rule that are not the default."""
    joined = task.get('patient_threshold')
    if joined is not None and joined != task['threshold']:
        yield f'Threshold of a patient: {joined:.4f}.'
    for title, key in (('weight of the decision', 'weights'), ('offset of the logit', 'log_prior')):
        if task.get(key):
            cells = [[n, f'{value:.4f}'] for n, value in zip(task['classes'], task[key])]
            yield from format_table(['class', title], cells)
    if task.get('costs'):
        yield from ['', 'Costs of a decision (columns) for a true class (rows):']
        rows = [[n, *(f'{x:g}' for x in row)] for n, row in zip(task['classes'], task['costs'])]
        yield from format_table(['', *task['classes']], rows)


def _format_contradictions(
    found: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    """Format contradictions as Markdown."""
    for pair in found:
        first, second = pair['tasks']
        yield ''
        yield (
            f'{first} and {second}: {pair["contradicted"]} of {pair["images"]} images are decided '
            f'for a combination of classes that none of the {pair["labelled"]} images with both '
            'labels has.'
        )
        if pair['combinations']:
            yield from format_table([first, second, 'images'], pair['combinations'])


def _value_tables(values: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Format the values of all classes together, then those by class, a class per row."""
    whole = {name: found for name, found in values.items() if '/' not in name}
    if whole:
        yield from format_table(
            ['value', 'estimate [95 % interval]'],
            [[name, format_value(found)] for name, found in whole.items()],
        )
    per_class = [name.split('/', 1) for name in values if '/' in name]
    metrics = list(dict.fromkeys(metric for metric, _ in per_class))
    classes = list(dict.fromkeys(text for _, text in per_class))
    if metrics:
        yield from format_table(
            ['class', *metrics],
            [
                [text, *(format_value(values[f'{metric}/{text}']) for metric in metrics)]
                for text in classes
            ],
        )
    delong = [(n, v['delong']) for n, v in values.items() if v.get('delong') is not None]
    if delong:
        yield ''
        yield "DeLong's interval: " + ', '.join(
            f'{name} [{low:.3f}, {high:.3f}]' for name, (low, high) in delong
        )
    for title, key in (('Not defined', 'why'), ('No interval', 'no_interval')):
        reasons = [f'{name} ({found[key]})' for name, found in values.items() if found.get(key)]
        if reasons:
            yield ''
            yield f'{title}: ' + '; '.join(reasons) + '.'


def format_value(found: Mapping[str, Any]) -> str:
    """Format a value with its interval; a dash if it is not defined, * if it counts patients."""
    if found['value'] is None:
        return '-'
    if found['low'] is None:
        return f'{found["value"]:.3f} [-]'
    mark = '*' if found.get('exact') is not None else ''
    return f'{found["value"]:.3f} [{found["low"]:.3f}, {found["high"]:.3f}]{mark}'


def format_table(header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Format a Markdown table after an empty line."""
    yield ''
    cells = [[escape_cell(str(value)) for value in row] for row in (header, *rows)]
    yield from format_markdown_table(cells, left=len(header))


def to_csv(record: Mapping[str, Any]) -> str:
    """Format every value as a line of CSV."""
    columns = ('value', 'low', 'high', 'undefined', 'why', 'exact', 'no_interval')
    rows = []
    for name, task in record['tasks'].items():
        for place, counts, values in _list_value_groups(task):
            number = [counts['images'], counts['patients']]
            for value, found in values.items():
                cells = [found.get(column) for column in columns]
                rows.append([name, *place, *number, value, *cells])
    header = ['task', 'level', 'attribute', 'group', 'images', 'patients', 'name', *columns]
    return format_csv(header, rows)


def _list_value_groups(
    task: Mapping[str, Any],
) -> Iterator[tuple[list[str], Any, Mapping[str, Any]]]:
    yield ['image', '', ''], task['counts'], task['values']
    for when in ('before', 'after'):
        place = ['image', 'calibration', f'{when} temperature']
        yield place, task['counts'], task['calibration'][when]
    if (sets := task.get('prediction_sets')) is not None:
        found = {'coverage': sets['coverage'], 'size': sets['size']}
        found |= {f'coverage/{name}': one for name, one in sets['by_class'].items()}
        yield ['image', 'prediction sets', ''], task['counts'], found
    if (selective := task.get('selective')) is not None:
        yield ['image', 'selective prediction', ''], task['counts'], selective['values']
    if task['patients'] is not None:
        yield ['patient', '', ''], task['patients'], task['patients']['values']
    for attribute, groups in task['subgroups'].items():
        for group, found in groups.items():
            yield ['image', attribute, group], found, found['values']
