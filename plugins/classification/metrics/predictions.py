"""What was predicted for a task's items, as arrays: made from rows, joined by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import softmax

from plugins.classification.metrics.functional import patients
from plugins.classification.metrics.functional.patients import Aggregation
from plugins.classification.metrics.functional.thresholds import HALF
from plugins.classification.tasks import Task
from toolkit.errors import ToolkitError

Row = Mapping[str, Any]
COLUMNS = ('label', 'logits', 'probabilities', 'decision')


@dataclass(frozen=True)
class Predictions:
    """Predictions for items, which are images or patients.

    Attributes:
        task: what was asked.
        ids: (N,) the items' own names.
        patients: (N,) whose they are.
        labels: (N,) from 0 to K - 1, -1 where there is none.
        logits: (N, K); None for patients, whose probabilities are joined.
        probabilities: (N, K) after the stored temperature.
        decisions: (N,) by the stored threshold.
        threshold: on the positive class's probability, None where no class is positive.
        attributes: by name (N,) of text, '' where it is not known; 'centre' is one.
        conflicts: patients whose images have different labels.
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

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def positive(self) -> int | None:
        """Index of the positive class."""
        return self.task.positive_index

    def chosen(self, which: np.ndarray) -> Predictions:
        """Some of the items, by indices or a mask (N,)."""
        return replace(
            self,
            ids=self.ids[which],
            patients=self.patients[which],
            labels=self.labels[which],
            logits=None if self.logits is None else self.logits[which],
            probabilities=self.probabilities[which],
            decisions=self.decisions[which],
            attributes={name: values[which] for name, values in self.attributes.items()},
        )

    def labelled(self) -> Predictions:
        """The items that have a label."""
        return self.chosen(self.labels >= 0)

    def uncalibrated(self) -> Predictions:
        """With the probabilities at temperature 1; of images only."""
        assert self.logits is not None
        return replace(self, probabilities=softmax(self.logits, axis=1))

    def by_patient(self, how: Aggregation = 'mean') -> Predictions:
        """One item for each patient, of the labelled images.

        A patient whose images have different labels is positive where a class is positive, and is
        left out otherwise; `conflicts` names them either way. The threshold is the one of images.
        """
        known = self.labelled()
        names, first, whose = np.unique(known.patients, return_index=True, return_inverse=True)
        labels, conflict = patients.labels(known.labels, whose, self.positive)
        probabilities = patients.aggregate(known.probabilities, whose, how, self.positive)
        joined = replace(
            known,
            ids=names,
            patients=names,
            labels=labels,
            logits=None,
            probabilities=probabilities,
            decisions=decide(probabilities, self.positive, self.threshold),
            attributes={
                name: _shared(values, first, whose) for name, values in known.attributes.items()
            },
            conflicts=tuple(str(name) for name in names[conflict]),
        )
        return joined.labelled()


def decide(probabilities: np.ndarray, positive: int | None, threshold: float | None) -> np.ndarray:
    """Probabilities (N, K) -> classes (N,), the positive one from the threshold on."""
    if positive is None or threshold is None:
        return probabilities.argmax(1)
    return np.where(probabilities[:, positive] >= threshold, positive, 1 - positive)


def from_rows(rows: Sequence[Row], task: Task, where: str = 'the rows') -> Predictions:
    """The predictions that `ClinicalMetrics` has measured.

    Args:
        rows: of its `measure`, or of a metrics.json.
        task: theirs.
        where: the rows are from, for errors.
    Raises:
        ToolkitError: the rows are of another metric, another task, or damaged.
    """
    classes = len(task.classes)
    names = dict.fromkeys(name for row in rows for name in row.get('attributes') or {})
    try:
        logits = _table([row['logits'] for row in rows], classes)
        probabilities = _table([row['probabilities'] for row in rows], classes)
        labels = np.array([int(row['label']) for row in rows], dtype=np.int64)
        decisions = np.array([int(row['decision']) for row in rows], dtype=np.int64)
        thresholds = [row.get('threshold') for row in rows]
        ids = [str(row['id']) for row in rows]
        # Where a patient is not known, an image is one of its own.
        whose = [str(row.get('patient') or row['id']) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        reason = f'no {error}' if isinstance(error, KeyError) else str(error)
        raise ToolkitError(
            f'{where} are not those of ClinicalMetrics over {classes} classes: {reason}'
        ) from error
    for what, found, lowest in (('label', labels, -1), ('decision', decisions, 0)):
        if len(found) and not (found.min() >= lowest and found.max() < classes):
            raise ToolkitError(f'{where} hold a {what} that is none of {classes} classes')
    known = [value for value in thresholds if value is not None]
    threshold = (float(known[0]) if known else HALF) if task.positive is not None else None
    attributes = {'centre': _texts([row.get('centre') for row in rows])}
    for name in names:
        attributes[name] = _texts([(row.get('attributes') or {}).get(name) for row in rows])
    return Predictions(
        task,
        np.array(ids, dtype=object),
        np.array(whose, dtype=object),
        labels,
        logits,
        probabilities,
        decisions,
        threshold,
        attributes,
    )


def _table(rows: list[Any], classes: int) -> np.ndarray:
    if not rows:
        return np.zeros((0, classes))
    table = np.array(rows, dtype=np.float64).reshape(len(rows), -1)
    if table.shape[1] != classes:
        raise ValueError(f'{table.shape[1]} values for {classes} classes')
    if not np.isfinite(table).all():
        raise ValueError('values that are not finite')
    return table


def _texts(values: list[Any]) -> np.ndarray:
    return np.array(['' if value is None else str(value) for value in values], dtype=object)


def _shared(values: np.ndarray, first: np.ndarray, whose: np.ndarray) -> np.ndarray:
    """What all images of a patient say, '' where they differ."""
    same = np.ones(len(first), dtype=bool)
    np.logical_and.at(same, whose, values == values[first][whose])
    return np.where(same, values[first], '')
