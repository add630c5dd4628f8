"""From the images of a patient to one answer for the patient."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

Aggregation = Literal['mean', 'max', 'noisy_or']


def aggregate(
    probabilities: np.ndarray,
    whose: np.ndarray,
    how: Aggregation = 'mean',
    positive: int | None = None,
) -> np.ndarray:
    """Probabilities of each patient.

    Args:
        probabilities: (N, K) of the images.
        whose: (N,) the patient of each, from 0 to P - 1, each with one or more.
        how: 'mean'; 'max': the highest one; 'noisy_or': the chance that one image or more shows the
            class, if images were independent (Pearl, "Probabilistic reasoning in intelligent
            systems", 1988, section 4.3.2). The last two are taken for the positive class, the other
            being the rest, or, where none is named, for each class, brought to the sum 1 again.
        positive: index of the positive class of two.
    Returns:
        (P, K).
    """
    if how not in get_args(Aggregation):
        raise ValueError(f'images are joined by {", ".join(get_args(Aggregation))}, found {how!r}')
    p = np.asarray(probabilities, dtype=np.float64)
    count = int(whose.max()) + 1 if len(whose) else 0
    found = np.zeros((count, p.shape[1]))
    if how == 'mean':
        np.add.at(found, whose, p)
        return found / np.bincount(whose, minlength=count)[:, None]
    if how == 'max':
        np.maximum.at(found, whose, p)
    else:
        none = np.ones_like(found)
        np.multiply.at(none, whose, 1 - p)
        found = 1 - none
    if positive is not None:
        found[:, 1 - positive] = 1 - found[:, positive]
        return found
    return found / found.sum(1, keepdims=True)


def labels(
    given: np.ndarray, whose: np.ndarray, positive: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The label of each patient.

    Args:
        given: (N,) of the images, from 0 on.
        whose: (N,) the patient of each, from 0 to P - 1, each with one or more.
        positive: index of the positive class of two; a patient with a positive image is positive.
    Returns:
        (P,), the label of all of a patient's images, or positive; -1 where they differ and no class
        is positive. And (P,) bool, whether they differ.
    """
    count = int(whose.max()) + 1 if len(whose) else 0
    low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(low, whose, given)
    np.maximum.at(high, whose, given)
    conflict = low != high
    found = np.where(conflict, -1 if positive is None else positive, high)
    return found, conflict
