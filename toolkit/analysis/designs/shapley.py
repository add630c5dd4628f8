"""Shapley values of switches as weighted sums of the means of a design's points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np


def weigh_switch(
    points: Sequence[Sequence[bool]], switch: int, orders: Sequence[Sequence[int]] = ()
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Makes the weights of the points whose sum is the Shapley value of a switch.

    Args:
        points: all combinations, or those that the orders pass.
        switch: its place.
        orders: sampled orders of turning the switches on; empty for all of them, exactly.
    Returns:
        The weights, and those of each sampled order.
    """
    place = {tuple(map(bool, point)): number for number, point in enumerate(points)}
    count = len(points[0])
    if orders:
        before = [set(order[: list(order).index(switch)]) for order in orders]
        steps = [_make_step(place, found, switch, count) for found in before]
        return np.mean(steps, axis=0), steps
    weights = np.zeros(len(points))
    others = [other for other in range(count) if other != switch]
    for size in range(count):
        share = 1 / (count * math.comb(count - 1, size))
        for chosen in itertools.combinations(others, size):
            weights = weights + share * _make_step(place, set(chosen), switch, count)
    return weights, []


def pair_orders(orders: Sequence[Sequence[int]]) -> list[list[int]]:
    """Pairs the place of each order with that of its reverse after it, which depends on it.

    A switch may make the same difference first and last. Then a pair tells no more than one order,
    and an interval that counts both as two would be too narrow.
    """
    groups: list[list[int]] = []
    for place, order in enumerate(orders):
        if groups and len(groups[-1]) == 1 and list(order) == list(orders[place - 1])[::-1]:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def _make_step(
    place: dict[tuple[bool, ...], int], before: set[int], switch: int, count: int
) -> np.ndarray:
    """Makes the weights of the difference that a switch makes after others."""
    weights = np.zeros(len(place))
    weights[place[tuple(other in before for other in range(count))]] -= 1
    weights[place[tuple(other in before or other == switch for other in range(count))]] += 1
    return weights
