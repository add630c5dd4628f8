"""Sources of images to audit: manifests, folders and MedMNIST archives."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from plugins.classification.data.folder_layout import list_images
from plugins.classification.data.manifests.manifest import read_manifest
from plugins.classification.data.manifests.patient_ids import PatientIds
from plugins.classification.data.medmnist import read_arrays
from plugins.classification.data.reading.image_io import SUFFIXES, is_dicom, read_image
from plugins.classification.data.split_file import SUBSETS
from plugins.classification.image_record import Record
from toolkit.errors import DataError, ToolkitError, did_you_mean
from toolkit.io.data_paths import find_data_file, find_data_folder
from toolkit.io.tables.read_table import read_table
from toolkit.io.verification.hashing import hash_files

TABLES = ('.csv', '.parquet', '.pq')
DAMAGED = (ValueError, OSError, EOFError, zipfile.BadZipFile)


class AuditSource(ABC):
    """Set of images to audit.

    Attributes:
        name: name of the file, with its folder.
        records: one record for each image; labels are as in the file.
        tasks: names of the tasks with labels.
        split_column: attribute that holds the split; '' if there is none.
    """

    name: str
    records: Sequence[Record]
    tasks: tuple[str, ...]
    split_column: str = ''

    @abstractmethod
    def read(self, position: int) -> np.ndarray:
        """Reads an image, (H, W) or (H, W, 3) float32 in [0, 1].

        Raises:
            DataError: it cannot be read.
        """

    @abstractmethod
    def describe_file(self, position: int) -> tuple[str, str]:
        """Returns the hash of an image's file, and its format and mode, such as 'JPEG, L'."""


class FileSource(AuditSource):
    """Images that are files."""

    def read(self, position: int) -> np.ndarray:
        record = self.records[position]
        assert record.path is not None
        return read_image(record.path, record.frame)

    def describe_file(self, position: int) -> tuple[str, str]:
        record = self.records[position]
        assert record.path is not None
        hashed = hash_files(record.path) + (f'#{record.frame}' if record.frame else '')
        if is_dicom(record.path):
            return hashed, 'DICOM'
        if record.path.suffix == '.npy':
            return hashed, 'npy'
        with Image.open(record.path) as image:
            return hashed, f'{image.format}, {image.mode}'


class ManifestSource(FileSource):
    """Images of a manifest.

    Args:
        path: see `read_manifest`.
        columns: see `read_manifest`.
        tasks: columns by task; their values are the names of classes.
        outside: see `read_manifest`.
        patients: see `read_manifest`.
    Raises:
        ToolkitError: see `read_manifest`; or a task has no column.
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
        self.name, self.tasks = _name_file(manifest.path), tuple(tasks or {})
        free = {name for record in manifest.records for name in record.attributes}
        for task, column in (tasks or {}).items():
            if column not in free:
                raise ToolkitError(
                    f'--task {task}: {manifest.path} has no column {column!r} besides those that '
                    f'are taken{did_you_mean(column, free)}; it has: {", ".join(sorted(free))}'
                )
        self.records = tuple(_label_record(record, tasks or {}) for record in manifest.records)


class FolderSource(FileSource):
    """Images of a folder and all below it.

    The folder that an image is in is its label, as in FOLDER/CLASS/IMAGE; of
    FOLDER/SUBSET/CLASS/IMAGE, SUBSET is the split if one is named `train`, `val` or `test`.

    Args:
        folder: path of the folder.
    Raises:
        ToolkitError: it has no images.
    """

    def __init__(self, folder: Path) -> None:
        self.name = _name_file(folder)
        found = [(path.relative_to(folder), path) for path in list_images(folder)]
        if not found:
            raise ToolkitError(f'{folder} has no images; expected some of {", ".join(SUFFIXES)}')
        has_split = any(name.parts[0] in SUBSETS for name, _ in found)
        records = []
        for name, path in found:
            folders = name.parts[:-1]
            # With a folder `train`, the others beside it are subsets too: `valid` is one.
            subset = folders[0] if has_split and folders else ''
            classes = folders[1:] if has_split else folders
            records.append(
                Record(
                    id=name.as_posix(),
                    path=path,
                    patient=name.as_posix(),
                    labels={'label': classes[-1]} if classes else {},
                    attributes={'subset': subset} if has_split else {},
                )
            )
        self.records = tuple(records)
        self.tasks = ('label',) if any(record.labels for record in records) else ()
        self.split_column = 'subset' if has_split else ''


class ArchiveSource(AuditSource):
    """Images of a MedMNIST archive; the labels are numbers.

    Args:
        path: path of the archive.
    Raises:
        DataError: the file is not such an archive.
    """

    split_column = 'subset'

    def __init__(self, path: Path) -> None:
        arrays = read_arrays(path)
        self.name = _name_file(path)
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

    def describe_file(self, position: int) -> tuple[str, str]:
        image = self._images[position]
        return hashlib.sha256(image.tobytes()).hexdigest()[:16], f'npz, {image.dtype}'


def open_source(
    path: str | Path,
    columns: Mapping[str, str | None] | None = None,
    tasks: Mapping[str, str] | None = None,
    outside: bool = False,
    patients: PatientIds = 'check',
) -> AuditSource:
    """Opens a manifest, a folder, or an archive if the name ends in `.npz`.

    Args:
        path: path of the file or folder.
        columns: see `ManifestSource`.
        tasks: see `ManifestSource`.
        outside: see `ManifestSource`.
        patients: see `ManifestSource`.
    Raises:
        ToolkitError: see the sources; or columns or tasks are given for an archive or a folder.
    """
    folder = find_folder(path)
    if folder is not None or Path(path).suffix == '.npz':
        if columns or tasks:
            kind = 'an archive' if folder is None else 'a folder'
            raise ToolkitError(f'{path} is {kind}: it has no columns for --columns and --task')
        return ArchiveSource(find_data_file(path)) if folder is None else FolderSource(folder)
    return ManifestSource(path, columns, tasks, outside, patients)


def is_image_source(path: str) -> bool:
    """Tells by its name and header whether a file seems to be a source, rather than of other data.

    A folder is one if it has images, and no archives of scenes. A manifest of scenes has the
    columns `ms` and `sensor`; an archive of images has `train_images`. A file that cannot be read
    is a source by its name.
    """
    if (folder := find_folder(path)) is not None:
        scenes = any(file.suffix.lower() in ('.h5', '.hdf5', '.mat') for file in folder.iterdir())
        return not scenes and any(True for _ in list_images(folder))
    suffix = Path(path).suffix.lower()
    if suffix not in (*TABLES, '.npz'):
        return False
    try:
        file = find_data_file(path)
        if suffix == '.npz':
            with np.load(file, allow_pickle=False) as archive:
                return 'train_images' in archive.files or 'ms' not in archive.files
        columns = read_table(file, ('image',)).columns
    except (ToolkitError, *DAMAGED):
        return True
    return 'image' in columns or not {'ms', 'sensor'} <= set(columns)


def find_folder(path: str | Path) -> Path | None:
    """Finds a data folder, see `find_data_folder`; None if there is none."""
    try:
        return find_data_folder(path)
    except ToolkitError:
        return None


def average_colours(pixels: np.ndarray) -> np.ndarray:
    """Averages colours: (H, W) or (H, W, 3) -> (H, W)."""
    return pixels if pixels.ndim == 2 else pixels.mean(2)


def shorten_error(error: Exception) -> str:
    """Returns the first line of a reader's message."""
    return str(error).splitlines()[0] if isinstance(error, DataError) else repr(error)


def _name_file(path: Path) -> str:
    return f'{path.absolute().parent.name}/{path.name}'  # many are called labels.csv


def _label_record(record: Record, tasks: Mapping[str, str]) -> Record:
    labels = {task: record.attributes.get(column, '') for task, column in tasks.items()}
    return dataclasses.replace(record, labels={task: name for task, name in labels.items() if name})
