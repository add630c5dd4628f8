"""Calibration of probabilities: errors, calibration line, and fitting of a temperature."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from plugins.classification.metrics.functional.confusion import ratio

BINS = 15
# Classes that a probability separates have no finite slope; a steeper one is taken for that.
MAX_SLOPE = 100.0
# Newton's steps square the error: what remains after a step of this length is rounding.
TOLERANCE = 1e-7
MIN_PROBABILITY = float(np.finfo(np.float64).eps)  # lower ones are raised to it


def ece(
    confidence: np.ndarray,
    right: np.ndarray,
    weights: np.ndarray | None = None,
    bins: int = BINS,
) -> np.ndarray:
    """Expected calibration error: mean distance of confidence and accuracy over bins.

    The bins have equal width, and each counts by its samples.

    Args:
        confidence: (N,) highest probabilities, or probabilities of the positive class.
        right: (N,) bool, whether the sample is of that class.
        weights: (..., N), the number of times that each sample counts; None for once.
        bins: number of bins of [0, 1].
    Returns:
        (...), from 0 to 1, 0 is best; NaN without samples.
    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3.
    """
    inside = (bin_index(confidence, bins)[:, None] == np.arange(bins)).astype(
        np.float64
    )  # (N, bins)
    gaps = inside * (confidence - right)[:, None]
    if weights is None:
        return ratio(np.abs(gaps.sum(0)).sum(), len(confidence))
    return ratio(np.abs(weights @ gaps).sum(-1), weights.sum(-1))


def bin_index(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Find the bin of each confidence (N,); a bin has its lower edge, the last one both edges."""
    return np.minimum((confidence * bins).astype(int), bins - 1)


def brier(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Squared distance of probabilities (N, K) and one-hot labels, summed over classes.

    Returns:
        (N,), from 0 to 2. For two classes it is twice that of the positive one alone.
    """
    truth = labels[:, None] == np.arange(probabilities.shape[1])
    return ((probabilities - truth) ** 2).sum(1)


def nll(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Negative logarithm of the true class's probability: (N, K) -> (N,), in nats."""
    own = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.clip(own, MIN_PROBABILITY, 1))


def mean(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Weighted mean of values (N,) under weights (..., N): -> (...); NaN without samples."""
    if weights is None:
        return ratio(values.sum(), len(values))
    return ratio(weights @ values, weights.sum(-1))


def calibration_line(
    probability: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute slope and intercept of calibration on the log odds of the positive class.

    The slope is that of a logistic regression on the predicted log odds; 1 is best, and below 1
    predictions are too extreme. The intercept is calibration in the large, the amount to be added
    to the log odds at slope 1; 0 is best, and below 0 risks are overestimated.

    scikit-learn's logistic regression takes neither an offset nor many sets of weights at a time.

    Args:
        probability: (N,) of the positive class.
        positive: (N,) bool.
        weights: (..., N), the number of times that each sample counts; None for once.
    Returns:
        Slope (...) and intercept (...); NaN if one class is missing, or if a probability separates
        the classes, so that no finite slope is best.
    Source: Van Calster et al., "Calibration: the Achilles heel of predictive analytics", BMC
        Medicine 17, 2019.
    """
    x = logit(np.clip(probability, MIN_PROBABILITY, 1 - MIN_PROBABILITY))  # (N,)
    times = np.ones(len(x)) if weights is None else weights
    both = _has_both_classes(positive, times)
    start = (0.0, 0.0)
    if weights is not None and len(x):
        # Resamples are near to the whole.
        whole = _slope(x, positive, np.ones(len(x)), start)
        start = tuple(float(value) for value in whole) if np.isfinite(whole).all() else start
    slope, _ = _slope(x, positive, times, start)
    shift = np.zeros(times.shape[:-1])
    for _ in range(50):
        risk = expit(x + shift[..., None])
        step = ratio((times * (positive - risk)).sum(-1), (times * risk * (1 - risk)).sum(-1))
        step = np.clip(np.where(both, np.nan_to_num(step), 0), -2, 2)
        shift = shift + step
        if np.all(np.abs(step) < TOLERANCE):
            break
    return np.where(both, slope, np.nan), np.where(both, shift, np.nan)


def _slope(
    x: np.ndarray, positive: np.ndarray, times: np.ndarray, start: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression on x by Newton's method, for all sets of weights at once.

    Returns:
        Slope and intercept; NaN if the best slope is not finite.
    """
    middle = np.nan_to_num(ratio(times @ x, times.sum(-1)))  # (...)
    centred = x - middle[..., None]  # (..., N)
    spread = np.sqrt(np.nan_to_num(ratio((times * centred**2).sum(-1), times.sum(-1))))
    varies = spread > 1e-12
    spread = np.where(varies, spread, 1)
    scaled = centred / spread[..., None]
    a, b = start[1] + start[0] * middle, start[0] * spread
    for _ in range(50):
        risk = expit(a[..., None] + b[..., None] * scaled)
        rest, curve = times * (positive - risk), times * risk * (1 - risk)
        ga, gb = rest.sum(-1), (rest * scaled).sum(-1)
        bent = curve * scaled
        haa, hab, hbb = curve.sum(-1), bent.sum(-1), (bent * scaled).sum(-1)
        determinant = haa * hbb - hab**2
        safe = determinant > 1e-12
        bottom = np.where(safe, determinant, 1)
        da = np.where(safe, (hbb * ga - hab * gb) / bottom, 0)
        db = np.where(safe, (haa * gb - hab * ga) / bottom, 0)
        length = np.maximum(np.maximum(np.abs(da), np.abs(db)), 1e-300)
        shorter = np.minimum(1, 3 / length)  # far from the best, a whole step may overshoot
        a, b = a + shorter * da, b + shorter * db
        if np.all(length < TOLERANCE):
            break
    slope = b / spread
    defined = varies & safe & (length < 1e-3) & (np.abs(slope) < MAX_SLOPE)
    return np.where(defined, slope, np.nan), np.where(defined, a - slope * middle, np.nan)


def _has_both_classes(positive: np.ndarray, times: np.ndarray) -> np.ndarray:
    found = times @ positive.astype(np.float64)
    return (found > 0) & (found < times.sum(-1))
