"""Data loaders: the order of samples and their random seeds.

A sample depends on its request alone (its index, and a seed from the run's seed, the epoch and the
position in it). So the number of workers and of processes, a resumption and random numbers of the
model never change the data.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler as TorchSampler

from toolkit.config.schema import Dataloader
from toolkit.engine.collation import WorkerFailure, collate
from toolkit.engine.process import distributed, seeding, signals
from toolkit.errors import RunError, ToolkitError
from toolkit.interfaces import Dataset, Sampler
from toolkit.registry import SAMPLERS
from toolkit.registry.component_errors import explain_failure


@SAMPLERS.register
class DefaultSampler(Sampler):
    """Sampler that gives every sample once an epoch, shuffled or in the dataset's order.

    Args:
        dataset: dataset to sample.  Injected by the engine.
        seed: the run's seed.  Injected by the engine.
        shuffle: False for the dataset's order.
    """

    def __init__(self, dataset: Dataset, seed: int, shuffle: bool = True) -> None:
        self._length = len(dataset)
        self._seed = seed
        self._shuffle = shuffle

    def order(self, epoch: int) -> Sequence[int]:
        if not self._shuffle:
            return range(self._length)
        generator = torch.Generator().manual_seed(seeding.derive_seed(self._seed, 'order', epoch))
        return torch.randperm(self._length, generator=generator).tolist()


class SampleRequest(NamedTuple):
    """Request to load one sample: its index, position in the epoch and random seed."""

    index: int
    position: int
    seed: int


class BatchSampler(TorchSampler[list[SampleRequest]]):
    """Batch sampler of this process, over all epochs from iteration `start` up to `stop`.

    Iteration i of an epoch takes the next `batch_size` samples per process, the first ones for
    rank 0: two processes with 4 see the samples of one with 8. If the last samples cannot be shared
    evenly, some are loaded again so that no process waits. The positions of these lie past the
    end of the epoch, so that an evaluation leaves them out.

    Attributes:
        samples: number of samples in an epoch, for all processes together.
        batch_size: samples in a batch of each process.
        world: number of processes.
    Raises:
        ToolkitError: an epoch has no batch.
    """

    def __init__(self, sampler: Sampler, batch_size: int, drop_last: bool, seed: int) -> None:
        self._sampler = sampler
        self.batch_size = batch_size
        self._seed = seed
        self._rank, self.world = distributed.get_rank(), distributed.get_world_size()
        self.samples = len(sampler.order(0))
        step = batch_size * self.world
        self._length = self.samples // step if drop_last else -(-self.samples // step)
        if self._length == 0:
            raise ToolkitError(
                f'the data loader gives no batch: {self.samples} samples, batch_size {batch_size}'
                + (f' on {self.world} processes' if self.world > 1 else '')
                + (', drop_last true' if drop_last and self.samples else '')
            )
        self.start, self.stop = 0, self._length

    def __len__(self) -> int:
        """Number of batches in an epoch, for each process."""
        return self._length

    @property
    def smallest(self) -> int:
        """Number of samples in the smallest batch of an epoch, for each process."""
        step = self.batch_size * self.world
        return -(-min(step, self.samples - (self._length - 1) * step) // self.world)

    def describe_too_large(self) -> str:
        """Describes a batch that an epoch has not enough samples for; '' if it has."""
        if self.samples >= self.batch_size * self.world:
            return ''
        several = f' on {self.world} processes' if self.world > 1 else ''
        return (
            f'batch_size is {self.batch_size}{several}, and an epoch has {self.samples} samples: '
            'each iteration takes all of them'
        )

    def __iter__(self) -> Iterator[list[SampleRequest]]:
        iteration = self.start
        while iteration < self.stop:
            epoch, batch = divmod(iteration, self._length)
            last = min(self._length, batch + self.stop - iteration)
            yield from self._batches(epoch, batch, last)
            iteration += last - batch

    def get_requests(self, iteration: int) -> list[SampleRequest]:
        """Returns the requests of this process at an iteration, counted from 0."""
        epoch, batch = divmod(iteration, self._length)
        return next(self._batches(epoch, batch, batch + 1))

    def _batches(self, epoch: int, first: int, last: int) -> Iterator[list[SampleRequest]]:
        order = self._sampler.order(epoch)
        if len(order) != self.samples:
            raise RunError(
                f'{type(self._sampler).__name__} gives {len(order)} samples in epoch {epoch}, but '
                f'gave {self.samples} in the first; a sampler must give equally many in each'
            )
        step = self.batch_size * self.world
        for batch in range(first, last):
            begin = batch * step
            size = min(step, self.samples - begin)
            own = -(-size // self.world)
            begin += self._rank * own
            yield [
                SampleRequest(
                    int(order[position % self.samples]),
                    position,
                    seeding.derive_seed(self._seed, 'sample', epoch, position),
                )
                for position in range(begin, begin + own)
            ]


class SeededDataset(TorchDataset[Any]):
    """A dataset that is indexed by requests and seeds the global generators for each of them."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._seeds: seeding.SampleSeeds | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, request: SampleRequest) -> dict[str, Any]:
        return self._load([request])[0]

    def __getitems__(self, requests: list[SampleRequest]) -> list[dict[str, Any]] | WorkerFailure:
        try:
            return self._load(requests)
        except ToolkitError as error:
            return WorkerFailure(str(error), isinstance(error, RunError))
        except (Exception, SystemExit) as error:  # a data set is anybody's code
            failure = explain_failure(error)
            if failure is None:
                raise
            return WorkerFailure(failure.text, True, failure)

    def _load(self, requests: list[SampleRequest]) -> list[dict[str, Any]]:
        self._seeds = self._seeds or seeding.SampleSeeds()
        samples = []
        with self._seeds as seeds:
            for request in requests:
                seeds.seed(request.seed)
                samples.append(self.dataset[request.index])
        return samples


def build_loader(
    config: Dataloader, dataset: Dataset, *, training: bool, seed: int, device: torch.device
) -> DataLoader[Any]:
    """Builds the loader of a subset.

    Its `batch_sampler` is a `BatchSampler`, its dataset a `SeededDataset`.

    Raises:
        ToolkitError: the dataset is empty.
    """
    if len(dataset) == 0:
        raise ToolkitError(f'{type(dataset).__name__} has no samples')
    if config.sampler is None:
        sampler: Sampler = DefaultSampler(dataset, seed, shuffle=training)
    else:
        sampler = config.sampler(dataset=dataset, seed=seed)
    batch_sampler = BatchSampler(sampler, config.batch_size, config.drop_last and training, seed)
    workers = config.num_workers
    on_device = training and not workers and device.type == 'cuda' and dataset.move_to(device)
    pinned = config.pin_memory is not False and device.type == 'cuda' and not on_device
    return DataLoader(
        SeededDataset(dataset),
        batch_sampler=batch_sampler,
        num_workers=workers,
        collate_fn=functools.partial(collate, dataset=dataset),
        pin_memory=pinned,
        # Training keeps one iterator from the first iteration to the last.
        persistent_workers=config.persistent_workers and workers > 0 and not training,
        prefetch_factor=config.prefetch_factor if workers else None,
        worker_init_fn=signals.shield_worker,
        # Only a fork knows the classes of a plugin that is a file outside the import path.
        multiprocessing_context='fork' if workers and sys.platform == 'linux' else None,
        # Otherwise starting to load would draw from the global generator.
        generator=torch.Generator().manual_seed(seed),
    )
