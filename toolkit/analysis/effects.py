"""Main effects and interactions of the switches of a factorial study.

A fit by least squares with all effects, and seeds and folds as blocks. A switch that is on counts
as 1/2, off as -1/2. So a main effect is the mean difference between on and off; an interaction of
two is the mean amount by which the effect of one is larger where the other is on, and so on.

Source: Montgomery, "Design and analysis of experiments", chapters 4 and 6.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from toolkit.analysis.aggregate import Analysis, Condition
from toolkit.analysis.paired_tests import ALPHA, adjust_holm, compute_variance_factor

NONE = 'none'
# Residuals below this share of the values are rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Effect:
    """Main effect of a switch, or interaction of several.

    Attributes:
        switches: one for a main effect.
        estimate: the effect, in units of the metric.
        low: lower end of its 95 % confidence interval; None where runs do not vary.
        high: upper end of the interval.
        p: two-sided p-value for no effect; None likewise.
        blocks: number of (seed, fold) pairs with a value of every variant.
        p_holm: p after Holm's correction for all effects of the study.
    """

    switches: tuple[str, ...]
    estimate: float
    low: float | None
    high: float | None
    p: float | None
    blocks: int
    p_holm: float | None = None


@dataclass(frozen=True)
class EffectsOfMetric:
    """Effects on a metric under one setting of the axes and one dataset.

    Attributes:
        condition: any condition of that setting and dataset.
        metric: name.
        effects: main effects, then interactions by their order; empty without a complete block.
    """

    condition: Condition
    metric: str
    effects: tuple[Effect, ...]


def join_switches(switches: Sequence[str]) -> str:
    """Names the variant in which these switches are on."""
    return '+'.join(switches) or NONE


def fit_effects(values: np.ndarray, switches: Sequence[str], folds: int = 1) -> list[Effect]:
    """Fits main effects and all interactions.

    Args:
        values: (blocks, 2, ..., 2), an axis per switch: off, on.
        switches: their names.
        folds: number of folds that the data are split into.
    """
    blocks, count = len(values), len(switches)
    residuals = values - values.mean(0) - values.mean(tuple(range(1, count + 1)), keepdims=True)
    residuals = residuals + values.mean()
    freedom = (blocks - 1) * (2**count - 1)
    variance = float((residuals**2).sum()) / freedom if freedom else 0.0
    varies = variance > (_ROUNDING * float(np.abs(values).max())) ** 2
    means = values.mean(0)
    found = []
    for order in range(1, count + 1):
        for chosen in itertools.combinations(range(count), order):
            effect = means
            for axis in reversed(range(count)):
                off, on = np.take(effect, 0, axis), np.take(effect, 1, axis)
                effect = on - off if axis in chosen else (on + off) / 2
            estimate = float(effect)
            low = high = p = None
            if varies:
                factor = compute_variance_factor(blocks, folds)
                error = math.sqrt(variance * 4**order / 2**count * factor)
                reach = float(stats.t.ppf(1 - ALPHA / 2, freedom)) * error
                low, high = estimate - reach, estimate + reach
                p = float(2 * stats.t.sf(abs(estimate) / error, freedom))
            names = tuple(switches[axis] for axis in chosen)
            found.append(Effect(names, estimate, low, high, p, blocks))
    return found


def find_effects(analysis: Analysis) -> list[EffectsOfMetric]:
    """Fits the effects of all metrics; empty for a study without switches."""
    options = analysis.results.options
    if not options.switches:
        return []
    groups: dict[str, dict[str, Condition]] = {}
    for condition in analysis.conditions:
        groups.setdefault(condition.context, {})[condition.variant] = condition
    found = []
    for metric in analysis.metrics:
        for group in groups.values():
            effects = _fit_group(group, metric, options.switches)
            found.append(EffectsOfMetric(next(iter(group.values())), metric, tuple(effects)))
    family = [
        (i, j)
        for i, one in enumerate(found)
        if options.primary in (None, one.metric)
        for j in range(len(one.effects))
    ]
    holm = adjust_holm([found[i].effects[j].p for i, j in family])
    corrected = dict(zip(family, holm))
    result = []
    for i, one in enumerate(found):
        effects = [replace(e, p_holm=corrected.get((i, j))) for j, e in enumerate(one.effects)]
        result.append(replace(one, effects=tuple(effects)))
    return result


def _fit_group(group: dict[str, Condition], metric: str, switches: Sequence[str]) -> list[Effect]:
    """Fits the blocks with a value of every variant, made with the same code."""
    order = [
        join_switches([name for name, on in zip(switches, point) if on])
        for point in itertools.product((0, 1), repeat=len(switches))
    ]
    if any(variant not in group for variant in order):
        return []
    values = [group[variant].get_values(metric) for variant in order]
    blocks = [
        block
        for block in values[0]
        if all(block in found for found in values)
        and len({group[variant].has_other_code(block) for variant in order}) == 1
    ]
    if not blocks:
        return []
    array = np.array([[found[block] for found in values] for block in blocks])
    # Of the plan: they say how much training data two folds share, however many have finished.
    planned = [run.fold for variant in order for run in group[variant].runs]
    folds = len({fold for fold in planned if fold is not None})
    return fit_effects(array.reshape(-1, *(2,) * len(switches)), switches, max(folds, 1))
