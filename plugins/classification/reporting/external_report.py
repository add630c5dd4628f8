"""Report of an external test beside the internal test of the same network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from plugins.classification.interfaces import NOTE
from plugins.classification.metrics.functional.bootstrap import BootstrapSettings
from plugins.classification.metrics.functional.thresholds import choose_threshold
from plugins.classification.metrics.named_metrics import main_names
from plugins.classification.metrics.predictions import Predictions
from plugins.classification.reporting.clinical.clinical_summary import (
    UNKNOWN,
    ReportSettings,
    summarize_calibration,
    summarize_values,
)
from plugins.classification.reporting.clinical.clinical_text import format_table, format_value
from plugins.classification.reporting.comparison import TestedRun
from toolkit.io.tables.formatting import neutralize_markdown

NAME = 'external'
OPERATING = ('sensitivity', 'specificity', 'PPV', 'NPV')
MAX_VALUES = 12  # of an attribute that is compared
SIDES = ('internal', 'external')


def compare_sites(
    internal: TestedRun | None,
    external: TestedRun,
    known: Sequence[str] = (),
    settings: BootstrapSettings | None = None,
) -> dict[str, Any]:
    """Compare an external test with the internal one, for a task.

    Args:
        internal: internal test of the network; None if there is none.
        external: external test.
        known: ids of external images that the training knows; the main values are also computed
            without them.
        settings: settings of the bootstrap.
    Returns:
        `case_mix` by attribute and value, the share of the labelled images on each side; `values`
        of images, `patient_values` if one shows several images, and `calibration` by name and
        side, with intervals; `threshold`, of a task with a positive
        class, the stored one, sensitivity and specificity there on each side, and the one that the
        external images would have chosen by Youden's rule.
    """
    report = ReportSettings(settings or BootstrapSettings())
    runs = dict(zip(SIDES, (internal, external)))
    items = {
        side: None if run is None else run.predictions.labelled() for side, run in runs.items()
    }
    metric = external.metric
    names = [*main_names(metric.task), 'accuracy']
    if metric.task.positive is not None:
        names = list(dict.fromkeys([*names, *OPERATING]))
    values: dict[str, dict[str, Any]] = {}
    patient_values: dict[str, dict[str, Any]] = {}
    calibration: dict[str, dict[str, Any]] = {}
    has_patients = any(
        found is not None and len(np.unique(found.patients)) < len(found)
        for found in items.values()
    )
    for side, found in items.items():
        if found is None or not len(found):
            continue
        for name, record in summarize_values(metric, found, names, report).items():
            values.setdefault(name, {})[side] = record
        if has_patients:
            people = found.by_patient(external.aggregate)
            for name, record in summarize_values(metric, people, names, report).items():
                patient_values.setdefault(name, {})[side] = record
        for name, record in summarize_calibration(metric, found, report).items():
            calibration.setdefault(name, {})[side] = record
    own = items['external']
    assert own is not None
    without = own.subset(~np.isin(own.ids.astype(str), list(known)))
    result: dict[str, Any] = {
        'images': {side: 0 if found is None else len(found) for side, found in items.items()},
        'patients': {
            side: 0 if found is None else len(np.unique(found.patients))
            for side, found in items.items()
        },
        'case_mix': compare_case_mix(items),
        'values': values,
        'patient_values': patient_values,
        'calibration': calibration,
        'threshold': _compare_thresholds(own),
    }
    if len(without) < len(own):
        result['without_known_images'] = {
            'images': len(without),
            'values': summarize_values(metric, without, names, report) if len(without) else {},
        }
    return result


def compare_case_mix(
    items: Mapping[str, Predictions | None],
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the share of the images with each class, and with each value of an attribute.

    Args:
        items: labelled images by side; None for a side without any.
    Returns:
        Shares by attribute, value and side. An attribute with many values, such as an age in years,
        is left out.
    """
    shares: dict[str, dict[str, dict[str, float]]] = {}
    for side, found in items.items():
        if found is None or not len(found):
            continue
        classes = np.array(found.task.classes, dtype=object)
        columns = {'class': classes[found.labels], **found.attributes}
        for attribute, texts in columns.items():
            values, counts = np.unique([text or UNKNOWN for text in texts], return_counts=True)
            for value, count in zip(values, counts):
                shares.setdefault(attribute, {}).setdefault(str(value), {})[side] = float(
                    count / len(found)
                )
    first = next((found for found in items.values() if found is not None), None)
    order = {} if first is None else {name: i for i, name in enumerate(first.task.classes)}
    return {
        attribute: dict(sorted(found.items(), key=lambda item: (order.get(item[0], 0), item[0])))
        for attribute, found in shares.items()
        if attribute == 'class' or (len(found) <= MAX_VALUES and set(found) != {UNKNOWN})
    }


def _compare_thresholds(images: Predictions) -> dict[str, Any] | None:
    if images.positive is None:
        return None
    probability = images.probabilities[:, images.positive]
    truth = images.labels == images.positive
    try:
        own: float | None = choose_threshold(probability, truth, 'youden')
    except ValueError:  # one class alone
        own = None
    return {'stored': images.threshold, 'best_on_external_images': own}


def to_markdown(record: Mapping[str, Any]) -> str:
    """Format the whole record of an external test as Markdown."""
    lines = ['# External test', '', f'**{NOTE}**', '', *describe_external(record)]
    for name, task in record['tasks'].items():
        lines += ['', f'## {name}', *format_task(task)]
    return neutralize_markdown('\n'.join(lines) + '\n')


def describe_external(record: Mapping[str, Any]) -> Iterator[str]:
    """Describe the external data, and what of them the training knows."""
    yield f'External data: {record["manifest"]}. Network: {record["run"]}, {record["checkpoint"]}.'
    known, compared = record['known_images'], record['compared_with']
    yield ''
    if not compared:
        yield (
            '**Not compared with the training data** (--known unchecked): its images or patients '
            'may be among them.'
        )
        return
    data = ', '.join(f'{count} {subset} images' for subset, count in compared.items())
    if known:
        reasons: dict[str, int] = {}
        for image in known:
            reasons[image['reason']] = reasons.get(image['reason'], 0) + 1
        counts = ', '.join(f'{count} by {reason}' for reason, count in reasons.items())
        yield f'**{len(known)} images are known to the training** ({counts}), of {data}.'
    else:
        yield f'No image and no patient is known to the training, of {data}.'
    for gap in record['not_compared']:
        yield f'- Not compared: {gap}.'


def format_task(task: Mapping[str, Any]) -> Iterator[str]:
    """Format the comparison of a task as Markdown."""
    sides = [side for side in SIDES if task['images'][side]]
    if 'external' not in sides:
        yield from ['', 'No external image has a label.']
        return
    counts = [
        f'{side} {task["images"][side]} images of {task["patients"][side]} patients'
        for side in sides
    ]
    yield from ['', 'Labelled: ' + ', '.join(counts) + '.']
    if 'internal' not in sides:
        yield 'The run has no internal test to compare with.'
    for attribute, found in task['case_mix'].items():
        yield from format_table(
            [f'case mix: {attribute}', *sides],
            [[value, *(f'{x.get(side, 0):.1%}' for side in sides)] for value, x in found.items()],
        )
    tables = {
        'values': 'value by image [95 % interval]',
        'patient_values': 'value by patient',
        'calibration': 'calibration, by image',
    }
    for key, title in tables.items():
        if not task.get(key):
            continue
        yield from format_table(
            [title, *sides],
            [
                [name, *(format_value(found[side]) if side in found else '-' for side in sides)]
                for name, found in task[key].items()
            ],
        )
    cut = task['threshold']
    if cut is not None:
        best = cut['best_on_external_images']
        yield ''
        yield f'The stored threshold is {cut["stored"]:.4f}.' + (
            ''
            if best is None
            else f" Youden's rule would choose {best:.4f} on the external images themselves, which "
            'is shown as a shift and must not be used for these results.'
        )
    if rest := task.get('without_known_images'):
        yield from format_table(
            [f'without known images ({rest["images"]} left), by image', 'external'],
            [[name, format_value(found)] for name, found in rest['values'].items()],
        )
