"""Sharing groups of images out among parts so that every class has its share in each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

Label = Hashable


def share_out(
    groups: Sequence[Hashable],
    labels: Sequence[Sequence[Label]],
    shares: Mapping[str, float],
    seed: int,
) -> list[str]:
    """The part of each image: groups stay whole, and every label has its share in each part.

    The label with the fewest groups left is dealt first, its largest groups before the others, each
    to the part that lacks most of it for its share. Where as few groups are left as parts have none
    of a label, those parts get them, so that no part goes without while there are groups enough.

    Args:
        groups: of each image (N,); images of one stay together.
        labels: of each image (N,), any number of them: one for each task, say.
        shares: of each part, by name; their sum is 1.
        seed: of the order in which equal groups are dealt.
    Returns:
        Names of parts (N,), the same for the same arguments.

    Source: iterative stratification, Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011, here of
    groups.
    """
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    units = list(members.values())
    held: list[dict[Label, int]] = []  # of each unit: how many images have a label
    for unit in units:
        counts: dict[Label, int] = {}
        for index in unit:
            for label in labels[index]:
                counts[label] = counts.get(label, 0) + 1
        held.append(counts)
    rank = np.random.default_rng(seed).permutation(len(units)).tolist()
    parts = [name for name, share in shares.items() if share > 0]
    totals: dict[Label, int] = {}
    waiting: dict[Label, set[int]] = {}
    for number, counts in enumerate(held):
        for label, count in counts.items():
            totals[label] = totals.get(label, 0) + count
            waiting.setdefault(label, set()).add(number)
    lack = {part: {k: shares[part] * n for k, n in totals.items()} for part in parts}
    room = {part: shares[part] * len(groups) for part in parts}
    without = {label: set(parts) for label in totals}
    part_of: dict[int, str] = {}

    def deal(number: int, label: Label | None) -> None:
        able = parts
        if label is not None and len(waiting[label]) <= len(without[label]):
            able = [part for part in parts if part in without[label]]
        lacking = {part: lack[part][label] if label is not None else room[part] for part in able}
        size = held[number][label] if label is not None else len(units[number])
        # Where more than half of it is wanted; nowhere, where that part is missed by least.
        fitting = [part for part in able if lacking[part] >= size / 2] or able

        def want(part: str) -> tuple[float, float]:
            # By the part's own share, so that a small part gets large groups too. Rounded, so that
            # what differs in the last digit alone counts as equal.
            return round(lacking[part] / shares[part], 9), round(room[part] / shares[part], 9)

        best = max(fitting, key=want)
        part_of[number] = best
        room[best] -= len(units[number])
        for key, count in held[number].items():
            lack[best][key] -= count
            without[key].discard(best)
            waiting[key].discard(number)

    order = {label: place for place, label in enumerate(totals)}
    while any(waiting.values()):
        label = min((k for k in waiting if waiting[k]), key=lambda k: (len(waiting[k]), order[k]))
        deal(min(waiting[label], key=lambda n: (-held[n][label], rank[n])), label)
    for number in sorted(range(len(units)), key=lambda n: (-len(units[n]), rank[n])):
        if number not in part_of:
            deal(number, None)
    found = [''] * len(groups)
    for number, part in part_of.items():
        for index in units[number]:
            found[index] = part
    return found
