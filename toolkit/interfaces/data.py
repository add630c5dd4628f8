"""Interfaces of data: datasets, transforms, samplers, and what datasets hold in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch


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


class Dataset(torch.utils.data.Dataset[dict[str, Any]], ABC):
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
