"""Finds images that are equal or nearly the same."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.cluster.hierarchy import DisjointSet

BLOCK = 1024  # rows of the correlation matrix that are in memory at once
# Below this correlation of the small copies, details are not compared.
ALIKE = 0.9
# From this number of images on, the mean of all details is removed before the comparison.
MANY = 50


class Pair(NamedTuple):
    """Positions of two images that are nearly the same, the lower one first.

    Attributes:
        whole: correlation of the small copies.
        detail: correlation of the details.
    """

    first: int
    second: int
    whole: float
    detail: float


def find_equal(keys: Sequence[Hashable]) -> list[tuple[int, ...]]:
    """Groups positions with equal keys; empty keys and keys that occur once are ignored."""
    places: dict[Hashable, list[int]] = {}
    for position, key in enumerate(keys):
        if key:
            places.setdefault(key, []).append(position)
    return [tuple(found) for found in places.values() if len(found) > 1]


def find_near_pairs(
    small: np.ndarray, fine: np.ndarray, threshold: float = 0.98, detail: float = 0.65
) -> list[Pair]:
    """Finds pairs of images that are nearly the same.

    The correlation of their small copies is above `threshold`; or it is above .9 and the
    correlation of their details is above `detail`, which finds copies with another contrast, crop
    or overlay. Details are the fine copy minus its blurred version, minus the mean of all images,
    which removes a scanner's frame.

    Args:
        small: small copies, (N, h, w).
        fine: fine copies, (N, H, W).
        threshold: least correlation of small copies.
        detail: least correlation of details.
    """
    whole = _unit(small)
    details = fine - ndimage.gaussian_filter(fine, (0, 3, 3))
    details = _unit(details)
    if len(details) >= MANY:
        details = _unit(details - details.mean(0))
    pairs = []
    for start in range(0, len(whole), BLOCK):
        rows = slice(start, start + BLOCK)
        first = whole[rows] @ whole[start:].T  # each pair once
        second = details[rows] @ details[start:].T
        hit = (first > threshold) | ((first > ALIKE) & (second > detail))
        for i, j in np.argwhere(np.triu(hit, 1)).tolist():
            pairs.append(Pair(start + i, start + j, float(first[i, j]), float(second[i, j])))
    return pairs


def find_clusters(count: int, links: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Joins linked positions to clusters of two or more, in ascending order.

    Args:
        count: number of positions.
        links: sets of positions that belong together.
    """
    sets = DisjointSet(range(count))
    for first, *others in links:
        for other in others:
            sets.merge(first, other)
    return sorted(tuple(sorted(found)) for found in sets.subsets() if len(found) > 1)


def _unit(images: np.ndarray) -> np.ndarray:
    """Subtracts the mean and scales to length 1, (N, ...) -> (N, D); blank images become 0."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat = flat - flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(length > 1e-5, flat / np.maximum(length, 1e-12), 0)
