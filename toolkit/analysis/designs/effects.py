"""Effects and Shapley values of the switches of a study with a design.

A fit by least squares with all effects, and seeds and folds as blocks. A switch that is on counts
as 1/2, off as -1/2. So a main effect is the mean difference between on and off; an interaction of
two is the mean amount by which the effect of one is larger where the other is on, and so on. In a
fraction of the combinations, effects have aliases: only their sum is known. The Shapley value of a
switch is the mean difference that it makes over all orders of turning the switches on.

Source: Montgomery, "Design and analysis of experiments", chapters 4, 6 and 8; Shapley, "A value for
n-person games", 1953; Castro et al., "Polynomial calculation of the Shapley value based on
sampling", Computers & Operations Research 36, 2009.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from toolkit.analysis.aggregate import Analysis
from toolkit.analysis.conditions import Condition, list_pairs
from toolkit.analysis.designs.aliases import format_alias, group_aliases, multiply_levels
from toolkit.analysis.designs.shapley import pair_orders, weigh_switch
from toolkit.analysis.paired_tests import ALPHA, adjust_holm, compute_variance_factor
from toolkit.analysis.results import TableOptions

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
        aliases: main effects and interactions of two that a fraction adds to this one, with signs
            and factors: '− ½ b × c'.
    """

    switches: tuple[str, ...]
    estimate: float
    low: float | None
    high: float | None
    p: float | None
    blocks: int
    p_holm: float | None = None
    aliases: tuple[str, ...] = ()


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
    """Fits main effects and all interactions of a full factorial design.

    Args:
        values: (blocks, 2, ..., 2), an axis per switch: off, on.
        switches: their names.
        folds: number of folds that the data are split into.
    """
    points = list(itertools.product((False, True), repeat=len(switches)))
    return fit_fraction(values.reshape(len(values), -1), points, switches, folds)


def fit_fraction(
    values: np.ndarray,
    points: Sequence[Sequence[bool]],
    switches: Sequence[str],
    folds: int = 1,
    pooled: bool = True,
) -> list[Effect]:
    """Fits the effects that a regular fraction, or all combinations, can tell apart.

    Args:
        values: (blocks, points).
        points: for each the switches that are on.
        switches: their names.
        folds: number of folds that the data are split into.
        pooled: see `fit_shapley`.
    """
    found = []
    noise = _Noise(values, folds, pooled)
    for term, aliases in group_aliases(points, len(switches)):
        weights = weigh_term(points, term)
        names = tuple(switches[place] for place in term)
        texts = tuple(format_alias(other, sign, term, switches) for other, sign in aliases)
        found.append(noise.make_effect(names, weights, aliases=texts))
    return found


def weigh_term(points: Sequence[Sequence[bool]], term: Sequence[int]) -> np.ndarray:
    """Makes the weights of the points whose sum is a main effect, or an interaction."""
    return multiply_levels(points, term) * 2 ** len(term) / len(points)


def fit_shapley(
    values: np.ndarray,
    points: Sequence[Sequence[bool]],
    switches: Sequence[str],
    orders: Sequence[Sequence[int]] = (),
    folds: int = 1,
    pooled: bool = True,
) -> list[Effect]:
    """Fits the Shapley values of the switches.

    Args:
        values: (blocks, points).
        points: all combinations, or those that the orders pass.
        switches: their names.
        orders: sampled orders of turning the switches on; empty for all of them, exactly.
        folds: number of folds that the data are split into.
        pooled: the spread is that of all variants together; False where some of them do not vary,
            so that each effect has the spread of its own values by block.
    """
    noise, found = _Noise(values, folds, pooled), []
    for switch, name in enumerate(switches):
        weights, steps = weigh_switch(points, switch, orders)
        found.append(noise.make_effect((name,), weights, steps, pair_orders(orders)))
    return found


class _Noise:
    """The spread of values that blocks and variants do not explain.

    Args:
        values: (blocks, points).
        folds: number of folds.
        pooled: see `fit_shapley`.
    """

    def __init__(self, values: np.ndarray, folds: int, pooled: bool = True) -> None:
        self.values, self.pooled = values, pooled
        self.blocks, count = values.shape
        self.means = values.mean(0)
        residuals = values - self.means - values.mean(1, keepdims=True) + values.mean()
        self.freedom = (self.blocks - 1) * (count - 1)
        self.variance = float((residuals**2).sum()) / self.freedom if self.freedom else 0.0
        self.rounding = (_ROUNDING * float(np.abs(values).max())) ** 2
        self.factor = compute_variance_factor(self.blocks, folds)

    def make_effect(
        self,
        names: tuple[str, ...],
        weights: np.ndarray,
        steps: Sequence[np.ndarray] = (),
        groups: Sequence[Sequence[int]] = (),
        aliases: tuple[str, ...] = (),
    ) -> Effect:
        """Makes the effect that is a weighted sum of the means of the points.

        Args:
            names: of the switches.
            weights: (points,).
            steps: weights of the sampled orders, whose own spread the interval has too.
            groups: places of the steps that were not drawn independently.
            aliases: see `Effect`.
        """
        estimate = float(weights @ self.means)
        square = float((weights**2).sum())
        variance, freedom = self.variance, self.freedom
        if not self.pooled:
            own = float((self.values @ weights).var(ddof=1)) if self.blocks > 1 else 0.0
            variance, freedom = own / square, self.blocks - 1
        error = square * variance * self.factor
        if len(groups) > 1:
            sampled = np.array([step @ self.means for step in steps])
            sampled = sampled - sampled.mean()
            spread = math.fsum(sampled[list(group)].sum() ** 2 for group in groups)
            count = len(groups)
            error += count / (count - 1) * spread / len(steps) ** 2
            freedom = min(freedom, count - 1)
        if self.blocks == 1 or len(groups) == 1 or error <= square * self.rounding:
            return Effect(names, estimate, None, None, None, self.blocks, aliases=aliases)
        reach = float(stats.t.ppf(1 - ALPHA / 2, freedom)) * math.sqrt(error)
        p = float(2 * stats.t.sf(abs(estimate) / math.sqrt(error), freedom))
        low, high = estimate - reach, estimate + reach
        return Effect(names, estimate, low, high, p, self.blocks, aliases=aliases)


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
            effects = _fit_group(group, metric, options)
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


def _fit_group(group: dict[str, Condition], metric: str, options: TableOptions) -> list[Effect]:
    """Fits the blocks with a value of every variant, made with the same code."""
    switches = options.switches
    # Variants of a study are in the order of its design.
    points = [[name in variant.split('+') for name in switches] for variant in group]
    order = list(group)
    pairs = list_pairs(list(group.values()))
    values = [group[variant].get_values_at(metric, pairs) for variant in order]
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
    folds = max(len({fold for fold in planned if fold is not None}), 1)
    # A variant without training has the same value with every seed, and no spread of its own.
    pooled = len({condition.is_seedless for condition in group.values()}) == 1
    if options.design == 'shapley':
        return fit_shapley(array, points, switches, options.orders, folds, pooled)
    return fit_fraction(array, points, switches, folds, pooled)
