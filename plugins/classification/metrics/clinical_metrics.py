"""The metrics that clinical reviewers ask for, of one task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from plugins.classification.metrics.functional.patients import Aggregation
from plugins.classification.metrics.named_metrics import (
    MetricValues,
    expand_names,
    is_higher_better,
    main_names,
)
from plugins.classification.metrics.predictions import Predictions, read_rows
from plugins.classification.tasks import Task
from toolkit.errors import DataError, did_you_mean
from toolkit.interfaces import Batch, Metric
from toolkit.registry import METRICS
from toolkit.registry.build import ComponentFactory

Level = Literal['image', 'patient']
SUBGROUPS = ('sex', 'age')


@METRICS.register
class ClinicalMetrics(Metric):
    """AUC, sensitivity, specificity, macro-F1, calibration and more, of one task.

    Sensitivity, specificity, PPV, NPV, F1, AUC and AP are those of the positive class; without a
    positive class they are `NAME/CLASS`, of every class against the rest. The others are
    `accuracy`, `balanced_accuracy`, `macro_F1`, `macro_AUC`, `macro_AP`, `MCC`, `kappa`,
    `kappa_quadratic` (of ordered classes), `recall_rarest`, `ECE` (15 bins of equal width),
    `Brier`, `NLL`, and `mean_cost` of a task with costs. A value that is not defined, such as the
    AUC of a class without samples, is NaN.

    A row holds the item's `id`, `patient`, `centre`, `attributes`, `label` (-1 if it is missing),
    `logits`, `probabilities`, `decision` and `threshold`, and where they differ from the default
    `patient_threshold` and the `weights` of classes; rows without a label do not count. A task with
    `coverage` has the `set` of each item too, as numbers of classes.

    Args:
        task: name of the task.
        tasks: all tasks by name; `${model.tasks}`.
        level: 'image', or 'patient' to join the probabilities of a patient's images.
        aggregate: rule that joins them: 'mean', 'max' or 'noisy_or'.
        values: names of the values; None for those that fit the task.
        rarest: class of `recall_rarest`; None for the one with the fewest labels.
        subgroups: attributes that the rows keep beside the centre.
    Raises:
        ValueError: an unknown task, class, level, rule or value.
    """

    def __init__(
        self,
        task: str,
        tasks: dict[str, Task],
        level: Level = 'image',
        aggregate: Aggregation = 'mean',
        values: list[str] | None = None,
        rarest: str | None = None,
        subgroups: list[str] | None = None,
    ) -> None:
        if task not in tasks:
            raise ValueError(
                f'there is no task {task!r}{did_you_mean(task, tasks)}; there are: '
                f'{", ".join(tasks)}'
            )
        for name, found, kind in (('level', level, Level), ('aggregate', aggregate, Aggregation)):
            if found not in get_args(kind):
                raise ValueError(
                    f'{name} must be one of {", ".join(get_args(kind))}, found {found!r}'
                )
        self.task_name, self.task = task, tasks[task]
        classes = self.task.classes
        if rarest is not None and rarest not in classes:
            raise ValueError(
                f'rarest: there is no class {rarest!r}{did_you_mean(rarest, classes)}; there are: '
                f'{", ".join(classes)}'
            )
        if values is not None and not values:
            raise ValueError('values is empty; name at least one, or leave it out')
        self.level: Level = level
        self.aggregate: Aggregation = aggregate
        self.values = expand_names(self.task, values)
        self.rarest = None if rarest is None else classes.index(rarest)
        self.subgroups = tuple(SUBGROUPS if subgroups is None else subgroups)
        self.directions: Mapping[str, bool] = {v: is_higher_better(v) for v in self.values}
        self.main: Sequence[str] = [v for v in main_names(self.task) if v in self.values]

    def measure(self, outputs: Mapping[str, Any], batch: Batch) -> list[dict[str, Any]]:
        """Return one row per image.

        Raises:
            DataError: the system does not predict the task, or its logits are not finite.
        """
        name = self.task_name
        for needed in ('logits', 'probabilities', 'decision'):
            if name not in outputs.get(needed, {}):
                raise DataError(
                    f'ClinicalMetrics scores the {needed} of task {name!r}, which the system does '
                    'not give'
                )
        tensors = [outputs[key][name] for key in ('logits', 'probabilities', 'decision')]
        logits, probabilities, decisions = (values.detach().cpu().tolist() for values in tensors)
        labels = batch['labels'][name].tolist()
        stored = {
            key: [None] * len(labels) if values is None else values.tolist()
            for key in ('threshold', 'patient_threshold', 'weights', 'set')
            for values in (outputs.get(key, {}).get(name),)
        }
        rows = []
        for i, meta in enumerate(batch['meta']):
            if not np.isfinite(logits[i]).all():
                raise DataError(
                    f'the logits of task {name!r} are not finite for {meta["id"]}: {logits[i]}'
                )
            known = meta.get('attributes') or {}
            rows.append(
                {
                    'id': meta['id'],
                    'patient': meta.get('patient') or meta['id'],
                    'centre': meta.get('centre', ''),
                    'attributes': {key: known[key] for key in self.subgroups if known.get(key)},
                    'label': labels[i],
                    'logits': logits[i],
                    'probabilities': probabilities[i],
                    'decision': decisions[i],
                    'threshold': stored['threshold'][i],
                }
            )
            if stored['patient_threshold'][i] != stored['threshold'][i]:
                rows[-1]['patient_threshold'] = stored['patient_threshold'][i]
            if any(weight != 1 for weight in stored['weights'][i] or ()):
                rows[-1]['weights'] = stored['weights'][i]
            if stored['set'][i] is not None:
                rows[-1]['set'] = [k for k, inside in enumerate(stored['set'][i]) if inside]
        return rows

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Compute the values over all labelled rows; NaN if one is not defined."""
        found = self.metric_values(self.read_predictions(rows)).compute(self.values)
        return {name: float(value) for name, value in found.items()}

    def read_predictions(self, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        """Read the labelled items of rows, images or patients as `level` says."""
        found = read_rows(rows, self.task)
        return found.by_patient(self.aggregate) if self.level == 'patient' else found.labelled()

    def metric_values(self, labelled: Predictions) -> MetricValues:
        """Return the values of labelled predictions, which are computed on demand."""
        return MetricValues(
            self.task,
            labelled.labels,
            labelled.probabilities,
            labelled.decisions,
            self.rarest,
        )


def build_clinical_metrics(slots: Mapping[str, Callable[[], Metric]]) -> dict[str, Metric]:
    """Build those of the configured metrics that are `ClinicalMetrics`, by key."""
    return {
        key: slot()
        for key, slot in slots.items()
        if isinstance(slot, ComponentFactory) and issubclass(slot.cls, ClinicalMetrics)
    }


def find_clinical_metrics(
    metrics: Mapping[str, Metric],
) -> dict[str, tuple[str, ClinicalMetrics]]:
    """Find the `ClinicalMetrics` of each task among metrics by key.

    All those of a task have the same rows; one that scores images is preferred.

    Returns:
        Key and metric by task.
    """
    return _find_by_level(metrics, 'image')


def find_aggregations(metrics: Mapping[str, Metric]) -> dict[str, Aggregation]:
    """Find the rule that joins the images of a patient, of each task.

    It is that of the task's `ClinicalMetrics`; of several, of the first one that scores patients,
    since its values depend on the rule.

    Returns:
        Rule by task; a task without `ClinicalMetrics` is left out.
    """
    return {
        task: metric.aggregate for task, (_, metric) in _find_by_level(metrics, 'patient').items()
    }


def _find_by_level(
    metrics: Mapping[str, Metric], preferred: Level
) -> dict[str, tuple[str, ClinicalMetrics]]:
    clinical = [
        (key, metric) for key, metric in metrics.items() if isinstance(metric, ClinicalMetrics)
    ]
    found: dict[str, tuple[str, ClinicalMetrics]] = {}
    for key, metric in sorted(clinical, key=lambda item: item[1].level != preferred):
        found.setdefault(metric.task_name, (key, metric))
    return found
