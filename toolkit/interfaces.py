"""Interfaces of the shared kinds: abstract classes that components implement.

Shapes: B batch, C bands or channels, H and W pixels of the (PAN) image, N tokens, D features.
Images are float32 in [0, 1] unless a dataset says otherwise.
"""

from __future__ import annotations

import argparse
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from toolkit.errors import ToolkitError
from toolkit.ranges import NonNegativeFloat

Mode = Literal['loss', 'predict', 'tensor']
Batch = dict[str, Any]


@runtime_checkable
class FileReader(Protocol):
    """A component that reads files which its arguments do not name, such as weights of a hub.

    The fingerprint of a study's run knows these files by their content.
    """

    @classmethod
    def list_files(cls, arguments: Mapping[str, Any]) -> list[Path]:
        """Lists the files that a component with these arguments reads; fetches missing ones.

        Args:
            arguments: of the config, without injected ones and defaults.
        Raises:
            ValueError: a file is missing and cannot be fetched.
        """
        ...


class System(nn.Module, ABC):
    """The whole network of a task with its losses, which the engine trains and tests.

    All modes go through `forward(batch, mode)`, so that wrappers such as DistributedDataParallel
    see one entry. A batch holds the collated samples of a dataset, on the device of the system.

    Attributes:
        uncompiled: names of methods that torch.compile leaves as they are.
        capturable: a training step depends on tensors alone and changes nothing but tensors, so
            that a CUDA graph can replay it. Python code in `loss` then runs once and not at each
            step.
    """

    contract: ClassVar[str] = 'toolkit.testing.engine_kinds.SystemContract'
    uncompiled: ClassVar[tuple[str, ...]] = ()
    capturable: ClassVar[bool] = False

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
        return _randomize(self.example(batch_size))

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

        The engine calls it for the first batch of a training and of an evaluation.

        Args:
            batch: on the device of the system.
        Raises:
            DataError: a key is missing, or values are not what the system expects.
        """


def _randomize(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.rand_like(value) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _randomize(inner) for key, inner in value.items()}
    return value


class Backbone(nn.Module, ABC):
    """Computes features of an image.

    Shape: (B, C, H, W) -> map (B, D, h, w), tokens (B, N, D) or vector (B, D).

    All attributes are known after construction, before any forward.

    Attributes:
        out_channels: D.
        stride: input pixels per feature step; None for vectors.
        prefix_tokens: number of tokens before those of the patches (class, registers).
    """

    contract: ClassVar[str] = 'toolkit.testing.kinds.BackboneContract'

    out_channels: int
    stride: int | None
    prefix_tokens: int = 0

    def to_map(self, features: Tensor) -> Tensor:
        """Arranges the backbone's features as a map; see `features_to_map`."""
        return features_to_map(features, self.prefix_tokens)


def features_to_map(features: Tensor, prefix_tokens: int = 0) -> Tensor:
    """Arranges features as a map (B, D, h, w).

    A map stays as it is. Tokens without their prefix fill a square, row by row. A vector becomes a
    map of one place.

    Args:
        features: map (B, D, h, w), tokens (B, prefix + h w, D) or vector (B, D).
        prefix_tokens: number of tokens before those of the patches.
    Raises:
        ToolkitError: the tokens do not fill a square.
    """
    if features.ndim == 4:
        return features
    if features.ndim == 2:
        return features[..., None, None]  # (B, D, 1, 1)
    count = features.shape[1] - prefix_tokens
    side = math.isqrt(max(count, 0))
    if side * side != count or not count:
        prefix = f' after a prefix of {prefix_tokens}' if prefix_tokens else ''
        raise ToolkitError(
            f'{count} tokens{prefix} fill no square grid; have the backbone give a map '
            '(features: map), state its prefix_tokens, or use square images'
        )
    return features[:, prefix_tokens:].transpose(1, 2).unflatten(2, (side, side))  # (B, D, h, w)


def map_to_features(refined: Tensor, features: Tensor, prefix_tokens: int = 0) -> Tensor:
    """Arranges a map as `features` are arranged; their prefix tokens are kept.

    Args:
        refined: map (B, D, h, w).
        features: map (B, D, h, w), tokens (B, prefix + h w, D) or vector (B, D).
        prefix_tokens: number of tokens before those of the patches.
    """
    if features.ndim == 4:
        return refined
    if features.ndim == 2:
        return refined.flatten(1)  # (B, D)
    patches = refined.flatten(2).transpose(1, 2)  # (B, h w, D)
    if not prefix_tokens:
        return patches
    return torch.cat([features[:, :prefix_tokens], patches], 1)  # (B, prefix + h w, D)


class Neck(nn.Module, ABC):
    """Features -> features; `out_channels` is known after construction.

    One that joins branches takes a mapping of their features by name, and is injected with the
    branches' `in_channels` and `strides` by name; one that refines takes one tensor.
    """

    contract: ClassVar[str] = 'toolkit.testing.kinds.NeckContract'

    out_channels: int


class Attention(nn.Module, ABC):
    """Features -> features of the same shape."""

    contract: ClassVar[str] = 'toolkit.testing.kinds.AttentionContract'

    def maps(self, features: Tensor) -> dict[str, Tensor]:
        """Returns attention maps by name, for visualization; by default there are none.

        Shape: weights of places (B, 1, h, w) or of channels (B, C).
        """
        return {}


class Head(nn.Module, ABC):
    """Computes the logits of features.

    Shape: (B, D) -> (B, num_classes).
    """

    contract: ClassVar[str] = 'toolkit.testing.kinds.HeadContract'


class Degradation(nn.Module, ABC):
    """Degrades an image.

    Args:
        bands: C. Injected by the parent.
        ratio: fine pixels per coarse pixel along each axis. Injected by the parent.
    Shape: (B, C, H, W) -> (B, C, H, W) for a reblur, (B, 1, H, W) for a gray.

    Attributes:
        out_bands: 'same' for a reblur, 1 for a gray.
    """

    contract: ClassVar[str] = 'toolkit.testing.kinds.DegradationContract'

    out_bands: ClassVar[Literal['same', 1]] = 'same'

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor: ...


class Loss(nn.Module, ABC):
    """A scalar term; the arguments of `forward` are names of outputs of the system.

    Args:
        weight: factor that the system applies; must be finite.
    """

    contract: ClassVar[str] = 'toolkit.testing.kinds.LossContract'

    def __init__(self, weight: NonNegativeFloat = 1.0) -> None:
        super().__init__()
        if not (weight == weight and abs(weight) != float('inf')):
            raise ValueError(f'weight must be a finite number, found {weight}')
        self.weight = weight


@dataclass(frozen=True)
class Identities:
    """Members of one group in a dataset, such as its patients, to compare it with other datasets.

    Args:
        labels: by identity, its name for messages. An identity is a text that is the same in every
            dataset that holds the same thing.
        areas: by identity, the parts of it that are held, as top, left, bottom and right of
            rectangles in units that all datasets of the group share; without an entry all of it.
        apart: False if other datasets may hold the same, unless those say that they hold it apart.
    """

    labels: Mapping[str, str]
    areas: Mapping[str, Sequence[tuple[int, int, int, int]]] = field(default_factory=dict)
    apart: bool = True


class Dataset(torch.utils.data.Dataset, ABC):
    """Samples by index.

    All randomness comes from the global generators of torch, numpy and random. The engine seeds
    them for every sample, so that a resumed run sees the same data.

    Attributes:
        quick: arguments with which the dataset opens fast, for `toolkit check`.
    """

    contract: ClassVar[str] = 'toolkit.testing.data.DatasetContract'
    quick: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    def fingerprint(self) -> str:
        """Computes a short hash of the data, for the run capsule; '' if there is none."""
        return ''

    def identities(self, content: bool = True) -> Mapping[str, Identities | Collection[str]]:
        """Names what the dataset holds, by group; by default nothing is named.

        Before a training, the engine compares the groups of training, validation and test, and
        refuses what two of them hold: `return {'patient': self.patients}`.

        Args:
            content: files may be read whole, so that copies of a file are found; otherwise their
                paths stand for them.
        Returns:
            By the noun of a group ('image', 'patient', 'scene') its identities, or their names.
        """
        return {}

    def move_to(self, device: torch.device) -> bool:
        """Keeps the data on a device and gives equal samples there; by default it cannot.

        The engine calls it for training data that no worker process loads.

        Returns:
            True if samples are on the device from now on.
        """
        return False

    def release(self) -> None:
        """Frees the memory of data that can be read again; by default there are none."""


class Transform(ABC):
    """Changes a sample."""

    @abstractmethod
    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]: ...


class Sampler(ABC):
    """The order of the samples of a dataset; the engine shares it among processes.

    `order` must depend on its arguments alone, so that a run can be resumed anywhere.
    """

    contract: ClassVar[str] = 'toolkit.testing.engine_kinds.SamplerContract'

    @abstractmethod
    def order(self, epoch: int) -> Sequence[int]:
        """Returns the indices of one epoch, for all processes together."""


class Metric(ABC):
    """Measures predictions sample by sample, then summarizes the samples.

    So any number of processes can measure, and paired tests can compare samples.

    Attributes:
        directions: by each name that `summarize` may return, True if higher is better.
        main: names of the few values that summarize the others, for a line of text; empty if all
            of them do.
    """

    contract: ClassVar[str] = 'toolkit.testing.data.MetricContract'

    directions: Mapping[str, bool]
    main: Sequence[str] = ()

    @abstractmethod
    def measure(self, outputs: Mapping[str, Any], batch: Batch) -> list[dict[str, Any]]:
        """Measures a batch; returns one row of plain values for each sample."""

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Summarizes all rows; by default by the mean of each column."""
        if not rows:
            return {name: float('nan') for name in self.directions}
        return {
            name: sum(float(row[name]) for row in rows) / len(rows)
            for name in self.directions
            if name in rows[0]
        }


@dataclass(frozen=True)
class PredictOptions:
    """Options of a prediction.

    Args:
        arguments: values of the arguments that the predictor declares, by name.
        dataset: builds the run's test data; None if the config has none. Files are predicted
            without it, since the run's own data may be elsewhere.
        metrics: builds each metric of the run's test, by key; empty if the config has none.
        device: to compute on; the system is there already.
        autocast: makes a context for the precision of the run. Each thread that computes enters
            one of its own.
        overwrite: replace output files that exist; inputs are never replaced.
        report: takes a line for the user.
    """

    arguments: argparse.Namespace
    dataset: Callable[[], Dataset] | None = None
    metrics: Mapping[str, Callable[[], Metric]] = field(default_factory=dict)
    device: torch.device = torch.device('cpu')
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    overwrite: bool = False
    report: Callable[[str], None] = print


class Predictor(ABC):
    """Predicts files with a trained system, for `toolkit predict`.

    The docstring of a class says which inputs and outputs it takes; `toolkit predict --run DIR
    --help` prints it.

    Attributes:
        system: class of the systems that it serves.
    """

    contract: ClassVar[str] = 'toolkit.testing.task_kinds.PredictorContract'
    system: ClassVar[type[System]]

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        """Declares the arguments of the task."""

    def adapt(
        self,
        config: Mapping[str, Any],
        stated: Collection[str],
        inputs: Sequence[str],
        options: PredictOptions,
    ) -> Mapping[str, Any]:
        """Adapts the config of a system without weights to the inputs; by default it stays.

        Args:
            config: resolved tree, which is not changed.
            stated: dotted paths that the command line sets.
            inputs: as for `predict`.
            options: of this prediction.
        Returns:
            New values by dotted path.
        Raises:
            ToolkitError: inputs or options that cannot be used.
        """
        return {}

    @abstractmethod
    def predict(
        self, system: System, inputs: Sequence[str], output: Path, options: PredictOptions
    ) -> list[Path]:
        """Predicts files and writes the results.

        Args:
            system: trained, in evaluation mode.
            inputs: words after `--input`; empty for the run's own test data.
            output: file to write.
            options: of this prediction.
        Returns:
            The files written.
        Raises:
            ToolkitError: inputs or options that cannot be used.
        """

    def predict_in_memory(
        self, system: System, options: PredictOptions, *inputs: Any, **arguments: Any
    ) -> Any:
        """Predicts inputs in memory, for `toolkit.load_run(...).predict(...)`.

        By default it cannot. A predictor that can names its own inputs and arguments after
        `options`; they are the signature that users see.

        Args:
            system: trained, in evaluation mode.
            options: of this prediction; its `arguments` are empty.
            *inputs: arrays, tensors, images or paths.
            **arguments: of the task.
        Raises:
            ToolkitError: inputs or arguments that cannot be used.
        """
        raise ToolkitError(f'{type(self).__name__} predicts files only; use `toolkit predict`')


class Visualizer(ABC):
    """Writes images of evaluated items, for `RUN/pictures` and the report.

    Attributes:
        system: class of the systems that it serves.
        chooses: `choose_items` chooses items after the evaluation, and they are predicted once
            more; otherwise the first items are taken on the way.
    """

    contract: ClassVar[str] = 'toolkit.testing.task_kinds.VisualizerContract'
    system: ClassVar[type[System]]
    chooses: ClassVar[bool] = False

    def choose_items(
        self,
        metrics: Mapping[str, Metric],
        rows: Mapping[str, Sequence[Mapping[str, Any]]],
        count: int,
    ) -> Sequence[int]:
        """Chooses the items to show.

        Args:
            metrics: metrics of the evaluation, by key.
            rows: rows of each metric, one per item in the dataset's order.
            count: number of items.
        Returns:
            Indices of rows, at most `count`.
        """
        raise NotImplementedError(f'{type(self).__name__}.chooses, and it has no choose_items')

    @abstractmethod
    def write_images(
        self,
        system: System,
        outputs: Mapping[str, Any],
        batch: Batch,
        index: int,
        folder: Path,
        stem: str,
    ) -> None:
        """Writes images of one item.

        For the swipe of reports, `STEM.json` may name them: `item`, and `layers`, each with `name`,
        `file` and `role`, of one size and in the same order for all items; see
        `toolkit.report.run_images.write_item_images`.

        Args:
            system: in evaluation mode.
            outputs: of its `predict`, in full precision.
            batch: its input.
            index: of the item in the batch.
            folder: to write to; it may not exist yet.
            stem: beginning of the names of all files; no other item has the same.
        Raises:
            RunError: a file cannot be written.
        """


class Splitter(ABC):
    """Splits the items of a manifest into subsets, for `toolkit split`.

    The docstring of a class is its description in `toolkit split --help`.

    Attributes:
        items: plural noun of the items, for messages: 'images'.
        columns: a manifest of such items has at least one of these columns.
        suffix: end of the name of the output, after that of the manifest.
    """

    contract: ClassVar[str] = 'toolkit.testing.task_kinds.SplitterContract'
    items: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    suffix: ClassVar[str]

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        """Declares the arguments of the task beside --seed, --output, --overwrite, --outside."""

    @classmethod
    def accepts(cls, columns: Sequence[str], arguments: argparse.Namespace) -> bool:
        """Tells whether a manifest lists such items.

        Args:
            columns: of the manifest.
            arguments: of the command line; those that are not given may be absent.
        """
        return any(column in columns for column in cls.columns)

    @abstractmethod
    def split(self, manifest: Path, output: Path, arguments: argparse.Namespace) -> str:
        """Splits a manifest, writes the split and prints a summary.

        Args:
            manifest: its file.
            output: file to write.
            arguments: of the command line, with the defaults of those that are not given.
        Returns:
            The digest of the output.
        Raises:
            ToolkitError: a manifest or arguments that cannot be used.
            RunError: the output cannot be written.
        """


class Auditor(ABC):
    """Audits data of one kind, for `toolkit audit`.

    The docstring of a class is its description in `toolkit audit --help`.

    Attributes:
        items: plural noun of the items, for messages: 'images'.
        formats: what it takes, for messages: 'a manifest with a column image'.
    """

    items: ClassVar[str]
    formats: ClassVar[str]

    @classmethod
    @abstractmethod
    def accepts(cls, paths: Sequence[str]) -> bool:
        """Tells by names and headers whether data are of this kind; they need not exist.

        Args:
            paths: words of the command line, with the paths of the data among them.
        """

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        """Declares the arguments beside --json, --overwrite and --outside."""

    @abstractmethod
    def audit(self, paths: Sequence[str], arguments: argparse.Namespace) -> int:
        """Audits data, prints the findings and writes the outputs.

        Args:
            paths: of the data.
            arguments: of the command line.
        Returns:
            The exit status.
        Raises:
            ToolkitError: data or arguments that cannot be used.
        """
