"""Images that are the same or nearly so."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.cluster.hierarchy import DisjointSet

BLOCK = 1024  # rows of the matrix of correlations that are held at once
# Below this correlation of the whole, details are not asked.
ALIKE = 0.9
# From so many images on, what they have in common says nothing of two of them.
MANY = 50


class Pair(NamedTuple):
    """Two images that are nearly the same, by position, the first one before the second."""

    first: int
    second: int
    whole: float
    detail: float


def same(keys: Sequence[Hashable]) -> list[tuple[int, ...]]:
    """Positions that share a key, two or more each; a key that is empty is not one."""
    places: dict[Hashable, list[int]] = {}
    for position, key in enumerate(keys):
        if key:
            places.setdefault(key, []).append(position)
    return [tuple(found) for found in places.values() if len(found) > 1]


def near_pairs(
    small: np.ndarray, fine: np.ndarray, threshold: float = 0.98, detail: float = 0.65
) -> list[Pair]:
    """Pairs of images that show nearly the same.

    They do where the correlation of the small copies is above `threshold`; or where it is above .9
    and that of the details (what is left of the fine copy without its blurred self and without what
    all images have in common, such as a scanner's frame) is above `detail`: that finds copies whose
    contrast, crop or overlay differs.

    Args:
        small: (N, h, w).
        fine: (N, H, W).
        threshold: of the small copies' correlation.
        detail: of the details' correlation.
    """
    whole = _unit(small)
    details = fine - ndimage.gaussian_filter(fine, (0, 3, 3))
    details = _unit(details)
    if len(details) >= MANY:
        details = _unit(details - details.mean(0))
    pairs = []
    for start in range(0, len(whole), BLOCK):
        rows = slice(start, start + BLOCK)
        first = whole[rows] @ whole[start:].T  # of each pair once
        second = details[rows] @ details[start:].T
        hit = (first > threshold) | ((first > ALIKE) & (second > detail))
        for i, j in np.argwhere(np.triu(hit, 1)).tolist():
            pairs.append(Pair(start + i, start + j, float(first[i, j]), float(second[i, j])))
    return pairs


def clusters(count: int, links: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Sets of two or more that links hold together, directly or through others, in order.

    Args:
        count: how many there are.
        links: positions that belong together.
    """
    sets = DisjointSet(range(count))
    for first, *others in links:
        for other in others:
            sets.merge(first, other)
    return sorted(tuple(sorted(found)) for found in sets.subsets() if len(found) > 1)


def _unit(images: np.ndarray) -> np.ndarray:
    """(N, ...) -> (N, D) without mean, of length 1; 0 where an image is blank."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat = flat - flat.mean(1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.where(length > 1e-5, flat / np.maximum(length, 1e-12), 0)
