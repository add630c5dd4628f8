"""Limits of prediction sets from the predictions of a validation."""

from __future__ import annotations

from plugins.classification.metrics.functional.conformal import fewest_samples, fit_limits
from plugins.classification.metrics.predictions import Predictions


def fit_set_limits(
    images: Predictions,
) -> tuple[tuple[tuple[float, ...] | None, tuple[int, ...] | None], list[str]]:
    """Fits the limits of the prediction sets of a task with `coverage`.

    Args:
        images: labelled and calibrated images of the validation.
    Returns:
        Limits and numbers of patients by class, None without `coverage`; and warnings.
    """
    task = images.task
    if task.coverage is None:
        return (None, None), []
    limits, samples = fit_limits(
        images.probabilities, images.labels, task.coverage, task.coverage_of, images.patients
    )
    needed = fewest_samples(task.coverage)
    few = [
        f'{count} {name}' if task.coverage_of == 'class' else str(count)
        for name, count in zip(task.classes, samples)
        if count < needed
    ]
    warnings = []
    if few:
        found = ', '.join(dict.fromkeys(few))
        warnings.append(
            f'found {found} patients in validation, {needed} needed for sets with a coverage of '
            f'{task.coverage:g}: the classes are in every set'
        )
    return (tuple(map(float, limits)), tuple(map(int, samples))), warnings
