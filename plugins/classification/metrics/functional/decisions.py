"""Decisions among K classes: corrected class frequencies, and weights for sensitivity floors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import softmax

from plugins.classification.metrics.functional.calibration import MIN_PROBABILITY

ROUNDS = 100  # of raising weights, after which floors are taken for contradictory
STEPS, TOLERANCE = 500, 1e-6  # of the fit of class frequencies
MARGIN = 1.001  # by which a weight passes the last sample


def fit_log_prior(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fit offsets of logits so that the mean probabilities are the classes' frequencies.

    Losses with class weights, balanced samplers and logit adjustment teach other class frequencies
    than those of the data. The offsets maximize the likelihood among all changes of the prior; a
    class without samples counts half a sample, so that it stays possible.

    Args:
        logits: (N, K), after the temperature.
        labels: (N,) from 0 to K - 1, at least one.
    Returns:
        (K,), of mean 0, to be added to the logits.
    Source: generalized iterative scaling, Darroch and Ratcliff, Annals of Mathematical Statistics
        43, 1972; the correction of priors, Saerens et al., Neural Computation 14, 2002, eq. 2.4.
    """
    classes = logits.shape[1]
    counts = np.bincount(labels, minlength=classes) + 0.5 * (
        np.bincount(labels, minlength=classes) == 0
    )
    target = counts / counts.sum()
    offsets = np.zeros(classes)
    for _ in range(STEPS):
        found = softmax(logits + offsets, axis=1).mean(0)
        step = np.log(target) - np.log(np.maximum(found, MIN_PROBABILITY))
        offsets += step
        if np.abs(found - target).max() < TOLERANCE:
            break
    return offsets - offsets.mean()


def choose_weights(
    probabilities: np.ndarray, labels: np.ndarray, floors: Mapping[int, float]
) -> np.ndarray:
    """Choose the smallest weights of named classes that reach their sensitivity floors.

    The decision is the class with the highest product of weight and probability. A weight lies
    between two samples, so that rounding does not change later decisions.

    Args:
        probabilities: (N, K).
        labels: (N,) from 0 to K - 1.
        floors: least sensitivity by class; each class has a sample.
    Returns:
        (K,) from 1 on; 1 for classes without a floor.
    Raises:
        ValueError: no weights reach all floors.
    """
    weights = np.ones(probabilities.shape[1])
    for _ in range(ROUNDS):
        low = [
            name
            for name, least in floors.items()
            if _sensitivity(probabilities, labels, weights, name) < least
        ]
        if not low:
            return weights
        for name in low:
            weights[name] = _raise_weight(probabilities, labels, weights, name, floors[name])
    raise ValueError('no weights reach all sensitivity floors together')


def _sensitivity(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray, name: int
) -> float:
    own = labels == name
    return float(((probabilities[own] * weights).argmax(1) == name).mean())


def _raise_weight(
    probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray, name: int, least: float
) -> float:
    """Find the smallest weight of a class, at least its own, at which its floor is reached."""
    own = probabilities[labels == name]
    others = np.delete(own * weights, name, axis=1).max(1)
    with np.errstate(divide='ignore'):
        needed = np.sort(others / own[:, name])  # the class is decided from this weight on
    wanted = needed[int(np.ceil(least * len(needed) - 1e-9)) - 1]
    if not np.isfinite(wanted):
        raise ValueError('samples have the probability 0 of their class')
    above = needed[needed > wanted]
    highest = wanted * MARGIN
    if len(above) and np.isfinite(above[0]):
        highest = min(highest, np.sqrt(wanted * above[0]))
    return float(max(weights[name], highest))
