"""Summary of a task's uncertainty: prediction sets, and the risk of the decisions that are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from plugins.classification.metrics.clinical_metrics import ClinicalMetrics
from plugins.classification.metrics.functional import bootstrap, exact
from plugins.classification.metrics.functional.bootstrap import BootstrapSettings
from plugins.classification.metrics.functional.conformal import (
    coverage_of_calibration,
    fewest_samples,
)
from plugins.classification.metrics.functional.selective import (
    COVERAGES,
    compute_risk_curve,
    name_risk,
    summarize_risk,
)
from plugins.classification.metrics.intervals import explain_few_patients, summarize_resamples
from plugins.classification.metrics.predictions import Predictions
from plugins.classification.tasks import Task

Record = dict[str, Any]


def summarize_sets(images: Predictions, settings: BootstrapSettings) -> Record | None:
    """Summarizes the prediction sets of labelled images.

    Coverage is the mean over patients of the share of their images that are covered, as it is
    promised. Its intervals are exact, and count patients. That of the size is a bootstrap's.

    Args:
        images: labelled images.
        settings: settings of the bootstrap.
    Returns:
        None if the task has no sets, or there is no image.
    """
    if images.sets is None or not len(images):
        return None
    task, sets = images.task, images.sets
    covered = sets[np.arange(len(images)), images.labels]
    sizes = sets.sum(1)
    resampled = bootstrap.score_resamples(
        lambda weights: {'size': (weights * sizes).sum(1) / weights.sum(1)},
        settings.weights(images.patients, images.labels),
    )
    patients = len(np.unique(images.patients))
    few = '' if patients >= bootstrap.MIN_PATIENTS else f'{patients} patients take part'
    counts = np.bincount(sizes, minlength=len(task.classes) + 1)
    return {
        'coverage_aimed_at': task.coverage,
        'of': task.coverage_of,
        'coverage': _summarize_share(covered, images.patients),
        'by_class': {
            name: {
                'images': int((own := images.labels == k).sum()),
                **_summarize_share(covered[own], images.patients[own]),
            }
            for k, name in enumerate(task.classes)
        },
        'size': summarize_resamples(float(sizes.mean()), resampled['size'], few),
        'sizes': {str(size): int(n) for size, n in enumerate(counts) if n},
        'wrong_alone': int((~covered & (sizes == 1)).sum()),
    }


def describe_calibration(
    task: Task, limits: Sequence[float] | None, samples: Sequence[int] | None
) -> Record | None:
    """Describes how the limits of the sets were found; None if there are none.

    Args:
        task: task of the sets.
        limits: (K,) limits of the probabilities.
        samples: (K,) number of validation patients of each limit.
    """
    if task.coverage is None or limits is None or samples is None:
        return None
    return {
        'limits': dict(zip(task.classes, limits, strict=True)),
        'patients': dict(zip(task.classes, samples, strict=True)),
        'needed': fewest_samples(task.coverage),
        'coverage_of_calibration': {
            name: coverage_of_calibration(count, task.coverage)
            for name, count in zip(task.classes, samples, strict=True)
        },
    }


def summarize_selection(
    metric: ClinicalMetrics, images: Predictions, settings: BootstrapSettings
) -> Record | None:
    """Summarizes the risk of the decisions that are kept, with bootstrap intervals by patient.

    Args:
        metric: metric of the task.
        images: labelled images.
        settings: settings of the bootstrap.
    Returns:
        `values` by name, each as in `summarize_resamples`, and the `curve`; None without images.
    """
    if not len(images):
        return None
    confidence, wrong = images.confidence(), images.labels != images.decisions
    whole = summarize_risk(confidence, wrong)
    resampled = bootstrap.score_resamples(
        lambda weights: summarize_risk(confidence, wrong, weights),
        settings.weights(images.patients, images.labels),
    )
    few = explain_few_patients(metric.metric_values(images), images.patients, 'accuracy')
    order = np.argsort(-confidence, kind='stable')
    values = {}
    for name, value in whole.items():
        share = next((c for c in COVERAGES if name_risk(c) == name), None)
        exactly = partial(_count_kept, order, wrong, images.patients, share)
        values[name] = summarize_resamples(float(value), resampled[name], few, exactly)
    return {'values': values}


def compute_selection_curve(images: Predictions) -> dict[str, list[float]]:
    """Computes the risk-coverage curve of labelled images, for figures."""
    coverage, risk = compute_risk_curve(images.confidence(), images.labels != images.decisions)
    return {'coverage': coverage.tolist(), 'risk': risk.tolist()}


def _summarize_share(hits: np.ndarray, patients: np.ndarray) -> Mapping[str, Any]:
    _, owner, images = np.unique(patients, return_inverse=True, return_counts=True)
    shares = np.bincount(owner, hits) / images  # of each patient
    found = exact.share_interval(shares, np.arange(len(shares)))
    if found is None:
        return {'value': None, 'low': None, 'high': None}
    return {
        'value': float(shares.mean()),
        'low': found.low,
        'high': found.high,
        'exact': found.trials,
    }


def _count_kept(
    order: np.ndarray, wrong: np.ndarray, patients: np.ndarray, share: float | None
) -> exact.ExactInterval | None:
    """Computes the exact interval of the risk of the surest decisions; None for the area."""
    if share is None:
        return None
    kept = order[: int(np.ceil(share * len(order) - 1e-9))]
    return exact.share_interval(wrong[kept], patients[kept])
