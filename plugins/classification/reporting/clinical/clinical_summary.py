"""Clinical summary of a task as plain values: metrics with intervals, calibration, subgroups."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from plugins.classification.metrics.clinical_metrics import ClinicalMetrics
from plugins.classification.metrics.functional import bootstrap, calibration
from plugins.classification.metrics.functional.bootstrap import BootstrapSettings
from plugins.classification.metrics.functional.confusion import confusion
from plugins.classification.metrics.functional.patients import Aggregation
from plugins.classification.metrics.intervals import (
    compute_with_intervals,
    explain_few_patients,
    summarize_resamples,
)
from plugins.classification.metrics.named_metrics import expand_names, main_names
from plugins.classification.metrics.predictions import Predictions, read_rows
from plugins.classification.reporting.clinical.uncertainty_summary import (
    summarize_selection,
    summarize_sets,
)

CALIBRATION = ('ECE', 'Brier', 'NLL')
MAX_GROUPS = 20  # of an attribute; the smaller ones are joined
UNKNOWN = 'unknown'


@dataclass(frozen=True)
class ReportSettings:
    """Settings of a clinical report.

    Attributes:
        bootstrap: settings of the bootstrap.
        bands: limits between the bands of an attribute, by its name; a band has its lower limit.
    """

    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)
    bands: Mapping[str, Sequence[float]] = field(default_factory=dict)


def summarize_task(
    metric: ClinicalMetrics,
    rows: Sequence[Mapping[str, Any]],
    settings: ReportSettings,
    aggregate: Aggregation | None = None,
) -> dict[str, Any]:
    """Summarize a task as values that JSON has.

    A value that is not defined is None, and `why` gives the reason; see `compute_with_intervals`.

    Args:
        metric: metric of the task.
        rows: its rows.
        settings: settings of the report.
        aggregate: rule that joins the images of a patient; None for that of the metric.
    """
    aggregate = metric.aggregate if aggregate is None else aggregate
    return summarize_predictions(metric, read_rows(rows, metric.task), settings, aggregate)


def summarize_predictions(
    metric: ClinicalMetrics,
    everything: Predictions,
    settings: ReportSettings,
    aggregate: Aggregation,
) -> dict[str, Any]:
    """Summarize predictions of images, with and without labels; see `summarize_task`."""
    images = everything.labelled()
    people = images.by_patient(aggregate)
    several = len(np.unique(images.patients)) < len(images)
    names = expand_names(metric.task)
    return {
        'classes': list(metric.task.classes),
        'positive': metric.task.positive,
        'counts': {
            **_count(images),
            'all_images': len(everything),
            'missing_labels': len(everything) - len(images),
        },
        'values': summarize_values(metric, images, names, settings),
        'confusion': confusion(images.labels, images.decisions, len(metric.task.classes))
        .astype(int)
        .tolist(),
        'patients': {
            'aggregate': aggregate,
            'conflicting_labels': list(people.conflicts),
            **_count(people),
            'values': summarize_values(metric, people, names, settings),
        }
        if several
        else None,
        'calibration': {
            'binning': f'{calibration.BINS} bins of equal width, of '
            + ('the positive probability' if images.positive is not None else 'the highest one'),
            'before': summarize_calibration(metric, images.uncalibrated(), settings),
            'after': summarize_calibration(metric, images, settings),
        },
        'prediction_sets': summarize_sets(images, settings.bootstrap),
        'selective': summarize_selection(metric, images, settings.bootstrap),
        'subgroups': {
            name: found
            for name, values in images.attributes.items()
            if (found := _summarize_subgroups(metric, images, name, values, settings))
        },
    }


def _count(items: Predictions) -> dict[str, Any]:
    return {
        'images': len(items),
        'patients': len(np.unique(items.patients)),
        'by_class': {
            name: {
                'images': int((items.labels == i).sum()),
                'patients': len(np.unique(items.patients[items.labels == i])),
            }
            for i, name in enumerate(items.task.classes)
        },
    }


def summarize_values(
    metric: ClinicalMetrics, items: Predictions, names: Sequence[str], settings: ReportSettings
) -> dict[str, dict[str, Any]]:
    """Compute metrics of items with their intervals, see `compute_with_intervals`."""
    values = metric.metric_values(items)
    return compute_with_intervals(values, items.patients, names, settings.bootstrap)


def summarize_calibration(
    metric: ClinicalMetrics, items: Predictions, settings: ReportSettings
) -> dict[str, dict[str, Any]]:
    """Compute calibration errors, and slope and intercept of a task with a positive class."""
    found = summarize_values(metric, items, CALIBRATION, settings)
    if items.positive is None:
        return found
    probability, truth = items.probabilities[:, items.positive], items.labels == items.positive
    whole = calibration.calibration_line(probability, truth)

    def line(weights: np.ndarray | None) -> dict[str, np.ndarray]:
        return dict(
            zip(('slope', 'intercept'), calibration.calibration_line(probability, truth, weights))
        )

    weights = settings.bootstrap.weights(items.patients, items.labels)
    resampled = bootstrap.score_resamples(line, weights) if len(items) else {}
    # It needs both classes, as an AUC does.
    few = explain_few_patients(metric.metric_values(items), items.patients, 'AUC')
    for name, value in zip(('slope', 'intercept'), whole):
        found[name] = summarize_resamples(float(value), resampled.get(name), few)
        if math.isnan(float(value)):
            found[name]['why'] = 'one class is missing, or a probability separates the classes'
    return found


def _summarize_subgroups(
    metric: ClinicalMetrics,
    images: Predictions,
    attribute: str,
    values: np.ndarray,
    settings: ReportSettings,
) -> dict[str, Any]:
    """Summarize each group of an attribute in the groups' order; {} if no value is known."""
    limits = settings.bands.get(attribute)
    groups = np.array(
        [find_group(text, limits) if text else UNKNOWN for text in values], dtype=object
    )
    order, counts = np.unique(groups.astype(str), return_counts=True)
    if list(order) in ([], [UNKNOWN]):
        return {}
    largest = order[np.sort(np.argsort(-counts, kind='stable')[:MAX_GROUPS])]
    rest = {str(name) for name in order} - {str(name) for name in largest}
    if rest:
        groups[np.isin(groups.astype(str), list(rest))] = f'{len(rest)} others'
    names = [*main_names(metric.task), 'accuracy']
    found = {}
    for group in sorted(set(groups), key=lambda name: (name == UNKNOWN, _rank(name, limits), name)):
        inside = images.subset(groups == group)
        found[str(group)] = {
            **_count(inside),
            'values': summarize_values(metric, inside, names, settings),
        }
    return found


def find_group(text: str, limits: Sequence[float] | None) -> str:
    """Find the group of an attribute's text: the text itself, or the band of its number.

    An age may be written as in DICOM, '045Y' (PS3.5, section 6.2, AS).
    """
    if not limits:
        return text
    matched = re.fullmatch(r'\s*(\d+(?:[.,]\d+)?)\s*[Yy]?\s*', text)
    if matched is None:
        return UNKNOWN
    value = float(matched[1].replace(',', '.'))
    return _name_bands(limits)[sum(value >= limit for limit in limits)]


def _name_bands(limits: Sequence[float]) -> list[str]:
    inner = [f'{low:g} to below {high:g}' for low, high in zip(limits, limits[1:])]
    return [f'below {limits[0]:g}', *inner, f'{limits[-1]:g} and above']


def _rank(name: str, limits: Sequence[float] | None) -> int:
    if not limits or name not in (bands := _name_bands(limits)):
        return 0
    return bands.index(name)
