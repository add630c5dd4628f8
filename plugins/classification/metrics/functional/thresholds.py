"""Rules that choose the decision threshold of the positive class."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

Rule = Literal['youden', 'F1', 'sensitivity', 'specificity', 'half']
HALF = 0.5


def choose_threshold(
    probability: np.ndarray, positive: np.ndarray, rule: Rule = 'youden', at_least: float = 0.9
) -> float:
    """Choose the decision threshold by a rule.

    It lies half-way between two probabilities of the data, so that rounding does not change later
    decisions. Of several equally good ones, it is the one nearest to 0.5.

    Args:
        probability: (N,) of the positive class, in single precision.
        positive: (N,) bool.
        rule: 'youden' for the highest sum of sensitivity and specificity (Youden, Cancer 3, 1950);
            'F1' for the highest F1; 'sensitivity' for the highest specificity with a sensitivity
            of `at_least` or more; 'specificity' for the reverse; 'half' for 0.5.
        at_least: limit of the rules 'sensitivity' and 'specificity'.
    Returns:
        From 0 to 1, a single-precision number.
    Raises:
        ValueError: an unknown rule; samples of one class only; a specificity that no threshold
            reaches.
    """
    if rule not in get_args(Rule):
        raise ValueError(f'rule must be one of {", ".join(get_args(Rule))}, found {rule!r}')
    if rule == 'half':
        return HALF
    if not 0 < at_least <= 1:
        raise ValueError(f'at_least must be above 0 and at most 1, found {at_least}')
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        raise ValueError(
            f'a threshold needs samples of both classes, found {positives} positive and '
            f'{negatives} negative ones'
        )
    candidates = _candidates(probability)
    found = _count_at_least(probability[positive], candidates)
    wrong = _count_at_least(probability[~positive], candidates)
    sensitivity, specificity = found / positives, 1 - wrong / negatives
    second = np.zeros_like(sensitivity)
    if rule == 'youden':
        # Counts instead of shares, so that equally good ones are exactly equal.
        first = found * negatives - wrong * positives
    elif rule == 'F1':
        first = 2 * found / (positives + found + wrong)
    elif rule == 'sensitivity':
        first = np.where(sensitivity >= at_least, specificity, -1)
        second = sensitivity
    else:
        first = np.where(specificity >= at_least, sensitivity, -1)
        second = specificity
    if first.max() < 0:
        raise ValueError(
            f'no threshold reaches a {rule} of {at_least:g}: samples of the other class have the '
            'probability 1'
        )
    order = np.lexsort((-np.abs(candidates - HALF), second, first))
    return float(candidates[order[-1]])


def _candidates(probability: np.ndarray) -> np.ndarray:
    """List one threshold for each way to divide the samples, as single-precision numbers."""
    values = np.unique(np.asarray(probability, dtype=np.float32))
    between = (values[:-1].astype(np.float64) + values[1:]) / 2
    rounded = between.astype(np.float32)
    # Neighbouring numbers have none between them; the upper one divides the samples alike.
    divided = np.where(rounded <= values[:-1], values[1:], rounded)
    last = np.float32((float(values[-1]) + 1) / 2)
    above = [last] if last > values[-1] else []
    return np.r_[np.float32(0), divided, above].astype(np.float64)


def _count_at_least(probability: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Count the probabilities at or above each threshold."""
    ranked = np.sort(np.asarray(probability, dtype=np.float32)).astype(np.float64)
    return len(ranked) - np.searchsorted(ranked, thresholds, side='left')
