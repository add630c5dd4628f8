"""Points of designs over switches: all combinations, a regular fraction, orders of adding."""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from toolkit.analysis.designs.aliases import describe_aliases

# Of all combinations, and of a fraction.
MOST_POINTS = 256
MOST_SWITCHES = 16
RESOLUTIONS = (3, 4, 5)
# Sets of columns that are tried for a fraction; more find no smaller one up to 16 switches.
_MOST_TRIES = 5000

Point = tuple[bool, ...]


def list_combinations(switches: int) -> list[Point]:
    """List all combinations, in the order of binary numbers."""
    return list(itertools.product((False, True), repeat=switches))


@functools.cache
def find_fraction(
    switches: int, resolution: int | None = None, runs: int | None = None
) -> tuple[int, list[Point]] | None:
    """Find a regular two-level fraction that holds the point where all switches are off.

    The first switches are free. Each further one is on where an odd number of some free ones is: a
    product of them, in the words of the books, with the sign that keeps that point in.

    Args:
        switches: their number.
        resolution: 3, 4 or 5: the smallest fraction of at least this resolution; 4 by default.
        runs: number of points, a power of two: the fraction of the highest resolution.
    Returns:
        The resolution that was looked for, and the points; None where there is no such fraction.
    Source: Montgomery, "Design and analysis of experiments", chapter 8.
    """
    sizes = range(1, 9) if runs is None else [runs.bit_length() - 1]
    wanted = [resolution or 4] if runs is None else list(reversed(RESOLUTIONS))
    for free, least in itertools.product(sizes, wanted):
        if free <= switches and (columns := _choose_columns(switches, free, least)) is not None:
            points = [
                tuple(bin(column & base).count('1') % 2 == 1 for column in columns)
                for base in range(2**free)
            ]
            return least, points
    return None


def _choose_columns(switches: int, free: int, resolution: int) -> list[int] | None:
    """Choose a set of free switches for each switch, so that no short word is constant."""
    columns = [1 << place for place in range(free)]
    candidates = sorted(
        (c for c in range(1, 2**free) if c & (c - 1)), key=lambda c: (-bin(c).count('1'), c)
    )

    def fits(column: int, taken: Sequence[int]) -> bool:
        if column in taken:
            return False
        pairs = {a ^ b for a, b in itertools.combinations(taken, 2)}
        if resolution > 3 and column in pairs:
            return False
        # Four columns whose sum is 0: a pair equals another pair.
        return resolution < 5 or not any(column ^ other in pairs for other in taken)

    tried = 0

    def extend(taken: list[int], start: int) -> list[int] | None:
        nonlocal tried
        if len(taken) == switches:
            return taken
        for place in range(start, len(candidates)):
            tried += 1
            if tried > _MOST_TRIES:
                return None
            if fits(candidates[place], taken):
                found = extend([*taken, candidates[place]], place + 1)
                if found is not None:
                    return found
        return None

    if switches < free:
        return None
    return extend(columns, 0)


def sample_orders(switches: int, count: int, seed: int = 0) -> list[tuple[int, ...]]:
    """Draw orders in which the switches are turned on, each with its reverse.

    The reverse of a random order is one too, and the two together tell more than two others.
    """
    generator, found = random.Random(seed), []
    while len(found) < count:
        order = tuple(generator.sample(range(switches), switches))
        found += [order, order[::-1]]
    return found[:count]


def list_coalitions(orders: Sequence[Sequence[int]]) -> list[Point]:
    """List the points that orders of turning switches on pass, each once."""
    found: dict[Point, None] = {}
    for order in orders:
        for length in range(len(order) + 1):
            on = set(order[:length])
            found[tuple(place in on for place in range(len(order)))] = None
    return sorted(found, key=lambda point: (sum(point), point))


def describe_fraction(
    switches: Sequence[str], resolution: int, points: Sequence[Point]
) -> Iterator[str]:
    """Describe a fraction: its resolution and the effects that it cannot tell apart."""
    roman = {3: 'III', 4: 'IV', 5: 'V'}[resolution]
    whole = 2 ** len(switches)
    yield f'{len(points)} of {whole} combinations, resolution {roman} or more'
    found = describe_aliases(points, switches)
    if not found:
        yield 'main effects and interactions of two are told apart'
    yield from found


def sample_grid(axes: Sequence[Sequence[Any]], points: int, seed: int) -> Iterator[list[Any]]:
    """Sample points of a grid without repetition, in the order of the grid."""
    size = math.prod(map(len, axes))
    for number in sorted(random.Random(seed).sample(range(size), points)):
        point: list[Any] = []
        for values in reversed(axes):
            number, index = divmod(number, len(values))
            point.insert(0, values[index])
        yield point
