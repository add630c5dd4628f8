"""Tables of predictions: a row for each image, and for each patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from plugins.classification.calibration import Calibration, Choice
from plugins.classification.image_record import Record
from plugins.classification.inference.ensemble import compute_spread
from plugins.classification.interfaces import NOTE
from plugins.classification.metrics.functional.patients import Aggregation, join_probabilities
from plugins.classification.metrics.predictions import decide
from plugins.classification.tasks import Task, Tasks
from toolkit.io.json_values import format_json
from toolkit.io.tables.formatting import format_csv

Rows = list[dict[str, Any]]
NAMED = 20  # files that are named on the terminal
SEPARATOR = '; '  # between the classes of a set
# By task, probabilities (N, K) and decisions (N,).
Predicted = Mapping[str, tuple[np.ndarray, np.ndarray]]


class JoinedVotes(NamedTuple):
    """Predictions of one system or an ensemble for N items in a task.

    Attributes:
        probabilities: (N, K).
        decisions: (N,).
        spread: (N, K) standard deviation over the members; None of a single system.
        agreeing: (N,) number of members that decide so; None of a single system.
        sets: (N, K) bool, prediction sets; None without them, and of an ensemble.
    """

    probabilities: np.ndarray
    decisions: np.ndarray
    spread: np.ndarray | None = None
    agreeing: np.ndarray | None = None
    sets: np.ndarray | None = None


def join_votes(
    votes: Sequence[Predicted], calibration: Calibration, tasks: Tasks
) -> dict[str, JoinedVotes]:
    """Joins what the members say of each image, by task; of one system it is what it says."""
    joined = {}
    for name in tasks:
        chances = np.stack([vote[name][0] for vote in votes])  # (M, N, K)
        own = np.stack([vote[name][1] for vote in votes])  # (M, N)
        if len(votes) == 1:
            found = calibration.sets(
                name, torch.from_numpy(chances[0]).to(calibration.temperature(name))
            )
            sets = None if found is None else found.cpu().numpy()
            joined[name] = JoinedVotes(chances[0], own[0], sets=sets)
            continue
        mean = chances.mean(0)
        decisions = calibration.decide(name, torch.from_numpy(mean)).numpy()
        agreeing = (own == decisions).sum(0)
        joined[name] = JoinedVotes(mean, decisions, compute_spread(chances), agreeing)
    return joined


def make_rows(
    tasks: Tasks,
    calibration: Calibration,
    records: Sequence[Record],
    joined: Mapping[str, JoinedVotes],
) -> Rows:
    """Makes a row for each image.

    It has `id`, `file`, `frame`, `patient` (blank if no patient is known), and for each task the
    decision (`TASK`), the threshold of the positive class if the task has one (`TASK_threshold`),
    the probability of each class (`TASK_probability_CLASS`), and of tasks with `coverage` the
    classes of the prediction set (`TASK_set`). Those of an ensemble also have the standard
    deviation over its members (`TASK_spread_CLASS`), and the number of members that decide as the
    ensemble does (`TASK_members_agreeing`).
    """
    known = _are_patients_known(records)
    return [
        {
            'id': record.id,
            'file': '' if record.path is None else str(record.path),
            'frame': record.frame,
            'patient': _get_patient(record) if known else '',
            **_make_cells(tasks, joined, index, calibration.threshold),
        }
        for index, record in enumerate(records)
    ]


def make_patient_rows(
    tasks: Tasks,
    calibration: Calibration,
    records: Sequence[Record],
    votes: Sequence[Predicted],
    calibrations: Sequence[Calibration],
    aggregations: Mapping[str, Aggregation],
) -> Rows:
    """Makes a row for each patient, in the order of their first images; none if none is known."""
    if not _are_patients_known(records):
        return []
    names = list(dict.fromkeys(map(_get_patient, records)))
    index = {name: i for i, name in enumerate(names)}
    owner = np.array([index[_get_patient(record)] for record in records])
    joined = {}
    for name, task in tasks.items():
        chances = np.stack(
            [
                join_probabilities(vote[name][0], owner, aggregations[name], task.positive_index)
                for vote in votes
            ]
        )  # (M, P, K)
        own = np.stack(
            [
                _decide_patients(values, task, one.choice(name))
                for values, one in zip(chances, calibrations, strict=True)
            ]
        )
        mean = chances.mean(0) if len(votes) > 1 else chances[0]
        decisions = _decide_patients(mean, task, calibration.choice(name))
        joined[name] = JoinedVotes(mean, decisions)
        if len(votes) > 1:
            agreeing = (own == decisions).sum(0)
            joined[name] = JoinedVotes(mean, decisions, compute_spread(chances), agreeing)
    return [
        {
            'patient': name,
            'images': count,
            **_make_cells(tasks, joined, i, calibration.patient_threshold),
        }
        for i, (name, count) in enumerate(zip(names, np.bincount(owner).tolist()))
    ]


def _decide_patients(probabilities: np.ndarray, task: Task, choice: Choice) -> np.ndarray:
    weights = None if choice.weights is None else np.array(choice.weights)
    return decide(probabilities, task, choice.patient_threshold, weights)


def _get_patient(record: Record) -> str:
    return record.patient or record.id


def _are_patients_known(records: Sequence[Record]) -> bool:
    """Tell whether a patient has another name than its image.

    One that has the same name is a patient too: a group of images may be named after its first one.
    """
    return any(_get_patient(record) != record.id for record in records)


def _make_cells(
    tasks: Tasks,
    joined: Mapping[str, JoinedVotes],
    index: int,
    get_threshold: Callable[[str], torch.Tensor | None],
) -> dict[str, Any]:
    """Make the cells of an image or a patient: decision, threshold and probabilities by task."""
    cells: dict[str, Any] = {}
    # str of a numpy float is the shortest text that is read back as the same number.
    for name, task in tasks.items():
        found = joined[name]
        cells[name] = task.classes[int(found.decisions[index])]
        threshold = get_threshold(name)
        if threshold is not None:
            cells[f'{name}_threshold'] = str(np.float32(threshold.item()))
        for label, value in zip(task.classes, found.probabilities[index]):
            cells[f'{name}_probability_{label}'] = str(value)
        if found.sets is not None:
            inside = [n for n, member in zip(task.classes, found.sets[index]) if member]
            cells[f'{name}_set'] = SEPARATOR.join(inside)
        if found.spread is not None and found.agreeing is not None:
            for label, value in zip(task.classes, found.spread[index]):
                cells[f'{name}_spread_{label}'] = str(value)
            cells[f'{name}_members_agreeing'] = int(found.agreeing[index])
    return cells


def describe_predictions(
    calibration: Calibration,
    images: int,
    patients: int,
    aggregations: Mapping[str, Aggregation],
    skipped: Mapping[str, str],
    left_out: Mapping[str, str],
    ensemble: Mapping[str, Any] | None = None,
) -> str:
    """Describes the tables as JSON: tasks, rules, and images that were left out."""
    tasks = {
        name: {**task, 'aggregate': aggregations[name]}
        for name, task in calibration.record().items()
    }
    record = {
        'note': NOTE,
        'tasks': tasks,
        **({'ensemble': ensemble} if ensemble else {}),
        'images': images,
        'patients': patients,
        'skipped': dict(skipped),
        'left_out': dict(left_out),
    }
    return format_json(record)


def format_rows(rows: Rows) -> str:
    """Formats rows with the same keys as CSV."""
    return format_csv(list(rows[0]), [list(row.values()) for row in rows])


def describe_omissions(
    skipped: Mapping[str, str], left_out: Mapping[str, str], record: Path
) -> list[str]:
    """Describes the first files without a prediction, a line each, and how many more there are.

    Args:
        skipped: reasons of images that cannot be read, by name.
        left_out: reasons of files that are not to be predicted, by name.
        record: file that lists all of them.
    """
    lines = []
    for verb, reasons in (('skipped', skipped), ('left out', left_out)):
        lines += [f'{verb} {name}: {why}' for name, why in list(reasons.items())[:NAMED]]
        if len(reasons) > NAMED:
            lines.append(f'{verb} {len(reasons) - NAMED} more, see {record}')
    return lines
