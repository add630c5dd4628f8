from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.io.splits.stratified_groups import split_groups

SHARES = {'a': 0.8, 'b': 0.1, 'c': 0.1}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 14), min_size=1, max_size=60), st.integers(0, 9))
def test_the_rarest_label_is_in_every_subset_if_it_has_enough_groups(groups, seed):
    rare = [['rare'] if group < 4 else [] for group in groups]
    subsets = split_groups(groups, rare, SHARES, seed)
    holders = len({group for group in groups if group < 4})
    assert len({s for s, label in zip(subsets, rare) if label}) == min(3, holders)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 14), min_size=1, max_size=60), st.integers(0, 9))
def test_groups_stay_whole(groups, seed):
    subsets = split_groups(groups, [[]] * len(groups), SHARES, seed)
    assert set(subsets) <= SHARES.keys()
    assert len(set(zip(groups, subsets))) == len(set(groups))
    assert subsets == split_groups(groups, [[]] * len(groups), SHARES, seed)


def test_many_groups_take_seconds():
    labels = [[('kind', i % 3), ('margin', i % 7)] for i in range(20000)]
    started = time.perf_counter()
    subsets = split_groups(range(20000), labels, SHARES, 0)
    assert time.perf_counter() - started < 8
    for name, share in SHARES.items():
        held = [label for label, subset in zip(labels, subsets) if subset == name]
        for kind in range(3):
            expected = share * sum(label[0] == ('kind', kind) for label in labels)
            assert abs(sum(label[0] == ('kind', kind) for label in held) - expected) < 2
