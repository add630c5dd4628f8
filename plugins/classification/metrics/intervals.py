"""Values of named metrics with their 95 % intervals, the same for every file of a run.

Intervals are percentiles of a bootstrap by patient. A bootstrap says too little in two cases: no
resample changes the value, or fewer than 6 patients take part (see `MIN_PATIENTS`). Then the
interval is an exact or conservative one that counts patients, or there is none, with the reason.
Of a mean over classes, each class that no resample changes is such a case.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from plugins.classification.metrics.functional import bootstrap, exact
from plugins.classification.metrics.functional.bootstrap import BootstrapSettings
from plugins.classification.metrics.functional.delong import delong
from plugins.classification.metrics.functional.exact import ExactInterval
from plugins.classification.metrics.named_metrics import MetricValues

SHARES = ('sensitivity', 'specificity', 'PPV', 'NPV', 'accuracy', 'recall_rarest')
# Means over the classes -> the metric of each class.
MEANS = {
    'macro_F1': 'F1',
    'balanced_accuracy': 'sensitivity',
    'macro_AUC': 'AUC',
    'macro_AP': 'AP',
}
CONSTANT = 'no resample changes it'
# An area sorts all samples for each class; of more, resamples would take minutes to hours.
AREAS = ('AUC', 'AP', 'macro_AUC', 'macro_AP')
MAX_CLASSES = 100
FEW_CLASSES = 10  # whose areas are always resampled
MAX_SORTED = 200_000  # samples times classes, of more classes: a minute for 2,000 resamples

Record = dict[str, Any]


def compute_with_intervals(
    values: MetricValues,
    patients: np.ndarray,
    names: Sequence[str],
    settings: BootstrapSettings,
) -> dict[str, Record]:
    """Compute metrics with their intervals.

    Args:
        values: values of N labelled predictions.
        patients: (N,) patient of each prediction.
        names: names of metrics.
        settings: settings of the bootstrap.
    Returns:
        By name `value`, `low`, `high` and `undefined`, the share of the resamples without a value;
        `why`, if the value is not defined; `exact`, the number of patients (or pairs of them) of
        an interval that is not the bootstrap's; `no_interval`, the reason for a missing one; and
        of an AUC `delong`, its interval by DeLong's method, or None.
    """
    whole = values.compute(names)
    many = explain_many_classes(values)
    drawn = [name for name in names if not (many and name.partition('/')[0] in AREAS)]
    scored = list(
        dict.fromkeys([*drawn, *(own for name in drawn for own in list_parts(values, name))])
    )
    weights = settings.weights(patients, values.labels) if drawn else iter(())
    resampled = bootstrap.score_resamples(lambda part: values.compute(scored, part), weights)
    records = {}
    for name in names:
        if name not in drawn:
            records[name] = summarize_resamples(float(whole[name]), None)
            why = values.explain_undefined(name)
            records[name] |= {'why': why} if why else {'no_interval': many}
            continue
        few = explain_few_patients(values, patients, name)
        exactly = partial(_exact, values, patients, name)
        fixed = find_fixed_classes(values, name, resampled)
        if fixed and not few and not bootstrap.is_constant(resampled[name]):
            few = f'no resample changes {", ".join(fixed)}'
            exactly = partial(_widen, values, patients, name, resampled[name], fixed)
        record = records[name] = summarize_resamples(
            float(whole[name]), resampled.get(name), few, exactly
        )
        if why := values.explain_undefined(name):
            record['why'] = why
        elif name.partition('/')[0] == 'AUC':
            record['delong'] = None if few else _delong(values, patients, name)
    return records


def summarize_resamples(
    value: float,
    resampled: np.ndarray | None,
    few: str = '',
    exact_interval: Callable[[], ExactInterval | None] = lambda: None,
) -> Record:
    """Describe a value and its interval.

    Args:
        value: value of all samples; NaN if it is not defined.
        resampled: (resamples,) its values in the resamples.
        few: reason for which a bootstrap says too little, '' for none.
        exact_interval: computes the interval that replaces the bootstrap's.
    """
    if math.isnan(value) or resampled is None:
        return {'value': finite_or_none(value), 'low': None, 'high': None, 'undefined': None}
    interval = bootstrap.percentile_interval(resampled)
    record: Record = {
        'value': value,
        'low': interval.low,
        'high': interval.high,
        'undefined': round(interval.undefined, 4),
    }
    constant = bootstrap.is_constant(resampled)
    if interval.low is not None and not constant and not few:
        return record
    if (found := exact_interval()) is not None:
        return record | {'low': found.low, 'high': found.high, 'exact': found.trials}
    many = f'{interval.undefined:.0%} of the resamples have no value'
    reason = few or (CONSTANT if constant else many)
    return record | {'low': None, 'high': None, 'no_interval': reason}


def explain_few_patients(values: MetricValues, patients: np.ndarray, name: str) -> str:
    """Explain why too few patients take part in a metric for a bootstrap; '' if they are enough."""
    for text, taking_part in _groups(values, name).items():
        count = len(np.unique(patients[taking_part]))
        if count < bootstrap.MIN_PATIENTS:
            people = 'patient' if count == 1 else 'patients'
            return f'{count} {people} {text}, {bootstrap.MIN_PATIENTS} are needed'
    return ''


def explain_many_classes(values: MetricValues) -> str:
    """Explain why areas are not resampled; '' if they are."""
    if values.classes > MAX_CLASSES:
        return f'areas of more than {MAX_CLASSES} classes are not resampled'
    if values.classes > FEW_CLASSES and values.classes * len(values.labels) > MAX_SORTED:
        return f'areas of more than {MAX_SORTED:,} samples times classes are not resampled'
    return ''


def list_parts(values: MetricValues, name: str) -> list[str]:
    """List the metrics of single classes whose mean a metric is; none if it is no such mean."""
    own = MEANS.get(name)
    return [f'{own}/{text}' for text in values.task.classes] if own else []


def find_fixed_classes(
    values: MetricValues, name: str, resampled: Mapping[str, np.ndarray]
) -> list[str]:
    """List the metrics of single classes in a mean over classes that no resample changes."""
    return [one for one in list_parts(values, name) if bootstrap.is_constant(resampled[one])]


def finite_or_none(value: float) -> float | None:
    """Return the number, or None if it is not finite, which JSON does not have."""
    return float(value) if math.isfinite(value) else None


def _groups(values: MetricValues, name: str) -> Mapping[str, np.ndarray]:
    """Return the groups of samples that a metric depends on, each as a mask (N,)."""
    metric = name.partition('/')[0]
    classes = values.task.classes
    if metric in SHARES:
        return {'take part': _denominator(values, name)}
    if metric in ('AUC', 'AP'):
        own = values.class_index(name)
        return _against_rest(values, own)
    if metric == 'F1':
        own = values.class_index(name)
        return {f'with {classes[own]}': values.labels == own}
    if metric in ('macro_AUC', 'macro_AP'):
        return {
            text: mask
            for i in range(len(classes))
            for text, mask in _against_rest(values, i).items()
        }
    if metric in MEANS:
        return {f'with {text}': values.labels == i for i, text in enumerate(classes)}
    return {'in all': np.ones(len(values.labels), dtype=bool)}


def _against_rest(values: MetricValues, own: int) -> dict[str, np.ndarray]:
    text = values.task.classes[own]
    return {f'with {text}': values.labels == own, f'without {text}': values.labels != own}


def _denominator(values: MetricValues, name: str) -> np.ndarray:
    """Return the samples (N,) that a share is taken of."""
    metric = name.partition('/')[0]
    if metric == 'accuracy':
        return np.ones(len(values.labels), dtype=bool)
    if metric == 'recall_rarest':
        return values.labels == values.rarest
    own = values.class_index(name)
    return {
        'sensitivity': values.labels == own,
        'specificity': values.labels != own,
        'PPV': values.decisions == own,
        'NPV': values.decisions != own,
    }[metric]


def _exact(
    values: MetricValues, patients: np.ndarray, name: str, level: float = bootstrap.LEVEL
) -> ExactInterval | None:
    """Compute the interval of a metric that counts patients; None if none is known for it."""
    metric = name.partition('/')[0]
    if metric in SHARES:
        part = _denominator(values, name)
        right = values.labels == values.decisions
        if metric in ('specificity', 'NPV'):
            own = values.class_index(name)
            right = (values.labels == own) == (values.decisions == own)
        return exact.share_interval(right[part], patients[part], level)
    if metric == 'F1':
        own = values.class_index(name)
        return exact.f1_interval(values.labels == own, values.decisions == own, patients, level)
    if metric == 'AUC':
        own, area = values.class_index(name), values.value(name)
        if area not in (0, 1):
            return None
        return exact.separation_interval(area, values.labels == own, patients, level)
    if metric in MEANS:
        # Bonferroni: all classes hold together with the level that is asked for.
        each = 1 - (1 - level) / values.classes
        found = [
            _exact(values, patients, f'{MEANS[metric]}/{text}', each)
            for text in values.task.classes
        ]
        if any(one is None for one in found):
            return None
        return ExactInterval(
            float(np.mean([one.low for one in found if one is not None])),
            float(np.mean([one.high for one in found if one is not None])),
            min(one.trials for one in found if one is not None),
        )
    return None


def _widen(
    values: MetricValues,
    patients: np.ndarray,
    name: str,
    resampled: np.ndarray,
    fixed: Sequence[str],
) -> ExactInterval | None:
    """Compute the interval of a mean over classes of which some are the same in every resample.

    The bootstrap tells of the other classes. The limits of each fixed one move its limits by their
    share. By Bonferroni, all of these intervals hold together with the level.

    Returns:
        None if a fixed class has no exact interval.
    """
    each = 1 - (1 - bootstrap.LEVEL) / (len(fixed) + 1)
    found = [_exact(values, patients, own, each) for own in fixed]
    known, whole = resampled[np.isfinite(resampled)], values.value(name)
    exact_ones = [one for one in found if one is not None]
    if not len(known) or len(exact_ones) < len(fixed):
        return None
    # A mean that the resamples shift to one side lies in its interval nevertheless.
    low, high = map(float, np.quantile(known, [(1 - each) / 2, (1 + each) / 2]))
    below = sum(values.value(own) - one.low for own, one in zip(fixed, exact_ones, strict=True))
    above = sum(one.high - values.value(own) for own, one in zip(fixed, exact_ones, strict=True))
    return ExactInterval(
        max(0.0, min(low, whole) - below / values.classes),
        min(1.0, max(high, whole) + above / values.classes),
        min(one.trials for one in exact_ones),
    )


def _delong(values: MetricValues, patients: np.ndarray, name: str) -> list[float] | None:
    own = values.class_index(name)
    try:
        areas = delong([values.probabilities[:, own]], values.labels == own, patients)
    except ValueError:
        return None  # too few patients for a variance
    interval = areas.interval()
    return None if interval is None else list(interval)
