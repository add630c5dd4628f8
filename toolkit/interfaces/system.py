"""Interface of systems: whole networks with their losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from toolkit.interfaces.data import Dataset

Mode = Literal['loss', 'predict', 'tensor']
Batch = dict[str, Any]


class System(nn.Module, ABC):
    """The whole network of a task with its losses, which the engine trains and tests.

    All modes go through `forward(batch, mode)`, so that wrappers such as DistributedDataParallel
    see one entry. A batch holds the collated samples of a dataset, on the device of the system.

    Attributes:
        uncompiled: names of methods that torch.compile leaves as they are.
        capturable: a training step depends on tensors alone and changes nothing but tensors, so
            that a CUDA graph can replay it. Python code in `loss` then runs once and not at each
            step.
        pipeline_tag: task in the words of model hubs, for the card of a shared run.
        note: sentence that the card of each shared run must say; '' for none.
    """

    contract: ClassVar[str] = 'toolkit.testing.engine_kinds.SystemContract'
    uncompiled: ClassVar[tuple[str, ...]] = ()
    capturable: bool = False
    pipeline_tag: ClassVar[str] = ''
    note: ClassVar[str] = ''

    def forward(self, batch: Batch, mode: Mode = 'tensor') -> Any:
        if mode == 'loss':
            return self.loss(batch)
        if mode == 'predict':
            return self.predict(batch)
        return self.tensor(batch)

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Computes weighted scalar terms by name; their sum is trained, each term is logged."""

    @abstractmethod
    def predict(self, batch: Batch) -> dict[str, Any]:
        """Predicts the values that metrics and files need, by name; the first axis is the batch."""

    @abstractmethod
    def tensor(self, batch: Batch) -> Any:
        """Computes the raw outputs of the network."""

    def describe_prediction(self) -> dict[str, Any]:
        """Describes what a prediction does beside one forward pass, as plain values.

        The test writes it to `metrics.json` as `prediction`; by default there is nothing.
        """
        return {}

    @abstractmethod
    def example(self, batch_size: int = 1, size: int | None = None) -> Batch:
        """Makes a batch of zeros with the layout of the data, for shapes, MACs, tests and export.

        Args:
            batch_size: B.
            size: height and width of the main image in pixels; None for the system's default.
        """

    @classmethod
    def example_outputs(cls) -> dict[str, Tensor]:
        """Makes random outputs that losses may name, to check a loss alone; by default none."""
        return {}

    def training_example(self, batch_size: int = 2) -> Batch:
        """Makes a small batch that can be trained on, with images in [0, 1] of random values.

        Args:
            batch_size: B.
        """
        return {name: _randomize(value) for name, value in self.example(batch_size).items()}

    def prepare(self, datasets: Mapping[str, Dataset], **options: Any) -> None:
        """Initializes the system with the data of a run; by default there is nothing to do.

        Every process calls it once before a training, also a resumed one, and once before a test,
        after the initial weights are loaded. Loaders see the changes that it makes to a dataset.

        Args:
            datasets: 'train' and 'val', or 'test', as built from the config.
            **options: `device`; `context`, which makes a context for the precision of the run;
                `say`, which takes a line for the user.
        """

    def start_epoch(self, epoch: int) -> None:
        """Prepares an epoch; by default nothing depends on it.

        The engine calls it before the first iteration of an epoch, and again if a resumed run
        continues the epoch.

        Args:
            epoch: from 0.
        """

    def check_training(self) -> None:
        """Checks that the system can be trained; by default every system can.

        Raises:
            ToolkitError: it cannot; it has no loss.
        """

    def may_share(self, group: str) -> bool:
        """Tells whether training may hold what the test holds too; by default it may not.

        A system that learns nothing from what a group names, such as references that no loss
        takes, says True for it.

        Args:
            group: see `Dataset.identities`.
        """
        return False

    def check_data(self, dataset: Any) -> None:
        """Checks that a dataset fits the system; by default every dataset does.

        The engine calls it for every dataset of a run, before any work.

        Args:
            dataset: as built from the config.
        Raises:
            ToolkitError: it does not fit.
        """

    def check_batch(self, batch: Batch) -> None:
        """Checks the keys and values of a batch; by default every batch is good.

        The engine calls it for each batch of a training and of an evaluation; of batches that a
        dataset keeps on a GPU, for the first. So does `toolkit check`, as far as there is time.

        Args:
            batch: before it is moved to the device of the system.
        Raises:
            DataError: a key is missing, or values are not what the system expects.
        """


def _randomize(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.rand_like(value) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _randomize(inner) for key, inner in value.items()}
    return value
