"""Selective prediction: the error of the decisions that remain when the least sure are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

COVERAGES = (1.0, 0.9, 0.8, 0.5)  # shares of decisions that are kept


def rate_confidence(
    probabilities: np.ndarray,
    decisions: np.ndarray,
    positive: int | None = None,
    threshold: float | None = None,
) -> np.ndarray:
    """Rates how sure each decision is, from 0 to 1: (N,).

    With a positive class it is the distance of its probability from the threshold, as a share of
    the largest one on that side: an image at the threshold is least sure. Otherwise it is the
    probability of the class decided for.

    Args:
        probabilities: (N, K).
        decisions: (N,).
        positive: index of the positive class of two.
        threshold: of its probability; None for 0.5.
    """
    if positive is None:
        return probabilities[np.arange(len(decisions)), decisions]
    cut = 0.5 if threshold is None else threshold
    p = probabilities[:, positive]
    above = (p - cut) / max(1 - cut, 1e-12)
    below = (cut - p) / max(cut, 1e-12)
    return np.clip(np.where(decisions == positive, above, below), 0, 1)


def summarize_risk(
    confidence: np.ndarray,
    wrong: np.ndarray,
    weights: np.ndarray | None = None,
    coverages: Sequence[float] = COVERAGES,
) -> Mapping[str, np.ndarray]:
    """Computes the area under the risk-coverage curve, and the risk at some coverages.

    The risk at coverage k / n is the share of errors among the k surest decisions, and `AURC` the
    mean of the risks at all k (Geifman, Uziel and El-Yaniv, "Bias-reduced uncertainty estimation
    for deep neural classifiers", ICLR 2019). Decisions of equal confidence come in random order:
    each counts with the mean error of all of them.

    Args:
        confidence: (N,).
        wrong: (N,) bool.
        weights: (r, N) times that each decision counts in r resamples; None for once.
        coverages: shares that are kept; the surest ones of each, rounded up.
    Returns:
        (r,) each, scalars without weights; NaN without decisions.
    """
    times = np.ones((1, len(wrong))) if weights is None else weights
    order, starts, _ = _rank(confidence)
    if not len(order):
        empty = np.full(len(times), np.nan)
        found = {'AURC': empty, **{name_risk(c): empty for c in coverages}}
        return {k: v[0] for k, v in found.items()} if weights is None else found
    # Copies of a decision in a resample are equally sure, so that groups of equal ones are all
    # that is needed: (r, groups) each.
    counts = np.add.reduceat(times[:, order], starts, 1)
    errors = np.add.reduceat(times[:, order] * wrong[order], starts, 1)
    rate = np.divide(errors, counts, out=np.zeros_like(errors), where=counts > 0)
    seen, total = np.cumsum(counts, 1), counts.sum(1)
    before, errors_before = seen - counts, np.cumsum(errors, 1) - errors
    harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, int(total.max()) + 1))])
    passed = harmonic[seen.astype(int)] - harmonic[before.astype(int)]
    # The sum of (errors_before + i rate) / (before + i) over the places i = 1 ... counts.
    sums = rate * counts + (errors_before - before * rate) * passed
    with np.errstate(invalid='ignore', divide='ignore'):
        found = {'AURC': sums.sum(1) / total}
        for coverage in coverages:
            kept = np.ceil(coverage * total - 1e-9)
            last = (seen >= kept[:, None]).argmax(1)[:, None]  # the group at this place
            start, missed, own = (
                np.take_along_axis(values, last, 1)[:, 0]
                for values in (before, errors_before, rate)
            )
            found[name_risk(coverage)] = (missed + (kept - start) * own) / kept
    return {k: v[0] for k, v in found.items()} if weights is None else found


def compute_risk_curve(confidence: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the coverages k / n and the risks of the k surest decisions: (N,) each."""
    order, starts, sizes = _rank(confidence)
    if not len(order):
        return np.zeros(0), np.zeros(0)
    rate = np.add.reduceat(wrong[order].astype(float), starts) / sizes
    places = np.arange(1, len(order) + 1)
    return places / len(order), np.cumsum(np.repeat(rate, sizes)) / places


def name_risk(coverage: float) -> str:
    """Names the risk at a coverage, such as 'risk at 80 %'."""
    return f'risk at {100 * coverage:g} %'


def _rank(confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ranks decisions from the surest; returns the order, and starts and sizes of equal ones."""
    order = np.argsort(-confidence, kind='stable')
    if not len(order):
        return order, order, order
    starts = np.concatenate([[0], np.flatnonzero(np.diff(confidence[order])) + 1])
    return order, starts, np.diff(np.append(starts, len(order)))
