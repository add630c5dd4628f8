"""Samplers that draw rare classes more often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from plugins.classification.interfaces import LabelledImages
from plugins.classification.tasks import MISSING
from toolkit.engine.process import seeding
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.interfaces import Dataset, Sampler
from toolkit.ranges import NonNegativeFloat
from toolkit.registry import SAMPLERS

CONTRACT = 'plugins.classification.contracts.LabelledSamplerContract'


@SAMPLERS.register
class ClassBalancedSampler(Sampler):
    """Every class equally often, in an epoch of as many draws as there are samples.

    A class's samples are drawn in turn, each as often as the next or once less, so that an epoch
    takes a new part of a frequent class. Samples without a label for the task are each drawn once:
    they keep their share, for the sake of other tasks.

    Args:
        dataset: labelled images. Injected by the engine.
        seed: the run's seed. Injected by the engine.
        task: by whose classes; may be left out where there is but one.
    Raises:
        ToolkitError: no labelled images, no such task, a class without samples.
    """

    contract: ClassVar[str] = CONTRACT

    def __init__(self, dataset: Dataset, seed: int, task: str | None = None) -> None:
        labels, classes = _labels(dataset, task)
        self._members = [(labels == k).nonzero().flatten() for k in range(len(classes))]
        self._rest = (labels == MISSING).nonzero().flatten()
        self._labelled = len(labels) - len(self._rest)
        self._seed = seed

    def order(self, epoch: int) -> Sequence[int]:
        generator = torch.Generator().manual_seed(seeding.derive_seed(self._seed, 'order', epoch))
        # What is left of an even division goes to the classes in turn, epoch by epoch.
        each, left = divmod(self._labelled, len(self._members))
        drawn = [self._rest]
        for k, members in enumerate(self._members):
            count = each + ((k - epoch * left) % len(self._members) < left)
            rounds = -(-count // len(members))
            turns = [torch.randperm(len(members), generator=generator) for _ in range(rounds)]
            drawn.append(members[torch.cat([*turns, members.new_empty(0)])[:count]])
        together = torch.cat(drawn)
        return together[torch.randperm(len(together), generator=generator)].tolist()


@SAMPLERS.register
class WeightedSampler(Sampler):
    """Samples drawn with replacement, with a probability by their class's frequency.

    A class of n samples has a share of all labelled draws proportional to n^(1 - power). Samples
    without a label for the task keep their share.

    Args:
        dataset: labelled images. Injected by the engine.
        seed: the run's seed. Injected by the engine.
        task: by whose classes; may be left out where there is but one.
        power: 0 for the data's own frequencies, 1 for equal ones, 0.5 between.
    Raises:
        ToolkitError: no labelled images, no such task, a class without samples.
        ValueError: a power that is negative or not finite.
    """

    contract: ClassVar[str] = CONTRACT

    def __init__(
        self, dataset: Dataset, seed: int, task: str | None = None, power: NonNegativeFloat = 1.0
    ) -> None:
        if not 0 <= power < float('inf'):
            raise ValueError(f'power must be 0 or more, found {power}')
        labels, classes = _labels(dataset, task)
        labelled = labels != MISSING
        counts = torch.bincount(labels[labelled], minlength=len(classes)).double()  # (K,)
        chances = (counts.min() / counts).pow(power)  # (K,), of one sample
        chances *= counts.sum() / (chances * counts).sum()  # 1 on average, as without a label
        self._chances = torch.where(labelled, chances[labels.clamp_min(0)], 1.0)  # (N,)
        self._seed = seed

    def order(self, epoch: int) -> Sequence[int]:
        generator = torch.Generator().manual_seed(seeding.derive_seed(self._seed, 'order', epoch))
        # By the running sum, which has no limit to the number of samples as torch.multinomial has.
        edges = self._chances.cumsum(0)  # (N,)
        places = torch.rand(len(edges), generator=generator, dtype=torch.float64) * edges[-1]
        return torch.searchsorted(edges, places, right=True).clamp_max(len(edges) - 1).tolist()


def _labels(dataset: Dataset, task: str | None) -> tuple[Tensor, Sequence[str]]:
    """Labels (N,) of a task of the dataset, and its classes, each of which has samples."""
    if not isinstance(dataset, LabelledImages):
        raise ToolkitError(
            f'{type(dataset).__name__} gives no labelled images, whose classes could be balanced'
        )
    names = list(dataset.tasks)
    if task is None and len(names) > 1:
        raise ToolkitError(f'there are several tasks, name one as `task`: {", ".join(names)}')
    task = names[0] if task is None else task
    if task not in dataset.tasks:
        hint = did_you_mean(task, names) or f'; there are: {", ".join(names)}'
        raise ToolkitError(f'the data have no task {task!r}{hint}')
    classes = dataset.tasks[task].classes
    labels = dataset.labels(task)
    counts = torch.bincount(labels[labels != MISSING], minlength=len(classes))
    if not counts.all():
        empty = classes[int(counts.argmin())]
        raise ToolkitError(
            f'the class {empty!r} of task {task!r} has no sample that could be drawn: leave it out '
            'of the task, or choose a split that has some of it'
        )
    return labels, classes
