"""Whether probabilities mean what they say, and the temperature that makes them do so."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit

from plugins.classification.metrics.functional.confusion import ratio

BINS = 15
TEMPERATURES = (0.05, 20.0)  # those that are considered
# A slope beyond this is that of classes that a probability separates: there is no finite one.
STEEPEST = 100.0
# Newton's steps square the error: after one that is this small it is one of rounding.
CLOSE = 1e-7
SMALLEST = float(np.finfo(np.float64).eps)  # a probability below counts as this


def ece(
    confidence: np.ndarray,
    right: np.ndarray,
    weights: np.ndarray | None = None,
    bins: int = BINS,
) -> np.ndarray:
    """Expected calibration error: mean distance between confidence and frequency over bins of equal
    width, each counting by its samples (Guo et al., "On calibration of modern neural networks",
    ICML 2017, equation 3).

    Args:
        confidence: (N,) probabilities: of the class with the highest one, or of the positive class.
        right: (N,) bool, whether it is that class.
        weights: (..., N), how often each sample counts; None for once.
        bins: of [0, 1], each from its lower edge on, the last one with both edges.
    Returns:
        (...), from 0 to 1, 0 is best; NaN without samples.
    """
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    inside = (place[:, None] == np.arange(bins)).astype(np.float64)  # (N, bins)
    gaps = inside * (confidence - right)[:, None]
    if weights is None:
        return ratio(np.abs(gaps.sum(0)).sum(), len(confidence))
    return ratio(np.abs(weights @ gaps).sum(-1), weights.sum(-1))


def brier(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Squared distance between probabilities (N, K) and what was the case, summed over classes:
    -> (N,), from 0 to 2. For two classes it is twice that of the positive one alone."""
    truth = labels[:, None] == np.arange(probabilities.shape[1])
    return ((probabilities - truth) ** 2).sum(1)


def nll(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Negative log of the true class's probability (N, K) in nats: -> (N,)."""
    own = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.clip(own, SMALLEST, 1))


def mean(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean of (N,) under weights (..., N): -> (...); NaN without samples."""
    if weights is None:
        return ratio(values.sum(), len(values))
    return ratio(weights @ values, weights.sum(-1))


def calibration_line(
    probability: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Slope and intercept of calibration, of the positive class against its predicted log odds.

    The slope is that of a logistic regression on the log odds, 1 is best, below it predictions are
    too extreme. The intercept is calibration in the large: what is to be added to the log odds, at
    slope 1, 0 is best, below it risks are overestimated (Van Calster et al., "Calibration: the
    Achilles heel of predictive analytics", BMC Medicine 17, 2019).

    scikit-learn's logistic regression takes neither an offset nor many sets of weights at a time.

    Args:
        probability: (N,) of the positive class.
        positive: (N,) bool.
        weights: (..., N), how often each sample counts; None for once.
    Returns:
        (...) twice; NaN where one class is missing, or a probability separates the classes, so
        that no slope is the best one.
    """
    x = logit(np.clip(probability, SMALLEST, 1 - SMALLEST))  # (N,)
    drawn = np.ones(len(x)) if weights is None else weights
    both = _both(positive, drawn)
    start = (0.0, 0.0)
    if weights is not None and len(x):
        # Resamples are near to the whole.
        whole = _slope(x, positive, np.ones(len(x)), start)
        start = tuple(float(value) for value in whole) if np.isfinite(whole).all() else start
    slope, _ = _slope(x, positive, drawn, start)
    shift = np.zeros(drawn.shape[:-1])
    for _ in range(50):
        risk = expit(x + shift[..., None])
        step = ratio((drawn * (positive - risk)).sum(-1), (drawn * risk * (1 - risk)).sum(-1))
        step = np.clip(np.where(both, np.nan_to_num(step), 0), -2, 2)
        shift = shift + step
        if np.all(np.abs(step) < CLOSE):
            break
    return np.where(both, slope, np.nan), np.where(both, shift, np.nan)


def _slope(
    x: np.ndarray, positive: np.ndarray, drawn: np.ndarray, start: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Slope and intercept of a logistic regression on x by Newton's method, for all sets of weights
    at once; NaN where there is no finite best one."""
    middle = np.nan_to_num(ratio(drawn @ x, drawn.sum(-1)))  # (...)
    centred = x - middle[..., None]  # (..., N)
    spread = np.sqrt(np.nan_to_num(ratio((drawn * centred**2).sum(-1), drawn.sum(-1))))
    varies = spread > 1e-12
    spread = np.where(varies, spread, 1)
    scaled = centred / spread[..., None]
    a, b = start[1] + start[0] * middle, start[0] * spread
    for _ in range(50):
        risk = expit(a[..., None] + b[..., None] * scaled)
        rest, curve = drawn * (positive - risk), drawn * risk * (1 - risk)
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
        if np.all(length < CLOSE):
            break
    slope = b / spread
    defined = varies & safe & (length < 1e-3) & (np.abs(slope) < STEEPEST)
    return np.where(defined, slope, np.nan), np.where(defined, a - slope * middle, np.nan)


def _both(positive: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    found = drawn @ positive.astype(np.float64)
    return (found > 0) & (found < drawn.sum(-1))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature whose division of the logits gives the lowest mean negative log likelihood
    (Guo et al., ICML 2017, section 4.2).

    The likelihood has one minimum in the inverse of the temperature, so that a bounded search finds
    it.

    Args:
        logits: (N, K), finite.
        labels: (N,) from 0 to K - 1.
    Returns:
        From 0.05 to 20; 1 where nothing can be learned: no samples, or logits that are all equal.
    Raises:
        ValueError: logits that are not finite.
    """
    if not np.isfinite(logits).all():
        raise ValueError('a temperature is fitted to finite logits, and some are not')
    centred = np.asarray(logits, dtype=np.float64)
    if not len(centred) or np.ptp(centred, axis=1).max() == 0:
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(centred / np.exp(log_temperature), axis=1)
        return -float(scaled[np.arange(len(labels)), labels].mean())

    low, high = np.log(TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method='bounded', options={'xatol': 1e-6})
    # The search never tries the bounds themselves, nor 1.
    best = min((float(found.x), 0.0, float(low), float(high)), key=loss)
    return float(np.exp(best))
