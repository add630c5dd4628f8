"""Contracts of data sets and metrics."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from toolkit.testing.contract import Contract, list_tensors


class DatasetContract(Contract):
    """Samples by index: mappings with `meta`, named, repeatable, not shared with a cache."""

    def find_value_faults(self, component: Any) -> Iterator[str]:
        if len(component) < 1:
            yield 'has no samples'
            return
        first = _load(component, 0)
        if not isinstance(first, dict):
            yield (f"gives a {type(first).__name__}; a sample is a dict of tensors, with 'meta'")
            return
        meta = first.get('meta')
        if not isinstance(meta, Mapping) or not isinstance(meta.get('item'), str):
            yield "gives samples without meta['item'], a name by which rows are paired"
            return
        if len(component) > 1 and _load(component, 1)['meta']['item'] == meta['item']:
            yield f"names two samples {meta['item']!r} in meta['item']; give each a name of its own"
        values = {name: tensor.clone() for name, tensor in _list_samples(first)}
        if not _are_equal(values, dict(_list_samples(_load(component, 0)))):
            yield (
                'gives other values for the same index and seed; draw random numbers from the '
                'global generators of torch, numpy and random alone'
            )
            return
        for _, tensor in _list_samples(first):
            tensor.zero_()
        if not _are_equal(values, dict(_list_samples(_load(component, 0)))):
            yield (
                'gives tensors of its cache, which a transform may change; return copies: '
                '`tensor.clone()`'
            )


class MetricContract(Contract):
    """Rows of values by sample, with the direction that is better."""

    def find_attribute_faults(self, component: Any) -> Iterator[str]:
        directions = getattr(component, 'directions', None)
        if not isinstance(directions, Mapping) or not directions:
            yield (
                'states no directions; set `directions` to a mapping of the names of its values to '
                'True if higher is better'
            )
        elif not all(isinstance(better, bool) for better in directions.values()):
            yield f'states directions {dict(directions)}; each is True (higher is better) or False'


def _load(dataset: Any, index: int) -> Any:
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    return dataset[index]


def _list_samples(sample: Mapping[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    yield from list_tensors({key: value for key, value in sample.items() if key != 'meta'})


def _are_equal(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(tensor.nan_to_num(), second[name].nan_to_num())
        for name, tensor in first.items()
    )
