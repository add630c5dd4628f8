"""Choice of test images to show: mistakes, hits and undecided images of each class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from plugins.classification.tasks import Task

Row = Mapping[str, Any]


def rank_mistakes(
    labels: np.ndarray, decisions: np.ndarray, probabilities: np.ndarray
) -> np.ndarray:
    """Rank wrong decisions by the probability of the true class, the lowest one first.

    Args:
        labels: (N,) from 0 to K - 1, -1 for a missing label.
        decisions: (N,) from 0 to K - 1.
        probabilities: (N, K).
    Returns:
        Indices of the mistakes.
    """
    wrong = np.flatnonzero((labels >= 0) & (labels != decisions))
    return wrong[np.argsort(probabilities[wrong, labels[wrong]], kind='stable')]


def rank_hits(labels: np.ndarray, decisions: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Rank right decisions by the probability of the true class, the highest one first.

    Args and Returns as of `rank_mistakes`.
    """
    right = np.flatnonzero(labels == decisions)
    return right[np.argsort(-probabilities[right, labels[right]], kind='stable')]


def rank_undecided(
    labels: np.ndarray, probabilities: np.ndarray, positive: int | None, threshold: float | None
) -> np.ndarray:
    """Rank labelled images by the distance of their probabilities to another decision.

    Args:
        labels: (N,) from 0 to K - 1, -1 for a missing label.
        probabilities: (N, K).
        positive: index of the positive class; None if there is none.
        threshold: threshold on its probability.
    Returns:
        Indices of the labelled images, the closest one first.
    """
    if positive is not None and threshold is not None:
        distance = np.abs(probabilities[:, positive] - threshold)
    else:
        ranked = np.sort(probabilities, axis=1)
        distance = ranked[:, -1] - ranked[:, -2]
    known = np.flatnonzero(labels >= 0)
    return known[np.argsort(distance[known], kind='stable')]


def choose_examples(
    rows: Mapping[str, Sequence[Row]], tasks: Mapping[str, Task], count: int
) -> list[int]:
    """Choose images of every class: the worst mistakes, the surest hits, the least decided ones.

    The choice goes round tasks and classes, and takes the first of each ranking before the second.

    Args:
        rows: rows of `ClinicalMetrics` by task, of the same images in the same order.
        tasks: tasks by name.
        count: number of images.
    Returns:
        Indices of the rows, without repetition; fewer if there are fewer labelled images.
    """
    queues = [queue for name in rows for queue in _rank_by_class(rows[name], tasks[name])]
    chosen: dict[int, None] = {}
    while queues and len(chosen) < count:
        remaining = []
        for queue in queues:
            index = next((i for i in queue if i not in chosen), None)
            if index is not None:
                remaining.append(queue)
                if len(chosen) < count:
                    chosen[index] = None
        queues = remaining
    return list(chosen)


def _rank_by_class(rows: Sequence[Row], task: Task) -> list[Iterator[int]]:
    """Rank the images of each class three times: mistakes, hits, undecided."""
    if not rows:
        return []
    labels = np.array([row['label'] for row in rows])
    decisions = np.array([row['decision'] for row in rows])
    probabilities = np.array([row['probabilities'] for row in rows], dtype=float)
    rankings = (
        rank_mistakes(labels, decisions, probabilities),
        rank_hits(labels, decisions, probabilities),
        rank_undecided(
            labels,
            probabilities * np.array(rows[0].get('weights', 1.0)),
            task.positive_index,
            rows[0].get('threshold'),
        ),
    )
    return [
        iter(ranking[labels[ranking] == k].tolist())
        for ranking in rankings
        for k in range(len(task.classes))
    ]
