"""What figures of a test are drawn from: confusion, ROC, PR, reliability, the worst mistakes.

Plain numbers, which a report can show again; nothing here draws. Bands and intervals are the 2.5th
and 97.5th percentiles over resamples of whole patients, as images of a patient are no independent
samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from plugins.classification.metrics.functional.calibration import BINS
from plugins.classification.tasks import Task

GRID = np.linspace(0, 1, 101)  # of false positive rates, and of recalls, at which bands are given
POINTS = 400  # of a curve, at most
LEVEL = (2.5, 97.5)
_CELLS = 4_000_000  # samples x resamples that are worked on at once


@dataclass(frozen=True)
class Scored:
    """What a system said of the labelled images of a task.

    Attributes:
        ids: of the images (N).
        patients: whom they show (N).
        labels: class indices (N,).
        logits: (N, K), as the network gives them.
        probabilities: (N, K), after the temperature.
        decisions: class indices by the stored threshold (N,).
    """

    ids: Sequence[str]
    patients: Sequence[str]
    labels: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    decisions: np.ndarray


def numbers(
    scored: Scored, task: Task, threshold: float | None, temperature: float, resamples: int
) -> dict[str, Any]:
    """All numbers behind the figures of a task, as plain values.

    Args:
        scored: what was said of its images; one at least.
        task: its classes.
        threshold: on the positive class, None where there is no such class.
        temperature: of the probabilities.
        resamples: of the bootstrap by patient.
    """
    positive = task.positive_index
    groups = np.unique(np.asarray(scored.patients), return_inverse=True)[1]
    shown = range(len(task.classes)) if positive is None else (positive,)
    raw = _softmax(scored.logits)
    return {
        'classes': list(task.classes),
        'positive': task.positive,
        'threshold': threshold,
        'temperature': temperature,
        'images': len(scored.labels),
        'patients': int(groups.max()) + 1,
        'confusion': confusion(scored.labels, scored.decisions, len(task.classes)),
        'curves': {
            task.classes[k]: curve(
                scored.probabilities[:, k],
                scored.labels == k,
                groups,
                resamples,
                threshold if k == positive else None,
            )
            for k in shown
        },
        'reliability': {
            'of': f'probability of {task.positive}' if task.positive else 'confidence',
            'before': reliability(raw, scored.labels, positive),
            'after': reliability(scored.probabilities, scored.labels, positive),
        },
    }


def confusion(labels: np.ndarray, decisions: np.ndarray, classes: int) -> list[list[int]]:
    """How many of each class (rows) were taken for each class (columns)."""
    flat = np.bincount(labels * classes + decisions, minlength=classes * classes)
    return flat.reshape(classes, classes).tolist()


def curve(
    scores: np.ndarray,
    positive: np.ndarray,
    groups: np.ndarray,
    resamples: int,
    threshold: float | None = None,
) -> dict[str, Any]:
    """ROC and PR of one class against the rest, with bands by patient, and where it operates.

    Args:
        scores: (N,) probabilities of the class.
        positive: (N,) whether an image is of the class.
        groups: (N,) number of the patient.
        resamples: of the bootstrap.
        threshold: from which on an image is taken for the class.
    Returns:
        `positives` and `negatives`; `roc` (`x` false positive rate, `y` sensitivity) and `pr`
        (`x` recall, `y` precision), each with `low` and `high` at GRID; `AUC` and `AP`, each
        [value, low, high]; `resamples`, those that had both classes; `operating`: `threshold`,
        `sensitivity`, `specificity`, `PPV`. Of a class that has no image, or all of them, the
        counts alone.
    """
    counts = {'positives': int(positive.sum()), 'negatives': int((~positive).sum())}
    if not counts['positives'] or not counts['negatives']:
        return counts
    order = np.argsort(-scores, kind='stable')
    # Where the score changes: equal scores are passed together.
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits, owners = positive[order], groups[order]
    fpr, tpr, precision = _rates(np.ones((1, len(scores))), hits, ends)
    sampled = _resampled(hits, owners, ends, resamples)
    auc, ap = _areas(fpr, tpr, precision)
    found: dict[str, Any] = {
        **counts,
        'AUC': [_round(auc[0]), *_interval(sampled['AUC'])],
        'AP': [_round(ap[0]), *_interval(sampled['AP'])],
        'roc': {**_thinned(fpr[0], tpr[0]), **_band(sampled['roc'])},
        'pr': {**_thinned(tpr[0, 1:], precision[0]), **_band(sampled['pr'])},
        'resamples': len(sampled['AUC']),
    }
    if threshold is not None:
        found['operating'] = operating(scores, positive, threshold)
    return found


def operating(scores: np.ndarray, positive: np.ndarray, threshold: float) -> dict[str, Any]:
    """Sensitivity, specificity and PPV at a threshold; None where nothing can be divided by."""
    taken = scores >= threshold
    hits = int((taken & positive).sum())
    return {
        'threshold': _round(threshold),
        'sensitivity': _share(hits, int(positive.sum())),
        'specificity': _share(int((~taken & ~positive).sum()), int((~positive).sum())),
        'PPV': _share(hits, int(taken.sum())),
    }


def reliability(
    probabilities: np.ndarray, labels: np.ndarray, positive: int | None
) -> dict[str, Any]:
    """How often what is said with a probability is so, in bins of equal width.

    Of a task with a positive class that class's probability (N, K) is looked at, of others that of
    the likeliest class.

    Returns:
        `ECE`, the mean over images of the difference in their bin, and `bins`, those with images:
        `low`, `high`, `said` (mean probability), `so` (share), `n`.
    """
    if positive is None:
        said, so = probabilities.max(1), probabilities.argmax(1) == labels
    else:
        said, so = probabilities[:, positive], labels == positive
    place = np.minimum((said * BINS).astype(int), BINS - 1)
    bins, error = [], 0.0
    for number in np.unique(place):
        inside = place == number
        mean, share, n = said[inside].mean(), so[inside].mean(), int(inside.sum())
        error += n * abs(mean - share)
        bins.append(
            {
                'low': number / BINS,
                'high': (number + 1) / BINS,
                'said': _round(mean),
                'so': _round(share),
                'n': n,
            }
        )
    return {'ECE': _round(error / len(labels)), 'bins': bins}


def mistakes(scored: Scored, count: int) -> np.ndarray:
    """Indices of images that were taken for a wrong class, the surest first: those whose true class
    was given the lowest probability."""
    wrong = np.flatnonzero(scored.labels != scored.decisions)
    truth = scored.probabilities[wrong, scored.labels[wrong]]
    return wrong[np.argsort(truth, kind='stable')][:count]


# -- the bootstrap ---------------------------------------------------------------------------------


def _resampled(
    hits: np.ndarray, owners: np.ndarray, ends: np.ndarray, resamples: int
) -> dict[str, np.ndarray]:
    """AUC, AP, and the curves at GRID, over resamples of patients that have both classes."""
    generator = np.random.default_rng(0)
    patients = int(owners.max()) + 1
    share = np.full(patients, 1 / patients)
    step = max(1, _CELLS // len(hits))
    found: dict[str, list[np.ndarray]] = {name: [] for name in ('AUC', 'AP', 'roc', 'pr')}
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        times = generator.multinomial(patients, share, size)[:, owners]  # (R, N)
        both = (times[:, hits].sum(1) > 0) & (times[:, ~hits].sum(1) > 0)
        if not both.any():
            continue
        fpr, tpr, precision = _rates(times[both], hits, ends)
        auc, ap = _areas(fpr, tpr, precision)
        found['AUC'].append(auc)
        found['AP'].append(ap)
        found['roc'].append(np.stack([np.interp(GRID, x, y) for x, y in zip(fpr, tpr)]))
        reached = [np.searchsorted(x[1:-1], GRID) for x in tpr]
        found['pr'].append(np.stack([y[i] for y, i in zip(precision, reached)]))
    return {k: np.concatenate(v) if v else np.empty(0) for k, v in found.items()}


def _rates(
    times: np.ndarray, hits: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False and true positive rates (R, T + 1), from 0 to 1, and precisions (R, T) at T thresholds,
    where each sample counts `times` (R, N)."""
    true = np.cumsum(times * hits, 1)[:, ends].astype(float)
    false = np.cumsum(times * ~hits, 1)[:, ends].astype(float)
    # Before the first sample that was drawn nothing has been taken, and nothing taken wrongly.
    taken = true + false
    precision = np.divide(true, taken, out=np.ones_like(true), where=taken > 0)
    start = np.zeros((len(times), 1))
    tpr = np.concatenate([start, true / true[:, -1:]], 1)
    fpr = np.concatenate([start, false / false[:, -1:]], 1)
    return fpr, tpr, precision


def _areas(
    fpr: np.ndarray, tpr: np.ndarray, precision: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """AUC (R,) by trapezoids, and average precision (R,) by steps."""
    auc = (np.diff(fpr, axis=1) * (tpr[:, 1:] + tpr[:, :-1]) / 2).sum(1)
    return auc, (np.diff(tpr, axis=1) * precision).sum(1)


# -- plain values ----------------------------------------------------------------------------------


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def _interval(values: np.ndarray) -> list[float | None]:
    return [_round(v) for v in np.percentile(values, LEVEL)] if len(values) else [None, None]


def _band(values: np.ndarray) -> dict[str, list[float]]:
    if not len(values):
        return {}
    low, high = np.percentile(values, LEVEL, axis=0)
    return {'low': [_round(v) for v in low], 'high': [_round(v) for v in high]}


def _thinned(x: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).round().astype(int))
    return {'x': [_round(v) for v in x[keep]], 'y': [_round(v) for v in y[keep]]}


def _share(part: int, whole: int) -> float | None:
    return _round(part / whole) if whole else None


def _round(value: Any) -> float:
    return float(f'{float(value):.5g}')
