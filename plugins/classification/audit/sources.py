"""What can be audited: the images of a manifest, and MedMNIST's archives."""

from __future__ import annotations

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from plugins.classification.data.image_io import is_dicom, read_image
from plugins.classification.data.manifest import read_manifest
from plugins.classification.data.medmnist import read_arrays
from plugins.classification.data.patient_ids import PatientIds
from plugins.classification.data.split_file import SUBSETS
from plugins.classification.image_record import Record
from toolkit.errors import DataError, ToolkitError, did_you_mean
from toolkit.io.data_paths import data_path
from toolkit.io.hashing import hash_files


class Source(ABC):
    """A set of images.

    Attributes:
        name: of its file.
        records: one for each image; their labels are as the file writes them.
        tasks: names of those that have labels.
        split_column: attribute that is known to be a split; '' where none is.
    """

    name: str
    records: Sequence[Record]
    tasks: tuple[str, ...]
    split_column: str = ''

    @abstractmethod
    def read(self, position: int) -> np.ndarray:
        """Pixels (H, W) or (H, W, 3), float32 in [0, 1].

        Raises:
            DataError: they cannot be read.
        """

    @abstractmethod
    def kept_as(self, position: int) -> tuple[str, str]:
        """A hash of the file and how it holds its pixels, such as 'JPEG, L'."""


class ManifestSource(Source):
    """The images of a manifest.

    Args:
        path: as of `read_manifest`.
        columns: as of `read_manifest`.
        tasks: columns by task; what they say is taken for names of classes.
        outside: as of `read_manifest`.
        patients: as of `read_manifest`.
    Raises:
        ToolkitError: as of `read_manifest`; a task without its column.
    """

    def __init__(
        self,
        path: str | Path,
        columns: Mapping[str, str | None] | None = None,
        tasks: Mapping[str, str] | None = None,
        outside: bool = False,
        patients: PatientIds = 'check',
    ) -> None:
        manifest = read_manifest(path, {}, columns, outside=outside, patients=patients)
        self.name, self.tasks = _named(manifest.path), tuple(tasks or {})
        free = {name for record in manifest.records for name in record.attributes}
        for task, column in (tasks or {}).items():
            if column not in free:
                raise ToolkitError(
                    f'--task {task}: {manifest.path} has no column {column!r} besides those that '
                    f'are taken{did_you_mean(column, free)}; it has: {", ".join(sorted(free))}'
                )
        self.records = tuple(_labelled(record, tasks or {}) for record in manifest.records)

    def read(self, position: int) -> np.ndarray:
        record = self.records[position]
        assert record.path is not None
        return read_image(record.path, record.frame)

    def kept_as(self, position: int) -> tuple[str, str]:
        record = self.records[position]
        assert record.path is not None
        hashed = hash_files(record.path) + (f'#{record.frame}' if record.frame else '')
        if is_dicom(record.path):
            return hashed, 'DICOM'
        if record.path.suffix == '.npy':
            return hashed, 'npy'
        with Image.open(record.path) as image:
            return hashed, f'{image.format}, {image.mode}'


class ArchiveSource(Source):
    """A MedMNIST archive; its labels are numbers.

    Raises:
        DataError: it is no such archive.
    """

    split_column = 'subset'

    def __init__(self, path: Path) -> None:
        arrays = read_arrays(path)
        self.name = _named(path)
        self._images = np.concatenate([arrays[f'{subset}_images'] for subset in SUBSETS])
        columns = arrays['train_labels'].shape[1]
        self.tasks = ('label',) if columns == 1 else tuple(f'label_{i}' for i in range(columns))
        self.records = tuple(
            Record(
                id=f'{subset}-{number}',
                patient=f'{subset}-{number}',
                labels={task: str(value) for task, value in zip(self.tasks, row)},
                attributes={'subset': subset},
            )
            for subset in SUBSETS
            for number, row in enumerate(arrays[f'{subset}_labels'])
        )

    def read(self, position: int) -> np.ndarray:
        return self._images[position].astype(np.float32) / np.float32(255)

    def kept_as(self, position: int) -> tuple[str, str]:
        image = self._images[position]
        return hashlib.sha256(image.tobytes()).hexdigest()[:16], f'npz, {image.dtype}'


def open_source(
    path: str | Path,
    columns: Mapping[str, str | None] | None = None,
    tasks: Mapping[str, str] | None = None,
    outside: bool = False,
    patients: PatientIds = 'check',
) -> Source:
    """The source that a file is.

    Raises:
        ToolkitError: see the sources; columns and tasks of an archive.
    """
    if Path(path).suffix == '.npz':
        if columns or tasks:
            raise ToolkitError(f'{path} is an archive: it has no columns for --columns and --task')
        return ArchiveSource(data_path(path))
    return ManifestSource(path, columns, tasks, outside, patients)


def grey(pixels: np.ndarray) -> np.ndarray:
    """(H, W) of (H, W) or (H, W, 3): the mean of the colours."""
    return pixels if pixels.ndim == 2 else pixels.mean(2)


def unreadable(error: Exception) -> str:
    """What a reader said, in one line."""
    return str(error).splitlines()[0] if isinstance(error, DataError) else repr(error)


def _named(path: Path) -> str:
    return f'{path.absolute().parent.name}/{path.name}'  # many are called labels.csv


def _labelled(record: Record, tasks: Mapping[str, str]) -> Record:
    said = {task: record.attributes.get(column, '') for task, column in tasks.items()}
    return dataclasses.replace(record, labels={task: name for task, name in said.items() if name})
