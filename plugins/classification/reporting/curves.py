"""Numbers behind the figures of a test: curves with bands, reliability, examples.

Values that stand in the clinical report too (areas, ECE, confusion, operating point) come from the
same functions with the same bootstrap, so that both files of a run state the same numbers. Points
of curves and bands are rounded and thinned, as they are only drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from plugins.classification.metrics.clinical_metrics import ClinicalMetrics
from plugins.classification.metrics.functional.bootstrap import LEVEL, BootstrapSettings
from plugins.classification.metrics.functional.calibration import BINS, bin_index
from plugins.classification.metrics.functional.confusion import confusion
from plugins.classification.metrics.functional.net_benefit import net_benefit, treat_all
from plugins.classification.metrics.intervals import compute_with_intervals, finite_or_none
from plugins.classification.metrics.predictions import Predictions
from plugins.classification.reporting.clinical.uncertainty_summary import (
    compute_selection_curve,
    summarize_sets,
)

GRID = np.linspace(0, 1, 101)  # false positive rates, or recalls, at which bands are given
MAX_POINTS = 400  # of a curve
MANY_CLASSES = 20  # of more, only MAX_CURVES have curves: those with the fewest images
MAX_CURVES = 10


@dataclass(frozen=True)
class FigureSettings:
    """Settings of the numbers behind figures.

    Attributes:
        bootstrap: settings of the bootstrap of the intervals.
        band_resamples: number of resamples of the bands.
    """

    bootstrap: BootstrapSettings
    band_resamples: int

    @property
    def bands(self) -> BootstrapSettings:
        """Settings of the bootstrap of the bands."""
        return BootstrapSettings(
            self.band_resamples, self.bootstrap.seed, self.bootstrap.stratified
        )


def compute_task_numbers(
    metric: ClinicalMetrics, images: Predictions, temperature: float, settings: FigureSettings
) -> dict[str, Any]:
    """Compute all numbers behind the figures of a task, as plain values.

    Args:
        metric: metric of the task.
        images: labelled images, at least one.
        temperature: temperature of the probabilities.
        settings: settings of the bootstrap.
    """
    task, positive = images.task, images.positive
    shown = _choose_classes(images) if positive is None else [positive]
    return {
        'classes': list(task.classes),
        'positive': task.positive,
        'threshold': images.threshold,
        'temperature': temperature,
        'images': len(images),
        'patients': len(np.unique(images.patients)),
        'confusion': confusion(images.labels, images.decisions, len(task.classes))
        .astype(int)
        .tolist(),
        'curves': {task.classes[k]: compute_curve(metric, images, k, settings) for k in shown},
        'decision_curve': None if positive is None else compute_decision_curve(images),
        'risk_coverage': _thin_selection(images),
        'prediction_sets': summarize_sets(images, settings.bootstrap),
        'reliability': {
            'of': f'probability of {task.positive}' if task.positive else 'confidence',
            'before': compute_reliability(metric, images.uncalibrated()),
            'after': compute_reliability(metric, images),
        },
    }


def compute_curve(
    metric: ClinicalMetrics, images: Predictions, own: int, settings: FigureSettings
) -> dict[str, Any]:
    """Compute ROC and PR of one class against the rest, with bands by patient.

    Args:
        metric: metric of the task.
        images: labelled images.
        own: index of the class.
        settings: settings of the bootstrap.
    Returns:
        `positives` and `negatives`; `roc` (`x` false positive rate, `y` sensitivity) and `pr`
        (`x` recall, `y` precision), each with `low` and `high` at GRID; `AUC` and `AP`, each
        [value, low, high]; `resamples`, the number of those behind the bands; for the positive
        class `operating`: `threshold`, `sensitivity`, `specificity`, `PPV`. If the class has no
        image, or all of them, the counts alone. Bands are missing if the AUC's interval is not
        one of the bootstrap.
    """
    scores, positive = images.probabilities[:, own], images.labels == own
    counts = {'positives': int(positive.sum()), 'negatives': int((~positive).sum())}
    if not counts['positives'] or not counts['negatives']:
        return counts
    names = {f'{name}/{images.task.classes[own]}': name for name in ('AUC', 'AP')}
    values = metric.metric_values(images)
    areas = compute_with_intervals(values, images.patients, list(names), settings.bootstrap)
    order = np.argsort(-scores, kind='stable')
    # Equal scores are passed together: the places at which the score changes.
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    fpr, tpr, precision = _rates(np.ones((1, len(scores))), positive[order], ends)
    curve: dict[str, Any] = {
        **counts,
        **{
            short: [areas[name][k] for k in ('value', 'low', 'high')]
            for name, short in names.items()
        },
        'roc': _thin(fpr[0], tpr[0]),
        'pr': _thin(tpr[0, 1:], precision[0]),
        'resamples': 0,
    }
    auc = areas[f'AUC/{images.task.classes[own]}']
    if auc['low'] is not None and 'exact' not in auc:
        bands = _resample_curves(images, own, order, ends, settings.bands)
        curve['roc'] |= _band(bands['roc'])
        curve['pr'] |= _band(bands['pr'])
        curve['resamples'] = len(bands['roc'])
    if own == images.positive and images.threshold is not None:
        found = values.compute(['sensitivity', 'specificity', 'PPV'])
        curve['operating'] = {
            'threshold': images.threshold,
            **{name: finite_or_none(float(value)) for name, value in found.items()},
        }
    return curve


def compute_decision_curve(images: Predictions) -> dict[str, list[float]]:
    """Compute the net benefit of the calibrated probabilities at thresholds, and of treating all.

    Args:
        images: labelled images of a task with a positive class, at least one.
    Returns:
        `threshold`, `model` and `all`, of equal length.
    """
    assert images.positive is not None
    probability, truth = images.probabilities[:, images.positive], images.labels == images.positive
    thresholds = GRID[1:-1]
    curves = {
        'threshold': thresholds,
        'model': net_benefit(probability, truth, thresholds),
        'all': treat_all(truth, thresholds),
    }
    return {name: [_round(value) for value in values] for name, values in curves.items()}


def _choose_classes(images: Predictions) -> list[int]:
    """Choose the classes with curves: all, or of many those with the fewest images, but some."""
    counts = np.bincount(images.labels, minlength=len(images.task.classes))
    if len(counts) <= MANY_CLASSES:
        return list(range(len(counts)))
    known = np.flatnonzero(counts)
    return sorted(known[np.argsort(counts[known], kind='stable')][:MAX_CURVES].tolist())


def _thin_selection(images: Predictions) -> dict[str, Any]:
    """Return the risk-coverage curve at up to MAX_POINTS places, and its area."""
    found = compute_selection_curve(images)
    curve = _thin(np.array(found['coverage']), np.array(found['risk']))
    return {**curve, 'AURC': _round(np.mean(found['risk']))}


def compute_reliability(metric: ClinicalMetrics, images: Predictions) -> dict[str, Any]:
    """Compare confidence and accuracy in bins of equal width.

    Returns:
        `ECE`, and `bins`, those with images: `low`, `high`, mean `confidence`, `accuracy`, `n`.
    """
    values = metric.metric_values(images)
    confidence, right = values.confidence()
    index = bin_index(confidence)
    bins = []
    for number in np.unique(index):
        inside = index == number
        bins.append(
            {
                'low': number / BINS,
                'high': (number + 1) / BINS,
                'confidence': _round(confidence[inside].mean()),
                'accuracy': _round(right[inside].mean()),
                'n': int(inside.sum()),
            }
        )
    return {'ECE': values.value('ECE'), 'bins': bins}


# -- bands -----------------------------------------------------------------------------------------


def _resample_curves(
    images: Predictions,
    own: int,
    order: np.ndarray,
    ends: np.ndarray,
    settings: BootstrapSettings,
) -> dict[str, np.ndarray]:
    """Compute the curves at GRID of all resamples that have both classes: (r, 101) each."""
    hits = images.labels[order] == own
    found: dict[str, list[np.ndarray]] = {'roc': [], 'pr': []}
    for part in settings.weights(images.patients, images.labels):
        weights = part[:, order]
        both = (weights[:, hits].sum(1) > 0) & (weights[:, ~hits].sum(1) > 0)
        if not both.any():
            continue
        fpr, tpr, precision = _rates(weights[both], hits, ends)
        found['roc'].append(np.stack([np.interp(GRID, x, y) for x, y in zip(fpr, tpr)]))
        reached = [np.searchsorted(x[1:-1], GRID) for x in tpr]
        found['pr'].append(np.stack([y[i] for y, i in zip(precision, reached)]))
    return {k: np.concatenate(v) if v else np.empty((0, len(GRID))) for k, v in found.items()}


def _rates(
    weights: np.ndarray, hits: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute false and true positive rates, from 0 to 1, and precisions at T thresholds.

    Shape: weights (r, N), hits (N,), ends (T,) -> (r, T + 1), (r, T + 1), (r, T).
    """
    true = np.cumsum(weights * hits, 1)[:, ends]
    false = np.cumsum(weights * ~hits, 1)[:, ends]
    # Above the highest sample of a resample nothing is called positive, and nothing wrongly.
    called = true + false
    precision = np.divide(true, called, out=np.ones_like(true), where=called > 0)
    start = np.zeros((len(weights), 1))
    tpr = np.concatenate([start, true / true[:, -1:]], 1)
    fpr = np.concatenate([start, false / false[:, -1:]], 1)
    return fpr, tpr, precision


def _band(values: np.ndarray) -> dict[str, list[float]]:
    if not len(values):
        return {}
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return {'low': [_round(v) for v in low], 'high': [_round(v) for v in high]}


def _thin(x: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), MAX_POINTS)).round().astype(int))
    return {'x': [_round(v) for v in x[keep]], 'y': [_round(v) for v in y[keep]]}


def _round(value: Any) -> float:
    return float(f'{float(value):.5g}')
