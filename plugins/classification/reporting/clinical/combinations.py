"""Decisions of several tasks that contradict each other: combinations that no label has."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from plugins.classification.metrics.predictions import Predictions


def find_contradictions(tasks: Mapping[str, Predictions]) -> list[dict[str, Any]]:
    """Find combinations of decided classes that no image has as labels, for each two tasks.

    Args:
        tasks: predictions of the same images, by task.
    Returns:
        For each two tasks with images that have labels of both: `tasks`, the number of `labelled`
        images, of all `images`, of those that are `contradicted`, and `combinations` as (class,
        class, images), the most frequent first.
    """
    found = []
    for (first, a), (second, b) in combinations(tasks.items(), 2):
        _, left, right = np.intersect1d(a.ids.astype(str), b.ids.astype(str), return_indices=True)
        known = (a.labels[left] >= 0) & (b.labels[right] >= 0)
        if not known.any():
            continue
        count = len(b.task.classes)
        seen = np.unique(a.labels[left][known] * count + b.labels[right][known])
        decided = a.decisions[left] * count + b.decisions[right]
        unseen, times = np.unique(decided[~np.isin(decided, seen)], return_counts=True)
        order = np.argsort(-times, kind='stable')
        found.append(
            {
                'tasks': [first, second],
                'labelled': int(known.sum()),
                'images': len(left),
                'contradicted': int(times.sum()),
                'combinations': [
                    [
                        a.task.classes[unseen[i] // count],
                        b.task.classes[unseen[i] % count],
                        int(times[i]),
                    ]
                    for i in order
                ],
            }
        )
    return found
