"""Temperature scaling: one number that divides the logits, fitted to validation data."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

TEMPERATURES = (0.05, 20.0)  # range of the search


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Find the temperature that minimizes the mean negative log likelihood of logits divided by it.

    There is one minimum in the inverse of the temperature, which a bounded search finds.

    Args:
        logits: (N, K), finite.
        labels: (N,) from 0 to K - 1.
    Returns:
        From 0.05 to 20; 1 without samples, or if the logits of each sample are equal.
    Raises:
        ValueError: logits that are not finite.
    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, section 4.2.
    """
    if not np.isfinite(logits).all():
        raise ValueError('the temperature cannot be fitted: some logits are not finite')
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
