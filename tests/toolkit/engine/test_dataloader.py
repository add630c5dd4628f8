"""What a run sees: the same samples in the same order, however it is loaded."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.config.schema import Dataloader
from toolkit.engine.collation import collate, unwrap
from toolkit.engine.dataloader import BatchSampler, DefaultSampler, build_loader
from toolkit.engine.process import distributed, seeding
from toolkit.errors import DataError, RunError, ToolkitError
from toolkit.interfaces import Dataset, Sampler
from toolkit.registry import DATASETS

CPU = torch.device('cpu')


class Numbers(Dataset):
    """Each sample is its index and what the three generators give."""

    def __init__(self, length: int = 10) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        drawn = torch.tensor([torch.rand(()).item(), np.random.rand(), random.random()])
        return {'index': index, 'drawn': drawn, 'meta': {'id': index}}


def loader(dataset: Dataset, training: bool = True, seed: int = 3, **options: Any) -> Any:
    config = Dataloader(lambda: dataset, **options)
    return build_loader(config, dataset, training=training, seed=seed, device=CPU)


def batches(loaded: Any, start: int, stop: int) -> list[dict[str, Any]]:
    loaded.batch_sampler.start, loaded.batch_sampler.stop = start, stop
    return [unwrap(batch) for batch in loaded]


def test_workers_and_skipping_change_nothing() -> None:
    whole = batches(loader(Numbers(), batch_size=3), 0, 12)
    workers = batches(loader(Numbers(), batch_size=3, num_workers=2), 0, 12)
    later = batches(loader(Numbers(), batch_size=3), 5, 12)
    assert [b['index'].tolist() for b in whole] == [b['index'].tolist() for b in workers]
    for a, b in [*zip(whole, workers, strict=True), *zip(whole[5:], later, strict=True)]:
        assert torch.equal(a['drawn'], b['drawn'])
        assert a['meta'] == b['meta']
    epochs = [sorted(i for b in whole[e : e + 4] for i in b['index'].tolist()) for e in (0, 4, 8)]
    assert epochs == [list(range(10))] * 3
    assert whole[0]['index'].tolist() != whole[4]['index'].tolist()


def test_augmentation_is_new_for_every_sample_and_epoch() -> None:
    dataset = loader(Numbers(), batch_size=5)
    drawn = torch.cat([b['drawn'] for b in batches(dataset, 0, 6)])  # (30, 3)
    for column in drawn.T:
        assert column.unique().numel() == 30


def test_loading_does_not_move_the_generators_of_the_run() -> None:
    seeding.seed_all(1)
    expected = (torch.rand(3), np.random.rand(3), random.random())
    seeding.seed_all(1)
    threads = torch.get_num_threads()
    batches(loader(Numbers(), batch_size=4), 0, 3)
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(3) == expected[1]).all()
    assert random.random() == expected[2]
    assert torch.get_num_threads() == threads


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 40),
    batch_size=st.integers(1, 7),
    world=st.integers(1, 4),
    drop_last=st.booleans(),
    epoch=st.integers(0, 2),
)
def test_processes_share_an_epoch(
    samples: int, batch_size: int, world: int, drop_last: bool, epoch: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, 'get_world_size', lambda: world)
        shares = []
        for rank in range(world):
            patch.setattr(distributed, 'get_rank', lambda rank=rank: rank)
            sampler = DefaultSampler(Numbers(samples), 0)
            try:
                draws = BatchSampler(sampler, batch_size, drop_last, 0)
            except ToolkitError:
                assert drop_last and samples < batch_size * world
                return
            draws.start, draws.stop = epoch * len(draws), (epoch + 1) * len(draws)
            shares.append(list(draws))
    # As many batches of the same sizes on every process, or one would wait for ever.
    assert len({tuple(len(batch) for batch in share) for share in shares}) == 1
    assert min(len(batch) for batch in shares[0]) == draws.smallest
    drawn = [draw for share in shares for batch in share for draw in batch]
    real = Counter(draw.index for draw in drawn if draw.position < samples)
    assert set(real.values()) <= {1}
    step = batch_size * world
    assert len(real) == (samples // step * step if drop_last else samples)
    assert len(drawn) - sum(real.values()) < world
    assert len({draw.seed for draw in drawn}) == len(drawn)
    # The samples of an iteration are those of one process with the whole batch.
    order = DefaultSampler(Numbers(samples), 0).order(epoch)
    for number in range(len(shares[0])):
        together = [d.index for share in shares for d in share[number] if d.position < samples]
        assert together == list(order[number * step : number * step + len(together)])


def test_an_error_of_a_worker_is_one_line(tiny_plugin: None) -> None:
    dataset = DATASETS.get('TinyData')(length=4, broken=2)
    for workers in (0, 1):
        with pytest.raises(DataError) as caught:
            batches(loader(dataset, batch_size=2, num_workers=workers), 0, 2)
        assert str(caught.value) == 'sample 2 is cut off'


def test_batches_that_cannot_be_stacked() -> None:
    ragged = [{'a': torch.zeros(2)}, {'a': torch.zeros(3)}]
    with pytest.raises(DataError, match=r"'a' has shapes \(2,\), \(3,\)"):
        unwrap(collate(ragged))
    with pytest.raises(DataError, match="have no 'b'"):
        unwrap(collate([{'b': 1}, {}]))


def test_what_gives_no_batch_is_refused() -> None:
    with pytest.raises(ToolkitError, match='Numbers has no samples'):
        loader(Numbers(0))
    with pytest.raises(ToolkitError, match='3 samples, batch_size 4, drop_last true'):
        loader(Numbers(3), batch_size=4, drop_last=True)


def test_a_batch_that_an_epoch_cannot_fill_is_described() -> None:
    sampler = DefaultSampler(Numbers(10), 0)
    assert BatchSampler(sampler, 10, False, 0).describe_too_large() == ''
    told = BatchSampler(sampler, 11, False, 0).describe_too_large()
    assert told.startswith('batch_size is 11, and an epoch has 10 samples')


def test_a_sampler_must_keep_its_length() -> None:
    class Shrinking(Sampler):
        def __init__(self, dataset: Dataset, seed: int) -> None: ...

        def order(self, epoch: int) -> range:
            return range(8 - epoch)

    with pytest.raises(RunError, match='Shrinking gives 7 samples in epoch 1, but gave 8'):
        batches(loader(Numbers(), batch_size=4, sampler=Shrinking), 0, 4)


def test_random_state_round_trip() -> None:
    seeding.seed_all(4)
    np.random.randn()  # leaves a second normal in numpy's cache
    saved = seeding.get_state()
    first = (torch.rand(4), np.random.randn(4), [random.gauss(0, 1) for _ in range(3)])
    seeding.restore_state(saved)
    second = (torch.rand(4), np.random.randn(4), [random.gauss(0, 1) for _ in range(3)])
    assert torch.equal(first[0], second[0])
    assert (first[1] == second[1]).all()
    assert first[2] == second[2]
