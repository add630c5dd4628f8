"""The values that clinical reviewers ask for, of one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from plugins.classification.metrics.functional.patients import Aggregation
from plugins.classification.metrics.named_metrics import Scored, higher_is_better, names
from plugins.classification.metrics.predictions import Predictions, from_rows
from plugins.classification.tasks import Task
from toolkit.errors import DataError, did_you_mean
from toolkit.interfaces import Batch, Metric
from toolkit.registry import METRICS

if TYPE_CHECKING:
    from toolkit.engine.evaluator import Evaluator

Level = Literal['image', 'patient']
SUBGROUPS = ('sex', 'age')


@METRICS.register
class ClinicalMetrics(Metric):
    """AUC, sensitivity, specificity, macro-F1, calibration and more, of one task.

    A task with a positive class has that class's sensitivity, specificity, PPV, NPV, F1, AUC and
    AP; without one, each is `NAME/CLASS`, of every class against the rest. Beside them: `accuracy`,
    `balanced_accuracy`, `macro_F1`, `macro_AUC`, `macro_AP`, `MCC`, `kappa`, `kappa_quadratic` (of
    ordered classes), `recall_rarest`, `ECE` (15 bins of equal width), `Brier` and `NLL`. What is
    not defined, such as the AUC where a class has no sample, is NaN.

    A row holds the item's `id`, `patient`, `centre`, `attributes`, `label` (-1 where it has none),
    `logits`, `probabilities`, `decision` and `threshold`; rows without a label do not count.

    Args:
        task: which of the tasks.
        tasks: all of them; `${model.tasks}`.
        level: 'image', or 'patient', whose images' probabilities are joined.
        aggregate: how they are joined: 'mean', 'max' or 'noisy_or'.
        values: which values, by name; None for those that fit the task.
        rarest: the class of `recall_rarest`; None for the one with the fewest labels here.
        subgroups: which attributes the rows keep beside the centre.
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
        for name, given, kind in (('level', level, Level), ('aggregate', aggregate, Aggregation)):
            if given not in get_args(kind):
                raise ValueError(f'{name} is one of {", ".join(get_args(kind))}, found {given!r}')
        self.task_name, self.task = task, tasks[task]
        classes = self.task.classes
        if rarest is not None and rarest not in classes:
            raise ValueError(
                f'rarest is {rarest!r}, which is no class{did_you_mean(rarest, classes)}; there '
                f'are: {", ".join(classes)}'
            )
        if values is not None and not values:
            raise ValueError('values is empty; name at least one, or leave it out')
        self.level: Level = level
        self.aggregate: Aggregation = aggregate
        self.values = names(self.task, values)
        self.rarest = None if rarest is None else classes.index(rarest)
        self.subgroups = tuple(SUBGROUPS if subgroups is None else subgroups)
        self.directions: Mapping[str, bool] = {v: higher_is_better(v) for v in self.values}

    def measure(self, outputs: Mapping[str, Any], batch: Batch) -> list[dict[str, Any]]:
        """One row per image.

        Raises:
            DataError: the system does not answer the task, or with what is not finite.
        """
        name = self.task_name
        for needed in ('logits', 'probabilities', 'decision'):
            if name not in outputs.get(needed, {}):
                raise DataError(
                    f'ClinicalMetrics scores the {needed} of task {name!r}, which the system does '
                    'not give'
                )
        given = [outputs[key][name] for key in ('logits', 'probabilities', 'decision')]
        logits, probabilities, decisions = (values.detach().cpu().tolist() for values in given)
        labels = batch['labels'][name].tolist()
        thresholds = outputs.get('threshold', {}).get(name)
        cuts = [None] * len(labels) if thresholds is None else thresholds.tolist()
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
                    'threshold': cuts[i],
                }
            )
        return rows

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The values over all labelled rows; NaN where one is not defined."""
        scored = self.scored(self.predictions(rows))
        return {name: float(value) for name, value in scored.values(self.values).items()}

    def predictions(self, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        """The labelled items of rows, images or patients as `level` says."""
        found = from_rows(rows, self.task)
        return found.by_patient(self.aggregate) if self.level == 'patient' else found.labelled()

    def scored(self, labelled: Predictions) -> Scored:
        """The values of labelled predictions, to be asked for."""
        return Scored(
            self.task,
            labelled.labels,
            labelled.probabilities,
            labelled.decisions,
            self.rarest,
        )


def by_task(evaluator: Evaluator) -> dict[str, tuple[str, ClinicalMetrics]]:
    """The key and the metric of each task that an evaluator measures. All those of a task have the
    same rows; one that scores images goes first."""
    clinical = [
        (key, metric)
        for key, metric in evaluator.metrics.items()
        if isinstance(metric, ClinicalMetrics)
    ]
    found: dict[str, tuple[str, ClinicalMetrics]] = {}
    for key, metric in sorted(clinical, key=lambda item: item[1].level != 'image'):
        found.setdefault(metric.task_name, (key, metric))
    return found
