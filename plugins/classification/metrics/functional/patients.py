"""Joins the predictions and labels of a patient's images."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

Aggregation = Literal['mean', 'max', 'noisy_or']


def join_probabilities(
    probabilities: np.ndarray,
    owner: np.ndarray,
    aggregate: Aggregation = 'mean',
    positive: int | None = None,
) -> np.ndarray:
    """Join the probabilities of each patient's images.

    'max' and 'noisy_or' are computed for the positive class, and the other class gets the rest. If
    no class is positive, they are computed for each class and divided by their sum.

    Args:
        probabilities: (N, K) of the images.
        owner: (N,) index of each image's patient, from 0 to P - 1; each patient has an image.
        aggregate: 'mean'; 'max' for the highest probability; 'noisy_or' for the probability that
            at least one image shows the class, if images are independent (Pearl, "Probabilistic
            reasoning in intelligent systems", 1988, section 4.3.2).
        positive: index of the positive class of two.
    Returns:
        (P, K).
    Raises:
        ValueError: an unknown `aggregate`.
    """
    if aggregate not in get_args(Aggregation):
        raise ValueError(
            f'aggregate must be one of {", ".join(get_args(Aggregation))}, found {aggregate!r}'
        )
    p = np.asarray(probabilities, dtype=np.float64)
    count = int(owner.max()) + 1 if len(owner) else 0
    joined = np.zeros((count, p.shape[1]))
    if aggregate == 'mean':
        np.add.at(joined, owner, p)
        return joined / np.bincount(owner, minlength=count)[:, None]
    if aggregate == 'max':
        np.maximum.at(joined, owner, p)
    else:
        none = np.ones_like(joined)
        np.multiply.at(none, owner, 1 - p)
        joined = 1 - none
    if positive is not None:
        joined[:, 1 - positive] = 1 - joined[:, positive]
        return joined
    return joined / joined.sum(1, keepdims=True)


def join_labels(
    labels: np.ndarray, owner: np.ndarray, positive: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Join the labels of each patient's images.

    Args:
        labels: (N,) of the images, from 0.
        owner: (N,) index of each image's patient, from 0 to P - 1; each patient has an image.
        positive: index of the positive class of two; a patient with a positive image is positive.
    Returns:
        (P,) labels, -1 if the images of a patient differ and no class is positive; and (P,) bool,
        patients whose images differ.
    """
    count = int(owner.max()) + 1 if len(owner) else 0
    low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(low, owner, labels)
    np.maximum.at(high, owner, labels)
    conflict = low != high
    joined = np.where(conflict, -1 if positive is None else positive, high)
    return joined, conflict
