"""What parts of classification promise, beyond the kinds that all tasks share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from plugins.classification.image_record import Record
from plugins.classification.tasks import Task
from toolkit.interfaces import Dataset, Loss
from toolkit.registry import Kind

NOTE = 'Research use only, not a medical device.'

TASK_WEIGHTINGS = Kind(
    'task_weighting', 'plugins.classification.interfaces.TaskWeighting', injected=('tasks',)
)


class LabelledImages(Dataset):
    """Images with labels for one or several tasks.

    A sample has `image` (C, H, W), float32 in [0, 1] (normalising is the backbone's), or, once
    `features` is set, `features` by branch; `labels`, an int64 scalar by task, MISSING (-1) where
    there is none; and `meta` with `item`, `id`, `patient`, `centre`, `view` and `attributes`.

    Attributes:
        tasks: by name.
        channels: C.
        size: H and W.
        records: of the samples, by index.
        pool: every record of the whole data set, all splits together; caches are laid out by it.
        positions: of the samples in `pool`, by index.
        views: how many different augmented views an image has; 1 where nothing is drawn at random,
            None where every draw is new.
        features: a `plugins.classification.data.feature_cache.KeptFeatures`, or None;
            where it is complete, no image is read.
    """

    tasks: Mapping[str, Task]
    channels: int
    size: int
    records: Sequence[Record]
    pool: Sequence[Record]
    positions: Sequence[int]
    views: int | None = 1
    features: Any = None

    @abstractmethod
    def pool_image(self, position: int, view: int | None = None) -> Tensor:
        """The image (C, H, W) in [0, 1] at a position of `pool`: one of its views, which is the
        same at every call, or a new draw where `view` is None."""

    def marked(self, position: int) -> Tensor | None:
        """Where the boxes of an image of `pool` are in its first view, (H, W) from 0 to 1; None
        where there are none, or it is not known."""
        return None

    @abstractmethod
    def view_key(self) -> str:
        """A hash of all that decides how pixels become an image (files, size, transforms), the
        same for every split and seed of the same data."""

    def labels(self, task: str) -> Tensor:
        """Labels of a task (N,), MISSING where there is none."""
        classes = self.tasks[task].classes
        return torch.tensor([record.index(task, classes) for record in self.records])

    def class_counts(self, task: str) -> Tensor:
        """How many samples each class of a task has (K,)."""
        labels = self.labels(task)
        return torch.bincount(labels[labels >= 0], minlength=len(self.tasks[task].classes))


class ClassLoss(Loss):
    """A loss between the logits and the labels of one task.

    `forward` gets the labelled samples of a batch, possibly none, and is then to return
    `logits.sum() * 0`, so that every process of several goes the same way.

    Args:
        num_classes: K. Injected by the system.
        weight: factor that the system applies.
    """

    def __init__(self, num_classes: int, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.num_classes = num_classes

    def use_counts(self, counts: Mapping[str, int]) -> None:
        """Take in how many training samples each class has, by its name and in the order of the
        logits; before a training, and again before it is resumed.

        Raises:
            ToolkitError: a class that has none, where the loss needs some of each.
        """

    def start_epoch(self, epoch: int) -> None:
        """Told before an epoch, and again where a resumed run takes one up; what it changes must
        then be part of the state and not be changed twice."""

    @abstractmethod
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Shape: logits (N, K), labels (N,) int64 from 0 to K - 1 -> scalar."""


class TaskWeighting(nn.Module, ABC):
    """How the losses of several tasks are brought together.

    Args:
        tasks: their names. Injected by the system.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)

    def start_epoch(self, epoch: int) -> None:
        """As of `ClassLoss`."""

    @abstractmethod
    def forward(self, losses: Mapping[str, Tensor], counts: Mapping[str, int]) -> dict[str, Tensor]:
        """Scalars by task -> terms by name, whose sum is trained.

        Args:
            losses: of the batch, in the order of `tasks`; 0 where no sample has a label.
            counts: how many samples of the batch have a label, by task. A task without any must
                move nothing, its own weight included.
        """
