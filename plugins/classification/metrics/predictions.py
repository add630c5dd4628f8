"""Predictions of a task as arrays: read from rows, calibrated or not, joined by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import softmax

from plugins.classification.metrics.functional import patients
from plugins.classification.metrics.functional.patients import Aggregation
from plugins.classification.metrics.functional.selective import rate_confidence
from plugins.classification.metrics.functional.thresholds import HALF
from plugins.classification.tasks import Task
from toolkit.errors import ToolkitError

Row = Mapping[str, Any]
COLUMNS = ('label', 'logits', 'probabilities', 'decision')


@dataclass(frozen=True)
class Predictions:
    """Predictions for items, which are images or patients.

    Attributes:
        task: task with K classes.
        ids: (N,) name of each item.
        patients: (N,) patient of each item.
        labels: (N,) from 0 to K - 1, -1 for a missing label.
        logits: (N, K); None for patients, whose probabilities are joined.
        probabilities: (N, K) after the stored temperature.
        decisions: (N,) by the stored rule.
        threshold: threshold on the positive class's probability; None if no class is positive.
        patient_threshold: the same for the joined probabilities of a patient.
        weights: (K,) stored weights of the decision; None for equal ones.
        attributes: (N,) texts by name, '' for an unknown value; 'centre' is one of them.
        conflicts: patients whose images have different labels.
        sets: (N, K) bool, the classes in the prediction set; None without sets, and for patients.
    """

    task: Task
    ids: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    logits: np.ndarray | None
    probabilities: np.ndarray
    decisions: np.ndarray
    threshold: float | None
    attributes: Mapping[str, np.ndarray]
    conflicts: tuple[str, ...] = ()
    patient_threshold: float | None = None
    weights: np.ndarray | None = None
    sets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def positive(self) -> int | None:
        """Index of the positive class."""
        return self.task.positive_index

    def subset(self, which: np.ndarray) -> Predictions:
        """Return the items that indices or a mask (N,) choose."""
        return replace(
            self,
            ids=self.ids[which],
            patients=self.patients[which],
            labels=self.labels[which],
            logits=None if self.logits is None else self.logits[which],
            probabilities=self.probabilities[which],
            decisions=self.decisions[which],
            attributes={name: values[which] for name, values in self.attributes.items()},
            sets=None if self.sets is None else self.sets[which],
        )

    def labelled(self) -> Predictions:
        """Return the items that have a label."""
        return self.subset(self.labels >= 0)

    def uncalibrated(self) -> Predictions:
        """Return the same images with probabilities at temperature 1."""
        assert self.logits is not None
        return replace(self, probabilities=softmax(self.logits, axis=1))

    def confidence(self) -> np.ndarray:
        """Rate how sure each decision is (N,), see `rate_confidence`."""
        return rate_confidence(self.probabilities, self.decisions, self.positive, self.threshold)

    def by_patient(self, aggregate: Aggregation = 'mean') -> Predictions:
        """Join the labelled images of each patient to one item.

        A patient whose images have different labels is positive if the task has a positive class,
        and is left out otherwise; `conflicts` names these patients in both cases. The threshold is
        that of patients.
        """
        known = self.labelled()
        names, first, owner = np.unique(known.patients, return_index=True, return_inverse=True)
        labels, conflict = patients.join_labels(known.labels, owner, self.positive)
        probabilities = patients.join_probabilities(
            known.probabilities, owner, aggregate, self.positive
        )
        joined = replace(
            known,
            ids=names,
            patients=names,
            labels=labels,
            logits=None,
            probabilities=probabilities,
            decisions=decide(probabilities, self.task, self.patient_threshold, self.weights),
            threshold=self.patient_threshold,
            attributes={
                name: _keep_shared(values, first, owner)
                for name, values in known.attributes.items()
            },
            conflicts=tuple(str(name) for name in names[conflict]),
            sets=None,
        )
        return joined.labelled()


def decide(
    probabilities: np.ndarray,
    task: Task,
    threshold: float | None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Decide by the rule of `Calibration.decide`: (N, K) -> (N,).

    Args:
        probabilities: (N, K).
        task: task with K classes.
        threshold: on the positive class's probability; None without such a class.
        weights: (K,) weights of a task without a positive class; None for equal ones.
    """
    positive = task.positive_index
    if positive is None or threshold is None:
        weighted = probabilities if weights is None else probabilities * weights
        if task.costs is None:
            return weighted.argmax(1)
        return (weighted @ np.array(task.costs)).argmin(1)
    return np.where(probabilities[:, positive] >= threshold, positive, 1 - positive)


def read_rows(rows: Sequence[Row], task: Task, source: str = 'the rows') -> Predictions:
    """Read predictions from the rows of `ClinicalMetrics`.

    Args:
        rows: rows from `ClinicalMetrics.measure`, or from a metrics.json.
        task: task that the rows are of.
        source: origin of the rows, for errors.
    Raises:
        ToolkitError: the rows are of another metric, another task, or damaged.
    """
    classes = len(task.classes)
    names = dict.fromkeys(name for row in rows for name in row.get('attributes') or {})
    try:
        logits = _to_table([row['logits'] for row in rows], classes)
        probabilities = _to_table([row['probabilities'] for row in rows], classes)
        labels = np.array([int(row['label']) for row in rows], dtype=np.int64)
        decisions = np.array([int(row['decision']) for row in rows], dtype=np.int64)
        thresholds = [row.get('threshold') for row in rows]
        joined = [row.get('patient_threshold') for row in rows[:1]]
        sets = _read_sets([row.get('set') for row in rows], classes)
        weights = _read_weights(rows[0].get('weights') if rows else None, classes)
        ids = [str(row['id']) for row in rows]
        # An image of an unknown patient counts as a patient of its own.
        owners = [str(row.get('patient') or row['id']) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        reason = f'no {error}' if isinstance(error, KeyError) else str(error)
        raise ToolkitError(
            f'{source}: expected rows of ClinicalMetrics over {classes} classes: {reason}; test '
            'the run again'
        ) from error
    for name, found, lowest in (('label', labels, -1), ('decision', decisions, 0)):
        if len(found) and not (found.min() >= lowest and found.max() < classes):
            raise ToolkitError(
                f'{source}: expected a {name} from {lowest} to {classes - 1}, found '
                f'{found.min()} to {found.max()}; test the run again'
            )
    known = [value for value in thresholds if value is not None]
    threshold = (float(known[0]) if known else HALF) if task.positive is not None else None
    of_patients = next((float(value) for value in joined if value is not None), threshold)
    attributes = {'centre': _to_texts([row.get('centre') for row in rows])}
    for name in names:
        attributes[name] = _to_texts([(row.get('attributes') or {}).get(name) for row in rows])
    return Predictions(
        task,
        np.array(ids, dtype=object),
        np.array(owners, dtype=object),
        labels,
        logits,
        probabilities,
        decisions,
        threshold,
        attributes,
        patient_threshold=of_patients,
        weights=weights,
        sets=sets,
    )


def _read_sets(found: list[Any], classes: int) -> np.ndarray | None:
    """Read the prediction sets (N, K) from the numbers of their classes; None if none is known."""
    if not found or any(numbers is None for numbers in found):
        return None
    sets = np.zeros((len(found), classes), dtype=bool)
    for own, numbers in zip(sets, found, strict=True):
        if any(not 0 <= int(k) < classes for k in numbers):
            raise ValueError(f'a set of the classes {numbers}, of {classes}')
        own[[int(k) for k in numbers]] = True
    return sets


def _to_table(rows: list[Any], classes: int) -> np.ndarray:
    if not rows:
        return np.zeros((0, classes))
    table = np.array(rows, dtype=np.float64).reshape(len(rows), -1)
    if table.shape[1] != classes:
        raise ValueError(f'{table.shape[1]} values for {classes} classes')
    if not np.isfinite(table).all():
        raise ValueError('values that are not finite')
    return table


def _read_weights(values: Any, classes: int) -> np.ndarray | None:
    if values is None:
        return None
    (weights,) = _to_table([values], classes)
    return weights


def _to_texts(values: list[Any]) -> np.ndarray:
    return np.array(['' if value is None else str(value) for value in values], dtype=object)


def _keep_shared(values: np.ndarray, first: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Keep the text that all images of a patient share; '' if they differ."""
    same = np.ones(len(first), dtype=bool)
    np.logical_and.at(same, owner, values == values[first][owner])
    return np.where(same, values[first], '')
