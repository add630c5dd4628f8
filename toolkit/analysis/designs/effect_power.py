"""Smallest effects and Shapley values of a design that the planned seeds can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.analysis.designs.aliases import group_aliases
from toolkit.analysis.designs.effects import weigh_term
from toolkit.analysis.designs.shapley import weigh_switch
from toolkit.analysis.paired_tests import compute_variance_factor
from toolkit.analysis.power import find_smallest_shift
from toolkit.analysis.results import TableOptions


@dataclass(frozen=True)
class EffectPower:
    """Power of the tests of a design's effects, in which all variants vary alike.

    Args:
        points: for each variant the switches that are on.
        options: of the study.
        blocks: number of (seed, fold) pairs.
        folds: number of folds of the data.
        groups: number of settings, data sets and metrics whose effects are corrected together.
    """

    points: Sequence[Sequence[bool]]
    options: TableOptions
    blocks: int
    folds: int
    groups: int

    @property
    def kinds(self) -> dict[str, float]:
        """The kinds of effects, with the variance of an estimate in units of that of one mean."""
        found: dict[str, float] = {}
        for order, square in self._squares:
            name = 'main effect' if order == 1 else f'interaction of {order}'
            name = 'Shapley value' if self.options.design == 'shapley' else name
            found[name] = max(found.get(name, 0.0), square)
        return found

    @property
    def tests(self) -> int:
        """Number of tests that Holm's correction counts."""
        return self.groups * len(self._squares)

    @property
    def _squares(self) -> list[tuple[int, float]]:
        """For each effect its order and the sum of the squares of its weights."""
        count = len(self.options.switches)
        if self.options.design == 'shapley':
            weights = [weigh_switch(self.points, n, self.options.orders)[0] for n in range(count)]
            return [(1, float((found**2).sum())) for found in weights]
        terms = [term for term, _ in group_aliases(self.points, count)]
        return [(len(t), float((weigh_term(self.points, t) ** 2).sum())) for t in terms]

    def find_smallest(self, kind: str, sd: float) -> float | None:
        """Finds the smallest effect that is found with a power of 80 %; None for one block.

        Args:
            kind: one of `kinds`.
            sd: true standard deviation of differences between two variants.
        """
        freedom = (self.blocks - 1) * (len(self.points) - 1)
        if not freedom:
            return None
        variance = self.kinds[kind] * sd**2 / 2 * compute_variance_factor(self.blocks, self.folds)
        return math.sqrt(variance) * find_smallest_shift(freedom, self.tests)
