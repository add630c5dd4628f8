"""Stratified split of groups: groups stay whole, and each subset gets its share of each label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

Label = Hashable


def split_groups(
    groups: Sequence[Hashable],
    labels: Sequence[Sequence[Label]],
    shares: Mapping[str, float],
    seed: int,
) -> list[str]:
    """Assigns items to subsets so that groups stay whole and labels have their share in each.

    The label with the fewest unassigned groups comes first, and its largest groups before the
    others. Each group goes to the subset that lacks most of the label for its share. If a label
    has only as many groups left as there are subsets without it, those subsets get them, so that
    no subset goes without a label while there are enough groups.

    Args:
        groups: group of each item (N,).
        labels: labels of each item (N,), any number: one for each task, for instance.
        shares: share of each subset, by name; their sum is 1.
        seed: seed of the order in which equal groups are assigned.
    Returns:
        Subset of each item (N,), the same for the same arguments.

    Source: iterative stratification, Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011, here of
    groups.
    """
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    units = list(members.values())
    counts = [Counter(label for index in unit for label in labels[index]) for unit in units]
    subset_of = _Assignment([len(unit) for unit in units], counts, shares, seed).run()
    result = [''] * len(groups)
    for number, unit in enumerate(units):
        for index in unit:
            result[index] = subset_of[number]
    return result


class _Assignment:
    """Assigns groups by number, one at a time.

    Args:
        sizes: number of items of each group.
        counts: items by label of each group.
        shares: share of each subset, by name.
        seed: seed of the order of equal groups.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        counts: Sequence[Mapping[Label, int]],
        shares: Mapping[str, float],
        seed: int,
    ) -> None:
        self.sizes, self.counts, self.shares = sizes, counts, shares
        self.rank = np.random.default_rng(seed).permutation(len(sizes)).tolist()
        self.subsets = [name for name, share in shares.items() if share > 0]
        totals: Counter[Label] = Counter()
        holders: dict[Label, list[int]] = {}  # groups by label
        for number, group in enumerate(counts):
            totals.update(group)
            for label in group:
                holders.setdefault(label, []).append(number)
        self.unassigned = {label: len(numbers) for label, numbers in holders.items()}
        # Smallest first, so that the largest are taken from the end.
        self.queue = {
            label: sorted(numbers, key=lambda n: (counts[n][label], -self.rank[n]))
            for label, numbers in holders.items()
        }
        self.order = {label: position for position, label in enumerate(totals)}
        self.lacking = {  # items by subset and label
            name: {label: shares[name] * total for label, total in totals.items()}
            for name in self.subsets
        }
        self.room = {name: shares[name] * sum(sizes) for name in self.subsets}  # items by subset
        self.without = {label: set(self.subsets) for label in totals}  # subsets by label
        self.subset_of: dict[int, str] = {}

    def run(self) -> dict[int, str]:
        """Returns the subset of each group."""
        while remaining := [label for label, count in self.unassigned.items() if count]:
            label = min(remaining, key=lambda k: (self.unassigned[k], self.order[k]))
            number = self.queue[label].pop()
            if number not in self.subset_of:
                self._assign_for(number, label)
        for number in sorted(range(len(self.sizes)), key=lambda n: (-self.sizes[n], self.rank[n])):
            if number not in self.subset_of:
                self._assign(number, self.room, self.sizes[number], self.subsets)
        return self.subset_of

    def _assign_for(self, number: int, label: Label) -> None:
        subsets = self.subsets
        if self.unassigned[label] <= len(self.without[label]):
            subsets = [name for name in subsets if name in self.without[label]]
        lacking = {name: self.lacking[name][label] for name in subsets}
        self._assign(number, lacking, self.counts[number][label], subsets)

    def _assign(
        self, number: int, lacking: Mapping[str, float], size: int, subsets: Sequence[str]
    ) -> None:
        """Assigns a group to one of some subsets: the one that lacks most for its share.

        Args:
            number: the group.
            lacking: items that each subset lacks.
            size: items of the group that count.
            subsets: subsets to choose from.
        """
        # Subsets that lack at least half of the group; if there is none, the excess is smallest
        # where most is lacking.
        fitting = [name for name in subsets if lacking[name] >= size / 2] or subsets

        def relative_lack(name: str) -> tuple[float, float]:
            # Relative to the subset's share, so that a small subset gets large groups too. Rounded,
            # so that a difference in the last digit does not decide.
            share = self.shares[name]
            return round(lacking[name] / share, 9), round(self.room[name] / share, 9)

        best = max(fitting, key=relative_lack)
        self.subset_of[number] = best
        self.room[best] -= self.sizes[number]
        for label, count in self.counts[number].items():
            self.lacking[best][label] -= count
            self.without[label].discard(best)
            self.unassigned[label] -= 1
