"""Samplers that balance classes, also among processes."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.classification.data.samplers import ClassBalancedSampler, WeightedSampler
from tests.support.labelled_images import Labelled
from toolkit.engine.dataloader import BatchSampler
from toolkit.engine.process import distributed
from toolkit.errors import ToolkitError
from toolkit.interfaces import Dataset

SAMPLERS = (ClassBalancedSampler, WeightedSampler)


def shape(counts, missing=0):
    """A data set with so many samples of each class, and some without a label."""
    labels = [k for k, count in enumerate(counts) for _ in range(count)] + [None] * missing
    return Labelled(shape=labels)


def drawn(dataset, order, task='shape'):
    return Counter(dataset.labels(task)[torch.tensor(order)].tolist())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=3, max_size=3), st.integers(0, 7), st.integers(0, 5))
def test_every_class_equally_often(counts, missing, epoch):
    dataset = shape(counts, missing)
    order = ClassBalancedSampler(dataset, seed=3).order(epoch)
    assert len(order) == len(dataset)
    found = drawn(dataset, order)
    labelled = [found[k] for k in range(3)]
    assert max(labelled) - min(labelled) <= 1
    assert found[-1] == missing
    # Within a class each sample is drawn as often as the next, or once less.
    times = Counter(order)
    for k in range(3):
        own = [times[i] for i in (dataset.labels('shape') == k).nonzero().flatten().tolist()]
        assert max(own) - min(own) <= 1
    assert all(times[i] == 1 for i in range(sum(counts), len(dataset)))


def test_what_is_left_over_goes_round():
    dataset, found = shape([4, 3, 1]), Counter()
    for epoch in range(3):
        found += drawn(dataset, ClassBalancedSampler(dataset, 0).order(epoch))
    assert set(found.values()) == {8}


def test_a_frequent_class_is_seen_whole_over_epochs():
    dataset = shape([40, 4, 4])
    sampler = ClassBalancedSampler(dataset, 0)
    seen = {i for epoch in range(12) for i in sampler.order(epoch) if i < 40}
    assert len(seen) >= 38


@pytest.mark.parametrize(
    ('power', 'expected'), [(0.0, (8, 3, 1)), (0.5, (8**0.5, 3**0.5, 1)), (1.0, (1, 1, 1))]
)
def test_weighted_shares(power, expected):
    dataset = shape([1600, 600, 200], missing=600)
    sampler = WeightedSampler(dataset, seed=1, power=power)
    found = sum((drawn(dataset, sampler.order(epoch)) for epoch in range(20)), Counter())
    total = sum(found.values())
    assert total == 20 * 3000
    assert found[-1] / total == pytest.approx(0.2, abs=0.006)
    for k in range(3):
        assert found[k] / total == pytest.approx(0.8 * expected[k] / sum(expected), abs=0.009)


@pytest.mark.parametrize('cls', SAMPLERS)
def test_order_is_the_arguments_alone(cls):
    dataset = shape([9, 4, 2], 3)
    first, again = cls(dataset, 5), cls(dataset, 5)
    torch.manual_seed(1)
    orders = [first.order(epoch) for epoch in (0, 1, 2)]
    torch.manual_seed(2)
    assert [again.order(epoch) for epoch in (2, 1, 0)] == orders[::-1]
    assert orders[0] != orders[1]
    assert cls(dataset, 6).order(0) != orders[0]


@pytest.mark.parametrize('cls', SAMPLERS)
def test_a_named_task_of_several(cls):
    labels = {'kind': [0] * 9 + [1], 'shape': [0, 1, 2, 0, 1, 2, None, None, 0, 1]}
    dataset = Labelled(**labels)
    order = [i for epoch in range(200) for i in cls(dataset, 0, task='kind').order(epoch)]
    found = drawn(dataset, order, 'kind')
    assert found[1] / sum(found.values()) == pytest.approx(0.5, abs=0.03)
    with pytest.raises(ToolkitError, match='several tasks, name one as `task`: kind, shape'):
        cls(dataset, 0)
    with pytest.raises(ToolkitError, match="no task 'shap'; did you mean 'shape'"):
        cls(dataset, 0, task='shap')


@pytest.mark.parametrize('cls', SAMPLERS)
def test_what_cannot_be_balanced(cls):
    with pytest.raises(ToolkitError, match="the class 'round' of task 'shape' has no sample"):
        cls(shape([3, 0, 2]), 0)

    class Plain(Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return {}

    with pytest.raises(ToolkitError, match='Plain gives no labelled images'):
        cls(Plain(), 0)
    with pytest.raises(ValueError, match='power must be 0 or more'):
        WeightedSampler(shape([1, 1, 1]), 0, power=-1.0)


@pytest.mark.parametrize('drop_last', [False, True])
@pytest.mark.parametrize('cls', SAMPLERS)
def test_two_processes_share_what_one_draws(cls, drop_last, monkeypatch):
    dataset = shape([15, 4, 2], 2)
    sampler, shares = cls(dataset, 0), []
    monkeypatch.setattr(distributed, 'get_world_size', lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(distributed, 'get_rank', lambda rank=rank: rank)
        draws = BatchSampler(cls(dataset, 0), 4, drop_last, 0)
        draws.start, draws.stop = len(draws), 2 * len(draws)  # the second epoch
        shares.append(list(draws))
    assert [len(batch) for batch in shares[0]] == [len(batch) for batch in shares[1]]
    order = sampler.order(1)
    for number, batches in enumerate(zip(*shares, strict=True)):
        together = [draw.index for batch in batches for draw in batch if draw.position < 23]
        assert together == order[8 * number : 8 * number + len(together)]
    covered = sum(draw.position < 23 for share in shares for batch in share for draw in batch)
    assert covered == (16 if drop_last else 23)
