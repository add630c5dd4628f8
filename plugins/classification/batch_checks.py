"""Checks that a dataset and its batches are what a classifier needs: tasks, channels, labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from plugins.classification.interfaces import LabelledImages
from plugins.classification.tasks import Task
from toolkit.errors import DataError, ToolkitError
from toolkit.interfaces import Batch
from toolkit.testing.samples import check_unit_range


def check_dataset(dataset: Any, tasks: Mapping[str, Task], in_channels: int) -> None:
    """Compares the tasks and channels of a dataset with those of a system.

    Raises:
        ToolkitError: they differ, or the dataset has no labelled images.
    """
    if not isinstance(dataset, LabelledImages):
        raise ToolkitError(
            f'{type(dataset).__name__} gives no labelled images, which a Classifier needs'
        )
    if dataset.channels != in_channels:
        raise ToolkitError(
            f'the images have {dataset.channels} channels, the config states '
            f'model.in_channels {in_channels}: make them the same'
        )
    for name, task in tasks.items():
        if name not in dataset.tasks:
            raise ToolkitError(
                f'the data have no task {name!r}; they have: {", ".join(dataset.tasks)}'
            )
        found = dataset.tasks[name].classes
        if found != task.classes:
            raise ToolkitError(
                f'the classes of task {name!r} are {", ".join(found)} in the data and '
                f'{", ".join(task.classes)} in model.tasks: name the same, in the same order'
            )


def check_batch(batch: Batch, tasks: Mapping[str, Task]) -> None:
    """Looks for images or features, their range, and the labels of each task.

    Raises:
        DataError: one is missing, or values are far from what is expected.
    """
    if 'image' in batch:
        check_unit_range('image', batch['image'])
    for key in ('image', 'labels'):
        if key not in batch and not (key == 'image' and 'features' in batch):
            raise DataError(
                f'the samples have no {key!r}; they have {", ".join(map(repr, batch))}: a '
                "sample has 'image', 'labels' and 'meta' (docs/guides/component_kinds.md)"
            )
    _check_labels(batch['labels'], tasks)


def _check_labels(labels: Any, tasks: Mapping[str, Task]) -> None:
    for name, task in tasks.items():
        found = labels.get(name) if isinstance(labels, Mapping) else None
        if not isinstance(found, Tensor) or found.dtype != torch.long or found.ndim != 1:
            raise DataError(
                f"the samples' labels have no integer for the task {name!r}: a dataset gives "
                'labels {task: int64 class number, -1 where missing}'
            )
        if len(found) and not -1 <= int(found.min()) <= int(found.max()) < len(task.classes):
            raise DataError(
                f'the task {name!r} has labels from {int(found.min())} to {int(found.max())}; its '
                f'{len(task.classes)} classes are 0 to {len(task.classes) - 1}, and -1 is missing'
            )
