"""Interfaces of classification: labelled images, losses of classes, weighting of tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from plugins.classification.image_record import Record
from plugins.classification.tasks import Task
from toolkit.interfaces import Dataset, Loss
from toolkit.ranges import NonNegativeFloat
from toolkit.registry import Kind

NOTE = 'Research use only, not a medical device.'

TASK_WEIGHTINGS = Kind(
    'task_weighting', 'plugins.classification.interfaces.TaskWeighting', injected=('tasks',)
)
BATCH_MIXINGS = Kind('batch_mixing', 'plugins.classification.interfaces.BatchMixing')
PREDICTION_VIEWS = Kind('prediction_views', 'plugins.classification.interfaces.PredictionViews')


class LabelledImages(Dataset):
    """Images with labels for one or several tasks.

    A sample has `image` (C, H, W), float32 in [0, 1] (the backbone normalizes it), or, once
    `features` is set, `features` by branch; `labels`, an int64 scalar by task, MISSING (-1) if the
    label is not known; and `meta` with `item`, `id`, `patient`, `centre`, `view` and `attributes`.

    Attributes:
        tasks: by name.
        channels: C.
        size: H and W.
        records: of the samples, by index.
        pool: records of the whole dataset, all subsets together; the order of caches.
        positions: of the samples in `pool`, by index.
        views: number of repeatable augmentations of an image; 1 without random transforms, None if
            every augmentation is new.
        features: a `plugins.classification.data.feature_store.KeptFeatures`, or None; if it is
            complete, no image is read.
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
        """Reads the image (C, H, W) in [0, 1] at a position of `pool`.

        Args:
            position: in `pool`.
            view: augmentation index, the same image at every call; None for a new augmentation.
        """

    def box_mask(self, position: int) -> Tensor | None:
        """Returns the mask (H, W) in [0, 1] of the boxes of an image of `pool` in its first
        augmentation; None if it has no boxes."""
        return None

    @abstractmethod
    def image_fingerprint(self) -> str:
        """Computes a hash of files, size and transforms, on which images depend.

        It is the same for every split and seed of the same data.
        """

    def labels(self, task: str) -> Tensor:
        """Returns the labels (N,) of a task, MISSING if a label is not known."""
        classes = self.tasks[task].classes
        return torch.tensor([record.index(task, classes) for record in self.records])

    def class_counts(self, task: str) -> Tensor:
        """Counts the samples (K,) of each class of a task."""
        labels = self.labels(task)
        return torch.bincount(labels[labels >= 0], minlength=len(self.tasks[task].classes))


class ClassLoss(Loss):
    """A loss between the logits and the labels of one task.

    `forward` gets the labelled samples of a batch. If there are none it must return
    `logits.sum() * 0`, so that all processes of a distributed run compute the same graph.

    Args:
        num_classes: K. Injected by the system.
        weight: factor that the system applies.
    """

    contract: ClassVar[str] = 'plugins.classification.contracts.ClassLossContract'

    @property
    def takes_mixed_labels(self) -> bool:
        """True if s loss(y) + (1 - s) loss(y') is the loss of an image that is mixed from images of
        y and y', as that of a cross entropy is. Not so where a label counts whole."""
        return False

    def __init__(self, num_classes: int, weight: NonNegativeFloat = 1.0) -> None:
        super().__init__(weight)
        self.num_classes = num_classes

    def use_counts(self, counts: Mapping[str, int]) -> None:
        """Sets the class counts of the training data, before a training and before it is resumed.

        Args:
            counts: number of samples by class, in the order of the logits.
        Raises:
            ToolkitError: a class without samples, if the loss needs samples of each class.
        """

    def start_epoch(self, epoch: int) -> None:
        """Prepares an epoch; called again if a resumed run continues the epoch.

        Changes must be part of the state, and a second call must not repeat them.
        """

    @abstractmethod
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Computes the loss.

        Shape: logits (N, K), labels (N,) int64 from 0 to K - 1 -> scalar.
        """


class TaskWeighting(nn.Module, ABC):
    """Combines the losses of several tasks.

    Args:
        tasks: their names. Injected by the system.
    """

    contract: ClassVar[str] = 'plugins.classification.contracts.TaskWeightingContract'

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)

    def start_epoch(self, epoch: int) -> None:
        """Prepares an epoch; see `ClassLoss.start_epoch`."""

    @abstractmethod
    def forward(self, losses: Mapping[str, Tensor], counts: Mapping[str, int]) -> dict[str, Tensor]:
        """Turns the losses of tasks into terms by name, whose sum is trained.

        Args:
            losses: scalars by task, in the order of `tasks`; 0 if no sample has a label.
            counts: number of samples with a label, by task. A task without any must change no
                weight, its own weight included.
        """


class BatchMixing(nn.Module, ABC):
    """Mixes the images of a training batch with each other; in evaluation mode it changes nothing.

    Random numbers are torch's on the CPU, so that a resumed run draws the same ones.
    """

    contract: ClassVar[str] = 'plugins.classification.contracts.BatchMixingContract'

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mixes images in training mode; otherwise each is its own partner, with the share 1."""
        if self.training:
            return self.mix(image)
        return image, torch.arange(len(image), device=image.device), image.new_ones(())

    @abstractmethod
    def mix(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mixes images.

        Shape: (B, C, H, W) in [0, 1] -> (B, C, H, W) in [0, 1]; the partner of each image, (B,)
            int64; the share of the own image's label, a scalar in [0, 1].
        """


class PredictionViews(nn.Module, ABC):
    """Makes the views of an image over whose logits a prediction is averaged."""

    contract: ClassVar[str] = 'plugins.classification.contracts.PredictionViewsContract'

    @abstractmethod
    def forward(self, image: Tensor) -> list[Tensor]:
        """Makes the views, the image itself first.

        Shape: (B, C, H, W) in [0, 1] -> two or more of (B, C, H, W) in [0, 1].
        """
