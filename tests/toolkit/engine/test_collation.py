"""Samples and batches that are not alike are refused; torch would convert them without a word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from toolkit.engine.collation import BatchCheck, collate, find_nan, unwrap
from toolkit.engine.dataloader import SampleRequest
from toolkit.engine.evaluator import Evaluator
from toolkit.errors import ComponentRunError, DataError
from toolkit.interfaces import Dataset
from toolkit.registry.build import ComponentFactory
from toolkit.registry.component_errors import explain_failure
from toolkit.testing.samples import check_unit_range


class Pair(Dataset):
    """Two samples."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict[str, Any]:
        return make_sample(index)


def make_sample(index: int, **changed: Any) -> dict[str, Any]:
    sample = {'image': torch.ones(3, 4, 4), 'labels': {'kind': 1}, 'meta': {'item': f'i{index}'}}
    return {key: value for key, value in {**sample, **changed}.items() if value is not Ellipsis}


def build_dataset() -> Dataset:
    return ComponentFactory(Pair, {}, 'test_dataloader.dataset')()


PLACE = r'Pair \(.*test_collation.py:\d+\) '


@pytest.mark.parametrize(
    ('changed', 'told'),
    [
        ({'image': torch.ones(3, 4, 4).byte()}, "'image' is torch.float32 in 'i0' and torch.uint8"),
        ({'image': torch.ones(3, 4, 4).double()}, "'image' is .* torch.float64 in 'i1'"),
        ({'image': np.ones((3, 4, 4), np.float32)}, 'torch.float32 in .* numpy.float32'),
        ({'image': None}, "NoneType in 'i1'"),
        ({'labels': {'kind': 'benign'}}, "'labels'.*'kind'"),
        ({'labels': {}}, r"'labels'\['kind'\] is number in 'i0' and not there in 'i1'"),
        ({'labels': {'kind': 1, 'grade': 2}}, r"'labels'\['grade'\] is not there in 'i0'"),
        ({'labels': [1]}, r"'labels'\['kind'\]"),
        ({'image': ...}, "have no 'image', as others have: 'i1'"),
        ({'mask': torch.ones(1, 4, 4)}, "have no 'mask', as others have: 'i0'"),
        ({'meta': ...}, "have no 'meta', as others have: None"),
        ({'image': torch.ones(2, 4, 4)}, r"'image' has shapes \(2, 4, 4\), \(3, 4, 4\)"),
    ],
)
@pytest.mark.parametrize('is_first', [False, True])
def test_samples_of_a_batch_that_differ_are_told(changed: Any, told: str, is_first: bool) -> None:
    samples = [make_sample(0), make_sample(1, **changed)]
    if is_first:  # what is said names the two the other way round
        samples, told = samples[::-1], ''
    with pytest.raises(ComponentRunError, match=PLACE + rf'gives .*{told}') as caught:
        unwrap(collate(samples, build_dataset()))
    assert caught.value.path == 'test_dataloader.dataset'


def test_integers_of_numpy_and_of_python_are_alike() -> None:
    samples = [make_sample(0), make_sample(1, labels={'kind': np.int64(2)})]
    for ordered in (samples, samples[::-1]):
        kinds = unwrap(collate(ordered, build_dataset()))['labels']['kind']
        assert kinds.dtype == torch.int64 and sorted(kinds.tolist()) == [1, 2]


class Unit:
    """The part of a system that looks at batches."""

    def check_batch(self, batch: Any) -> None:
        check_unit_range('image', batch['image'])


@pytest.mark.parametrize(
    ('changed', 'told'),
    [
        ({'image': torch.ones(1, 3, 4, 4).double()}, 'torch.float32 first, and later as .*float64'),
        ({'labels': {'kind': torch.ones(1)}}, r"'labels'\['kind'\] as torch.int64 first"),
        ({'image': torch.full((1, 3, 4, 4), 2047.0)}, 'values from 2047 to 2047'),
        ({'image': torch.full((1, 3, 4, 4), torch.nan)}, "'image' has NaN"),
    ],
)
def test_a_later_batch_that_differs_is_told(changed: Any, told: str) -> None:
    dataset = build_dataset()
    check = BatchCheck(Unit(), dataset)  # type: ignore[arg-type]
    check.check(unwrap(collate([make_sample(0)], dataset)))
    check.check(unwrap(collate([make_sample(1)], dataset)))
    with pytest.raises(ComponentRunError, match=PLACE + f'.*{told}.*i7'):
        check.check({**unwrap(collate([make_sample(7)], dataset)), **changed})


@pytest.mark.parametrize(
    ('metas', 'told'),
    [
        ([{'item': 'a'}, {'item': 'a'}], "two samples are named 'a'"),
        ([{'item': 'a'}, {}], 'sample 1 has no name'),
        ([{'item': 'a'}, ['x']], 'sample 1 has no name'),
        ([{}, {'item': 'a'}], "sample 1 has the name 'a'"),
    ],
)
def test_names_of_samples_are_all_there_and_different(metas: Any, told: str) -> None:
    evaluator = Evaluator({}, 2, build_dataset())
    with pytest.raises(ComponentRunError, match=PLACE + told):
        for index, meta in enumerate(metas):
            evaluator.add([SampleRequest(index, index, 0)], {}, {'meta': [meta]})


def test_nan_is_found_and_infinity_is_not() -> None:
    values = {'a': torch.tensor([1.0, torch.nan]), 'b': torch.tensor([torch.inf]), 'c': 'text'}
    assert find_nan(values) == ['a']
    assert find_nan({'b': values['b'], 'd': torch.ones(0), 'e': torch.ones(2).long()}) == []
    by_task = {'logits': {'kind': values['a'], 'grade': values['b']}, 'maps': [values['a']]}
    assert find_nan(by_task) == ["logits['kind']", 'maps[0]']
    with pytest.raises(DataError, match='has NaN'):
        check_unit_range('image', values['a'])


def test_a_lost_process_that_loads_data_is_no_fault_of_the_component_that_ran() -> None:
    class Runs(Pair):
        def __getitem__(self, index: int) -> dict[str, Any]:
            raise RuntimeError('DataLoader worker (pid 7) exited unexpectedly with exit code 3.')

    dataset = ComponentFactory(Runs, {}, 'train_dataloader.dataset')()
    with pytest.raises(RuntimeError) as caught:
        dataset[0]
    assert explain_failure(caught.value) is None


def test_the_line_of_the_author_is_named_where_an_engine_function_fails() -> None:
    class Calls(Pair):
        def __getitem__(self, index: int) -> dict[str, Any]:
            return collate([])  # type: ignore[return-value]

    dataset = ComponentFactory(Calls, {}, 'train_dataloader.dataset')()
    with pytest.raises(IndexError) as caught:
        dataset[0]
    failure = explain_failure(caught.value)
    assert failure is not None and 'test_collation.py' in failure.message
