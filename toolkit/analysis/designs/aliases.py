"""Aliases: effects that a fraction of the combinations of switches cannot tell apart."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

Term = tuple[int, ...]


def multiply_levels(points: Sequence[Sequence[bool]], term: Sequence[int]) -> np.ndarray:
    """Multiplies the levels (on 1, off -1) of the switches of a term at each point."""
    levels = np.where(np.asarray(points, dtype=bool), 1, -1)
    return levels[:, list(term)].prod(1)


def group_aliases(
    points: Sequence[Sequence[bool]], count: int
) -> list[tuple[Term, list[tuple[Term, int]]]]:
    """Groups the terms that the points cannot tell apart, by the first of the lowest order.

    Returns:
        Each first term, with its aliases of order one or two and their signs.
    """
    found: dict[bytes, tuple[Term, list[tuple[Term, int]]]] = {}
    # Aliases of higher order are not shown, so all groups and all pairs are enough.
    for order in range(1, count + 1):
        for term in itertools.combinations(range(count), order):
            product = multiply_levels(points, term)
            if abs(int(product.sum())) == len(points):
                continue  # it is constant, as the mean is
            if (key := product.tobytes()) not in found and (-product).tobytes() not in found:
                found[key] = term, []
            elif order <= 2:
                sign = 1 if key in found else -1
                found[key if sign == 1 else (-product).tobytes()][1].append((term, sign))
        if order >= 2 and len(found) == len(points) - 1:
            break
    return list(found.values())


def format_alias(term: Term, sign: int, first: Term, switches: Sequence[str]) -> str:
    """Formats an alias with its sign and factor: '− ½ b × c'."""
    # An interaction of two is twice the difference of means that estimates it.
    factor = {0: '', 1: '½ '}[len(term) - len(first)]
    return f'{"+" if sign > 0 else "−"} {factor}{" × ".join(switches[place] for place in term)}'


def describe_aliases(points: Sequence[Sequence[bool]], switches: Sequence[str]) -> list[str]:
    """Describes the sums that a fraction estimates in place of single effects of at most two."""
    found = []
    for term, aliases in group_aliases(points, len(switches)):
        if aliases and len(term) <= 2:
            texts = [format_alias(other, sign, term, switches) for other, sign in aliases]
            name = ' × '.join(switches[place] for place in term)
            found.append(f'{name} stands for {" ".join([name, *texts])}')
    return found
