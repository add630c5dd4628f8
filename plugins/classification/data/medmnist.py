"""MedMNIST archives of small images with their official split."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plugins.classification.data.image_dataset import ImageSet
from plugins.classification.data.split import SplitSpec
from plugins.classification.data.split_file import SUBSETS
from plugins.classification.image_record import Box, Record
from plugins.classification.tasks import Task
from toolkit.errors import DataError, ToolkitError
from toolkit.io.data_paths import find_data_file
from toolkit.io.tables.read_table import read_table
from toolkit.io.verification.packed_arrays import check_npz
from toolkit.registry import DATASETS


@DATASETS.register
class MedMNIST(ImageSet):
    """Dataset of a two-dimensional MedMNIST archive (`breastmnist.npz`, `breastmnist_128.npz`).

    Args:
        file: absolute, or below $TOOLKIT_DATA or the current folder.
        tasks: one task for each column of the labels, which are (n,) or (n, tasks); classes in the
            order of their numbers. In BreastMNIST, 0 is malignant and 1 is normal or benign.
        split: assignment of images to subsets; the official split of the archive by default.
        groups: table with the columns `id` and `group` of all images, as `toolkit audit FILE.npz
            --groups` writes it; a group counts as a patient, so that nearly equal images stay
            together. The official split tears groups apart: with `split.shared: drop`, their
            images leave the training.
        **options: see `ImageSet`.
    Raises:
        ToolkitError: there is no such file, its images have three dimensions, or the numbers of
            classes or tasks differ; the groups are not those of its images.
        ValueError: an argument is out of range.

    Source: Yang et al., Scientific Data 10:41, 2023.
    """

    def __init__(
        self,
        file: str,
        tasks: dict[str, Task],
        split: SplitSpec | None = None,
        groups: str | None = None,
        **options: Any,
    ) -> None:
        official = SplitSpec(by='column', column='subset', val=0)
        super().__init__(tasks, split=split or official, **options)
        self.path = find_data_file(file)
        arrays = read_arrays(self.path)
        self._images = _join_images(arrays)
        records: list[Record] = []
        for subset in SUBSETS:
            records += _make_records(self.path, subset, arrays[f'{subset}_labels'], tasks)
        if groups is not None:
            group_of = read_groups(find_data_file(groups), [record.id for record in records])
            records = [dataclasses.replace(r, patient=group_of[r.id]) for r in records]
        self.use_records(records)

    @functools.cached_property
    def _images(self) -> np.ndarray:
        return _join_images(read_arrays(self.path))

    def release(self) -> None:
        super().release()
        self.__dict__.pop('_images', None)

    def read(self, position: int) -> tuple[np.ndarray, tuple[Box, ...]]:
        return self._images[position].astype(np.float32) / np.float32(255), ()

    def check_header(self, position: int) -> None:
        """Does nothing: all images are in memory."""

    def hash_image(self, position: int) -> str:
        return hashlib.sha256(self._images[position].tobytes()).hexdigest()[:16]

    def image_identity(self, position: int, content: bool) -> str:
        return self.hash_image(position) if content else f'{self.path}#{self.pool[position].id}'


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of an archive.

    Returns:
        `SUBSET_images`, (n, H, W) or (n, H, W, 3) uint8, and `SUBSET_labels`, (n, tasks) int64, for
        each subset.
    Raises:
        DataError: the file is not such an archive.
    """
    names = [f'{subset}_{what}' for subset in SUBSETS for what in ('images', 'labels')]
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f'{path} is no .npz')
        check_npz(path, names)
        with archive:
            lacking = [name for name in names if name not in archive]
            if lacking:
                raise DataError(
                    f'{path} has no {lacking[0]}; found {", ".join(archive)}, expected '
                    f'{", ".join(names)}'
                )
            arrays = {name: archive[name] for name in names}
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f'{path} cannot be read: {error}; it may be cut or no .npz') from error
    for subset in SUBSETS:
        images, labels = arrays[f'{subset}_images'], arrays[f'{subset}_labels']
        if images.dtype != np.uint8 or not (
            images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
        ):
            raise DataError(
                f'{path}: {subset}_images are {images.dtype} {images.shape}; expected uint8 of '
                '(n, H, W) or (n, H, W, 3)'
            )
        if len(labels) != len(images) or labels.ndim > 2 or labels.dtype.kind not in 'iub':
            raise DataError(
                f'{path}: {subset}_labels are {labels.dtype} {labels.shape}; expected whole '
                f'numbers, ({len(images)},) or ({len(images)}, tasks)'
            )
        arrays[f'{subset}_labels'] = labels.reshape(len(images), -1).astype(np.int64)
    return arrays


def read_groups(path: Path, ids: Sequence[str]) -> dict[str, str]:
    """Reads the group of each image from a table with the columns `id` and `group`.

    Raises:
        DataError: a column is missing, a cell is blank, or the ids are not those of the images.
    """
    table = read_table(path, ('id', 'group'))
    if sorted(table.columns) != ['group', 'id']:
        raise DataError(
            f'{path}:{table.header}: found the columns {", ".join(table.columns)}, expected id and '
            'group, as toolkit audit FILE.npz --groups writes them'
        )
    own, known = table.columns.index('id'), set(ids)
    group_of: dict[str, str] = {}
    for line, cells in table.rows:
        if len(cells) != 2 or not all(cells):
            raise DataError(f'{path}:{line}: expected an id and its group, found {cells}')
        name, group = cells[own], cells[1 - own]
        if name not in known or name in group_of:
            why = 'is named twice' if name in group_of else 'is no image of the archive'
            raise DataError(f'{path}:{line}: {name!r} {why}; write the groups of this archive anew')
        group_of[name] = group
    if missing := [name for name in ids if name not in group_of]:
        raise DataError(
            f'{path} has no group of {len(missing)} of {len(ids)} images, such as {missing[0]}; '
            'write the groups of this archive anew'
        )
    return group_of


def _join_images(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([arrays[f'{subset}_images'] for subset in SUBSETS])


def _make_records(
    path: Path, subset: str, labels: np.ndarray, tasks: Mapping[str, Task]
) -> list[Record]:
    if labels.shape[1] != len(tasks):
        raise ToolkitError(
            f'{path} has labels for {labels.shape[1]} tasks, and {len(tasks)} are named: '
            f'{", ".join(tasks)}'
        )
    for column, (name, task) in zip(labels.T, tasks.items()):
        classes = len(task.classes)
        if column.size and not 0 <= column.min() <= column.max() < classes:
            raise DataError(
                f'{path}: {subset}_labels of {name} are from {column.min()} to {column.max()}, but '
                f'its {classes} classes are numbered from 0: {", ".join(task.classes)}'
            )
    return [
        Record(
            id=f'{subset}-{number}',
            patient=f'{subset}-{number}',
            labels={name: tasks[name].classes[row[i]] for i, name in enumerate(tasks)},
            attributes={'subset': subset},
        )
        for number, row in enumerate(labels)
    ]
