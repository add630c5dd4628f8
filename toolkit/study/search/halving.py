"""Successive halving: the values that a trial must reach at each rung to go on.

The thresholds of a trial follow from the trials of earlier batches alone, so they are known before
it starts, stay the same after a kill, and do not depend on which run ends first.

Hyperband shares the trials out between brackets. In each one halving begins at another rung, and in
the last one every trial runs to its end, so that a slow start does not decide everywhere.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", arXiv 1810.05934;
here trials are stopped, and never paused. Li et al. 2018, "Hyperband", JMLR 18, algorithm 1, for
the sizes of the brackets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from toolkit.study.search.keys import Halving

# Of a validation that is not finite; a trial with one is the worst.
Values = Sequence[float | None]


@dataclass(frozen=True)
class Cut:
    """The rung at which a trial is ended.

    Attributes:
        validations: number of validations before it.
        value: of the metric there; None where it is not finite.
        threshold: the value that the trial had to reach.
    """

    validations: int
    value: float | None
    threshold: float

    def __str__(self) -> str:
        value = 'not finite' if self.value is None else f'{self.value:.6g}'
        times = '1 validation' if self.validations == 1 else f'{self.validations} validations'
        return f'{value} after {times}, expected {self.threshold:.6g} or better'


def find_thresholds(rule: Halving, earlier: Sequence[Values], higher: bool) -> dict[str, float]:
    """Find the value that a trial must reach at each rung.

    It goes on if it is among the best `1 / factor` of all trials that have reached the rung, itself
    included. Until `factor` earlier ones have, all go on.

    Args:
        rule: of the study.
        earlier: values of the validations of the trials before.
        higher: whether higher values are better.
    Returns:
        Thresholds by the number of validations, as text.
    """
    found = {}
    for rung in rule.list_rungs(max(map(len, earlier), default=0)):
        reached = [_to_score(values[rung - 1], higher) for values in earlier if len(values) >= rung]
        if len(reached) >= rule.factor:
            place = (len(reached) + 1) // rule.factor
            threshold = sorted(reached, reverse=True)[place - 1]
            if threshold > -math.inf:
                found[str(rung)] = threshold if higher else -threshold
    return found


def find_bracket(rule: Halving, number: int) -> int:
    """Find the bracket of Hyperband that a trial belongs to, which its number alone decides.

    Any first trials are shared out as all are, since a search may have few.

    Args:
        rule: of the study, with `most`.
        number: of the trial, from 0.
    Returns:
        The number of rungs that the trial is spared.
    """
    sizes = list_bracket_sizes(rule)
    counts, chosen = [0] * len(sizes), 0
    for place in range(number + 1):
        wanted = [(place + 1) * size / sum(sizes) for size in sizes]
        chosen = max(range(len(sizes)), key=lambda n: wanted[n] - counts[n])
        counts[chosen] += 1
    return chosen


def list_bracket_sizes(rule: Halving) -> list[int]:
    """List the sizes of Hyperband's brackets, from the one with all rungs to the one with none."""
    assert rule.most is not None
    rungs = len(rule.list_rungs(rule.most))
    return [
        math.ceil((rungs + 1) / (left + 1) * rule.factor**left) for left in range(rungs, -1, -1)
    ]


def enter_bracket(rule: Halving, bracket: int) -> Halving:
    """Get the rule of a bracket, whose first rung lies further on."""
    return replace(rule, first=rule.first * rule.factor**bracket)


def find_cut(thresholds: Mapping[str, float], values: Values, higher: bool) -> Cut | None:
    """Find the first rung that a trial has not passed; None if it goes on."""
    for rung, threshold in thresholds.items():
        place = int(rung)
        if len(values) < place:
            continue
        if _to_score(values[place - 1], higher) < _to_score(threshold, higher):
            return Cut(place, values[place - 1], threshold)
    return None


def _to_score(value: float | None, higher: bool) -> float:
    """Make a number of which more is better."""
    if value is None or not math.isfinite(value):
        return -math.inf
    return value if higher else -value
