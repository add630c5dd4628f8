"""Uncertainty in a clinical report as Markdown: prediction sets and selective prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]
Table = Callable[[Sequence[Any], Sequence[Sequence[Any]]], Iterator[str]]
Value = Callable[[Record], str]


def format_sets(task: Record, table: Table, value: Value) -> Iterator[str]:
    """Formats the prediction sets of a task; nothing without sets.

    Args:
        task: record of the task.
        table: formats a table.
        value: formats a value with its interval.
    """
    found = task.get('prediction_sets')
    if found is None:
        return
    aim, by_class = found['coverage_aimed_at'], found['of'] == 'class'
    whom = 'the images of each class' if by_class else 'images'
    yield from ['', '### Prediction sets', '']
    yield (
        f'Sets that hold the class of {100 * aim:g} % of {whom}, by split conformal prediction: a '
        'class is in the set if its probability reaches a limit found on validation. This holds '
        'for any image of a new patient of the same population, on average over validation sets; '
        'each patient counts once, with the mean over the images. The limits share their images '
        'with temperature and threshold. '
        f'Coverage on the test is {value(found["coverage"])}, sizes of the sets '
        f'{value(found["size"])} on average. {found["wrong_alone"]} sets of one class are wrong.'
    )
    fitted = task.get('sets_calibration')
    rows, few = [], []
    for name, one in found['by_class'].items():
        cells = [name, one['images'], value(one)]
        if fitted is not None:
            spread = fitted['coverage_of_calibration'][name]
            shown = 'in every set' if spread is None else f'{fitted["limits"][name]:.4f}'
            between = '-' if spread is None else f'{spread[0]:.3f} to {spread[1]:.3f}'
            cells += [fitted['patients'][name], shown, between]
            if spread is None:
                few.append(name)
        rows.append(cells)
    head = ['class', 'images', 'coverage']
    if fitted is not None:
        head += ['validation patients', 'limit', 'coverage by chance of validation']
    yield from table(head, rows)
    if few:
        yield ''
        yield (
            f'Too few validation patients for a limit ({fitted["needed"]} needed): '
            f'{", ".join(few)}.'
        )
    if fitted is not None and not by_class:
        yield ''
        yield (
            'One limit serves all classes, so that a rare class may be covered less often; '
            '`coverage_of: class` has a limit of each.'
        )
    yield from table(['classes in the set', 'images'], list(found['sizes'].items()))


def format_selection(task: Record, table: Table, value: Value) -> Iterator[str]:
    """Formats the risk of the decisions that are kept; nothing without images.

    Args:
        task: record of the task.
        table: formats a table.
        value: formats a value with its interval.
    """
    found = task.get('selective')
    if found is None:
        return
    yield from ['', '### Selective prediction', '']
    yield (
        'The share of errors if the least sure decisions are left to somebody else. '
        + (
            'Sureness is the distance from the threshold, as a share of the largest one on that '
            'side. '
            if task['positive'] is not None
            else 'Sureness is the probability of the class decided for. '
        )
        + 'AURC is the mean risk over all coverages; low is good.'
    )
    rows = [[name, value(one)] for name, one in found['values'].items()]
    yield from table(['value', 'estimate [95 % interval]'], rows)
    reasons = [
        f'{n} ({v["no_interval"]})' for n, v in found['values'].items() if 'no_interval' in v
    ]
    if reasons:
        yield from ['', f'No interval: {"; ".join(reasons)}.']
