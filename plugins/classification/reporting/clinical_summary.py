"""What a test says of a task, as plain values: scores with intervals, calibration, subgroups."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import binomtest

from plugins.classification.metrics.clinical_metrics import ClinicalMetrics
from plugins.classification.metrics.functional import bootstrap, calibration
from plugins.classification.metrics.functional.confusion import confusion
from plugins.classification.metrics.functional.delong import delong
from plugins.classification.metrics.named_metrics import names
from plugins.classification.metrics.predictions import Predictions, from_rows

CALIBRATION = ('ECE', 'Brier', 'NLL')
LARGEST = 20  # groups of an attribute that are told apart
UNKNOWN = 'unknown'


@dataclass(frozen=True)
class Settings:
    """How a report is computed.

    Attributes:
        resamples: of the bootstrap.
        seed: of its drawing.
        stratified: keep the number of patients of each class in every resample.
        bands: attribute -> limits between its bands, each band from its limit on.
    """

    resamples: int = bootstrap.RESAMPLES
    seed: int = 0
    stratified: bool = False
    bands: Mapping[str, Sequence[float]] = field(default_factory=dict)


def task_summary(
    metric: ClinicalMetrics, rows: Sequence[Mapping[str, Any]], settings: Settings
) -> dict[str, Any]:
    """All of a task, as values that JSON has; a number that is not defined is None, and `why` says
    the reason."""
    everything = from_rows(rows, metric.task)
    images = everything.labelled()
    people = images.by_patient(metric.aggregate)
    several = len(np.unique(images.patients)) < len(images)
    return {
        'classes': list(metric.task.classes),
        'positive': metric.task.positive,
        'counts': {
            **_counts(images),
            'all_images': len(everything),
            'missing_labels': len(everything) - len(images),
        },
        'values': _values(metric, images, names(metric.task), settings),
        'confusion': confusion(images.labels, images.decisions, len(metric.task.classes))
        .astype(int)
        .tolist(),
        'patients': {
            'aggregate': metric.aggregate,
            'conflicting_labels': list(people.conflicts),
            **_counts(people),
            'values': _values(metric, people, names(metric.task), settings),
        }
        if several
        else None,
        'calibration': {
            'binning': f'{calibration.BINS} bins of equal width, of '
            + ('the positive probability' if images.positive is not None else 'the highest one'),
            'before': _calibration(metric, images.uncalibrated(), settings),
            'after': _calibration(metric, images, settings),
        },
        'subgroups': {
            name: found
            for name, values in images.attributes.items()
            if (found := _subgroups(metric, images, values, settings.bands.get(name), settings))
        },
    }


def _counts(items: Predictions) -> dict[str, Any]:
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


def _values(
    metric: ClinicalMetrics, items: Predictions, wanted: Sequence[str], settings: Settings
) -> dict[str, dict[str, Any]]:
    """By name `value`, `low`, `high`, `undefined` and `why`; of an AUC also `delong`.

    A share that is 0 or 1 is so in every resample, which says nothing of how far it may be off. Its
    interval is Clopper and Pearson's (Biometrika 26, 1934), of as many trials as patients take part
    in it: `exact` has their number.
    """
    scored = metric.scored(items)
    whole = scored.values(wanted)
    drawn = bootstrap.resampled(lambda w: scored.values(wanted, w), _draws(items, settings))
    found = {}
    for name in wanted:
        found[name] = _with_interval(float(whole[name]), drawn.get(name))
        if (why := scored.why_undefined(name)) != '':
            found[name]['why'] = why
        kind, _, of = name.partition('/')
        own = items.task.classes.index(of) if of else int(items.positive or 0)
        if kind == 'AUC' and found[name]['value'] is not None:
            found[name]['delong'] = _delong(items, own)
        if found[name]['value'] in (0, 1) and (part := _taking_part(kind, own, items)) is not None:
            trials = len(np.unique(items.patients[part]))
            exact = binomtest(trials if found[name]['value'] else 0, trials).proportion_ci()
            found[name] |= {'low': float(exact.low), 'high': float(exact.high), 'exact': trials}
    return found


def _taking_part(kind: str, own: int, items: Predictions) -> np.ndarray | None:
    """Which samples (N,) a share is of; None for a value that is no share of samples."""
    return {
        'sensitivity': items.labels == own,
        'specificity': items.labels != own,
        'PPV': items.decisions == own,
        'NPV': items.decisions != own,
        'accuracy': np.ones(len(items), dtype=bool),
    }.get(kind)


def _draws(items: Predictions, settings: Settings) -> Any:
    strata = items.labels if settings.stratified else None
    return bootstrap.draws(items.patients, settings.resamples, settings.seed, strata)


def _with_interval(value: float, drawn: np.ndarray | None) -> dict[str, Any]:
    if math.isnan(value) or drawn is None:
        return {'value': number(value), 'low': None, 'high': None, 'undefined': None}
    found = bootstrap.interval(drawn)
    return {
        'value': value,
        'low': found.low,
        'high': found.high,
        'undefined': round(found.undefined, 4),
    }


def _delong(items: Predictions, own: int) -> list[float] | None:
    try:
        areas = delong([items.probabilities[:, own]], items.labels == own, items.patients)
    except ValueError:
        return None  # too few patients for a variance
    return list(areas.interval())


def _calibration(
    metric: ClinicalMetrics, items: Predictions, settings: Settings
) -> dict[str, dict[str, Any]]:
    found = _values(metric, items, CALIBRATION, settings)
    if items.positive is None:
        return found
    probability, truth = items.probabilities[:, items.positive], items.labels == items.positive
    whole = calibration.calibration_line(probability, truth)

    def line(weights: np.ndarray | None) -> dict[str, np.ndarray]:
        return dict(
            zip(('slope', 'intercept'), calibration.calibration_line(probability, truth, weights))
        )

    drawn = bootstrap.resampled(line, _draws(items, settings)) if len(items) else {}
    for name, value in zip(('slope', 'intercept'), whole):
        found[name] = _with_interval(float(value), drawn.get(name))
        if math.isnan(float(value)):
            found[name]['why'] = 'one class is missing, or a probability separates the classes'
    return found


def _subgroups(
    metric: ClinicalMetrics,
    images: Predictions,
    values: np.ndarray,
    limits: Sequence[float] | None,
    settings: Settings,
) -> dict[str, Any]:
    """Scores by group, groups in their order; nothing where an attribute is not known at all."""
    groups = np.array(
        [group_of(text, limits) if text else UNKNOWN for text in values], dtype=object
    )
    order, counts = np.unique(groups.astype(str), return_counts=True)
    if list(order) in ([], [UNKNOWN]):
        return {}
    largest = order[np.sort(np.argsort(-counts, kind='stable')[:LARGEST])]
    rest = {str(name) for name in order} - {str(name) for name in largest}
    if rest:
        groups[np.isin(groups.astype(str), list(rest))] = f'{len(rest)} others'
    wanted = (
        ['AUC', 'sensitivity', 'specificity', 'accuracy']
        if metric.task.positive is not None
        else ['macro_AUC', 'macro_F1', 'balanced_accuracy', 'accuracy']
    )
    names_ = sorted(set(groups), key=lambda name: (name == UNKNOWN, _rank(name, limits), name))
    found = {}
    for name in names_:
        inside = images.chosen(groups == name)
        found[str(name)] = {
            **_counts(inside),
            'values': _values(metric, inside, wanted, settings),
        }
    return found


def group_of(text: str, limits: Sequence[float] | None) -> str:
    """The group of an attribute's text: itself, or the band that its number lies in.

    An age may be written as DICOM does, '045Y' (PS3.5, section 6.2, AS).
    """
    if not limits:
        return text
    matched = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*[Yy]?\s*', text)
    if matched is None:
        return UNKNOWN
    value = float(matched[1])
    return _bands(limits)[sum(value >= limit for limit in limits)]


def _bands(limits: Sequence[float]) -> list[str]:
    inner = [f'{low:g} to below {high:g}' for low, high in zip(limits, limits[1:])]
    return [f'below {limits[0]:g}', *inner, f'{limits[-1]:g} and above']


def _rank(name: str, limits: Sequence[float] | None) -> int:
    if not limits or name not in (bands := _bands(limits)):
        return 0
    return bands.index(name)


def number(value: float) -> float | None:
    """The number, None where it is not finite."""
    return float(value) if math.isfinite(value) else None
