"""Makes batches of samples, and refuses samples and batches that are not alike.

Torch would stack numbers of two types by converting them, and keep only what the first sample has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from toolkit.errors import ComponentRunError, DataError, ToolkitError, list_few
from toolkit.interfaces import Batch, Dataset, System
from toolkit.registry import locate_source
from toolkit.registry.built import recall
from toolkit.registry.component_errors import ComponentFailure
from toolkit.testing.contract import list_tensors

# Samples that a message names.
SHOWN = 8


class WorkerFailure(NamedTuple):
    """An error of a worker process, to be raised in the main process."""

    message: str
    during_run: bool
    failure: ComponentFailure | None = None


def collate(
    samples: list[dict[str, Any]] | WorkerFailure, dataset: Dataset | None = None
) -> dict[str, Any] | WorkerFailure:
    """Collates samples to a batch: tensors are stacked, `meta` stays a list.

    Args:
        samples: of a batch.
        dataset: that gives them; a fault of its samples names it and its place in the config.
    """
    if isinstance(samples, WorkerFailure):
        return samples
    if fault := _find_difference(samples):
        return _make_failure(dataset, fault)
    batch: dict[str, Any] = {}
    for key in samples[0]:
        values = [sample[key] for sample in samples]
        try:
            batch[key] = values if key == 'meta' else default_collate(values)
        except (RuntimeError, TypeError) as error:
            shapes = sorted({str(tuple(getattr(v, 'shape', ()))) for v in values})
            found = f'shapes {", ".join(shapes)}' if len(shapes) > 1 else str(error)
            return _make_failure(
                dataset, f'gives samples of a batch that cannot be stacked: {key!r} has {found}'
            )
    return batch


def unwrap(batch: Any) -> dict[str, Any]:
    """Returns a loader's batch, or raises the error of its worker.

    Raises:
        DataError, ComponentRunError, ToolkitError: the error of the worker.
    """
    if isinstance(batch, WorkerFailure) and batch.failure is not None:
        failure = batch.failure
        raise ComponentRunError(failure.path, failure.text, failure.trace)
    if isinstance(batch, WorkerFailure):
        raise DataError(batch.message) if batch.during_run else ToolkitError(batch.message)
    return batch


def make_dataset_error(dataset: Dataset, message: str) -> ToolkitError:
    """Makes the error of a dataset, with its path in the config, its file and its line."""
    failure = _make_failure(dataset, message).failure
    if failure is None:
        return DataError(message)
    return ComponentRunError(failure.path, failure.text)


class BatchCheck:
    """Checks each batch of a loader: its types are those of the first, and the system can use it.

    Args:
        system: that gets the batches.
        dataset: that gives the samples.
    """

    def __init__(self, system: System, dataset: Dataset) -> None:
        self._system, self._dataset = system, dataset
        self._types: dict[str, str] = {}

    def check(self, batch: Batch) -> None:
        """Checks a batch, before it is moved to another device.

        Raises:
            ComponentRunError, DataError: it is not as the first one, or not what a system needs.
        """
        types = dict(_list_types(batch))
        is_first, self._types = not self._types, self._types or types
        for name, found in types.items():
            if (before := self._types.get(name, found)) != found:
                message = f'gives {name} as {before} first, and later as {found}'
                raise make_dataset_error(self._dataset, message + _name_samples(batch))
        # Values on a GPU would have to be waited for.
        if is_first or not any(isinstance(v, Tensor) and v.is_cuda for v in batch.values()):
            try:
                self._system.check_batch(batch)
            except DataError as error:
                place = '' if is_first else _name_samples(batch)
                raise make_dataset_error(self._dataset, f'{error}{place}') from error


def find_nan(values: Mapping[str, Any]) -> list[str]:
    """Returns the names of the tensors that have NaN, in nested mappings and lists."""
    tensors = {
        name: value.detach()
        for name, value in list_tensors(values)
        if value.is_floating_point() and value.numel()
    }
    # A minimum passes NaN on, and needs no memory of the size of a scene. All are waited for at
    # once, since each wait for a GPU takes time.
    flags = [torch.isnan(value.amin()) for value in tensors.values()]
    if not flags or not torch.stack([flag.to(flags[0].device) for flag in flags]).any():
        return []
    return [name for name, flag in zip(tensors, flags, strict=True) if flag]


def _find_difference(samples: Sequence[Any]) -> str:
    """Describes how samples of a batch differ in their keys or types; '' if they do not."""
    for sample in samples:
        if not isinstance(sample, dict):
            return (
                f'gives a {type(sample).__name__} as a sample; a sample is a dict of tensors by '
                "name, with 'meta' (docs/guides/component_kinds.md)"
            )
    every = dict.fromkeys(key for sample in samples for key in sample)
    for key in every:
        if without := [s for s in samples if key not in s]:
            names = ', '.join(repr(_get_name(s)) for s in without[:SHOWN])
            return f'gives samples of a batch that have no {key!r}, as others have: {names}'
    first = dict(_list_types(samples[0]))
    for sample in samples[1:]:
        types = dict(_list_types(sample))
        for name in dict.fromkeys((*first, *types)):
            before, found = first.get(name, 'not there'), types.get(name, 'not there')
            if before != found:
                return (
                    f'gives samples of a batch that differ: {name} is {before} in '
                    f'{_get_name(samples[0])!r} and {found} in {_get_name(sample)!r}; make them '
                    'the same'
                )
    return ''


def _list_types(sample: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the types of the values of a sample or a batch, by name."""
    for key, value in sample.items():
        if key != 'meta':
            yield from _list_types_within(repr(key), value)


def _list_types_within(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, (Tensor, np.ndarray)):
        library = 'torch' if isinstance(value, Tensor) else 'numpy'
        yield name, f'{library}.{str(value.dtype).removeprefix("torch.")}'
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _list_types_within(f'{name}[{key!r}]', inner)
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _list_types_within(f'{name}[{number}]', inner)
    else:
        # Labels are int64 where numpy or pandas read them, and Python's where they are written.
        is_number = isinstance(value, (int, float, np.int64))
        yield name, 'number' if is_number else type(value).__name__


def _get_name(sample: Mapping[str, Any]) -> Any:
    meta = sample.get('meta')
    return meta.get('item') if isinstance(meta, dict) else None


def _name_samples(batch: Batch) -> str:
    names = [meta.get('item') for meta in batch.get('meta') or () if isinstance(meta, Mapping)]
    return f' (in the batch of {list_few(map(str, names), SHOWN)})' if names else ''


def _make_failure(dataset: Dataset | None, message: str) -> WorkerFailure:
    record = recall(dataset) if dataset is not None else None
    if record is None:
        return WorkerFailure(f'the dataset {message}', True)
    cls = type(dataset)
    failure = ComponentFailure(record.path, cls, f'({locate_source(cls)}) {message}', '')
    return WorkerFailure(failure.text, True, failure)
