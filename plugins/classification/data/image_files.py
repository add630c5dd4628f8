"""Datasets of image files: by a manifest, or by folders named after the classes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from plugins.classification.data.image_dataset import ImageSet
from plugins.classification.data.image_io import SUFFIXES, image_size, picture_region, read_image
from plugins.classification.data.manifest import read_manifest
from plugins.classification.data.patient_ids import REASON, PatientIds, find_ambiguous_ids
from plugins.classification.data.split import PARTS, SplitSpec
from plugins.classification.image_record import Box, Record
from plugins.classification.tasks import Task
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.io.data_paths import data_folder
from toolkit.io.hashing import hash_files
from toolkit.registry import DATASETS


class FileSet(ImageSet):
    """Images of which each has a file, or a frame of one.

    Args:
        tasks: by name.
        region: of ultrasound in DICOM, take only the region that the scanner has marked as picture.
        **options: see `ImageSet`.
    """

    def __init__(self, tasks: dict[str, Task], region: bool = False, **options: Any) -> None:
        super().__init__(tasks, **options)
        self.region = region

    def read(self, position: int) -> tuple[np.ndarray, tuple[Box, ...]]:
        record = self.pool[position]
        assert record.path is not None
        pixels = read_image(record.path, record.frame)
        if self.region and (box := picture_region(record.path)):
            x0, y0, x1, y1 = (int(edge) for edge in box)
            shown = [(a - x0, b - y0, c - x0, d - y0) for a, b, c, d in record.boxes]
            return pixels[y0:y1, x0:x1], tuple(shown)
        return pixels, record.boxes

    def look(self, position: int) -> None:
        record = self.pool[position]
        assert record.path is not None
        image_size(record.path, record.frame)

    def contents(self, position: int) -> str:
        path = self.pool[position].path
        assert path is not None
        return f'{hash_files(path)}{"/region" if self.region else ""}'


@DATASETS.register
class ManifestImages(FileSet):
    """The images of a manifest, a table with a row for each (`read_manifest`).

    Args:
        manifest: CSV or Parquet file: absolute, or below $TOOLKIT_DATA, or from here.
        tasks: by name, each with a column of that name.
        columns: the file's own names for columns: `{patient: case_id, malignancy: tirads}`.
        values: by task, what the file writes for a class: `{malignancy: {2: benign}}`;
            null for what counts as missing.
        outside: paths in the manifest may leave its folder.
        patients: 'check' refuses patients that are equal but for case, leading zeros, a trailing
            `.0` and spaces; 'as_written' takes them for different patients.
        **options: see `FileSet`.
    Raises:
        ToolkitError: mistakes in the manifest, images that cannot be read, a patient in two parts.
        ValueError: arguments out of range.
    """

    def __init__(
        self,
        manifest: str,
        tasks: dict[str, Task],
        columns: dict[str, str | None] | None = None,
        values: dict[str, dict[str, str | None]] | None = None,
        outside: bool = False,
        patients: PatientIds = 'check',
        **options: Any,
    ) -> None:
        super().__init__(tasks, **options)
        self.manifest = read_manifest(manifest, tasks, columns, values, outside, patients)
        self.use(self.manifest.records)


@DATASETS.register
class ImageFolder(FileSet):
    """Images in folders that are named after their classes: `FOLDER/malignant/0001.png`.

    Where the folder holds `train`, `val` or `test`, the classes' folders are in those, and they are
    the split unless another is given.

    Args:
        folder: absolute, or below $TOOLKIT_DATA, or from here.
        tasks: one.
        classes: what a folder's name stands for, where it is not the class; null leaves it out.
        patient: regular expression whose first group, found in a file's name, is the patient;
            without it each image is taken for a patient of its own.
        patients: 'check' refuses patients that are equal but for case, leading zeros, a trailing
            `.0` and spaces; 'as_written' takes them for different patients.
        part: of the split that this is; 'all' for every image.
        split: how the images are split.
        **options: see `FileSet`.
    Raises:
        ToolkitError: no such folder, one that is no class, a class without images, a name without a
            patient, images that cannot be read.
        ValueError: arguments out of range.
    """

    def __init__(
        self,
        folder: str,
        tasks: dict[str, Task],
        classes: dict[str, str | None] | None = None,
        patient: str | None = None,
        patients: PatientIds = 'check',
        split: SplitSpec | None = None,
        **options: Any,
    ) -> None:
        if len(tasks) != 1:
            raise ValueError(f'folders tell the classes of one task, found {len(tasks)}')
        root = data_folder(folder)
        parts = [part for part in PARTS if (root / part).is_dir()]
        if parts and split is None:
            split = SplitSpec(by='column', column='part', val=0)
        super().__init__(tasks, split=split, **options)
        records: list[Record] = []
        for part in parts or ['']:
            records += _records(root, part, tasks, classes or {}, patient)
        if patient is not None and patients == 'check':
            _check_patients(records)
        self.use(records)


def _check_patients(records: list[Record]) -> None:
    first: dict[str, str] = {}  # an image of each patient
    for record in records:
        first.setdefault(record.patient, record.id)
    mistakes = []
    for names in find_ambiguous_ids(first):
        found = ', '.join(f'{name!r} ({first[name]})' for name in names)
        mistakes.append(
            f'the patients {found} {REASON}; name the files of one patient in one way, or allow it '
            'with `patients: as_written`'
        )
    if mistakes:
        raise ToolkitError('\n'.join(mistakes))


def _records(
    root: Path,
    part: str,
    tasks: Mapping[str, Task],
    named: Mapping[str, str | None],
    patient: str | None,
) -> list[Record]:
    ((task_name, task),) = tasks.items()
    try:
        pattern = re.compile(patient) if patient is not None else None
    except re.error as error:
        raise ValueError(f'patient is no regular expression: {error}') from error
    if pattern is not None and not pattern.groups:
        raise ValueError(f'patient: {patient!r} has no group ( ) that is the patient')
    records, problems = [], []
    for folder in sorted(path for path in (root / part).iterdir() if path.is_dir()):
        if folder.name.startswith('.') or (folder.name in named and named[folder.name] is None):
            continue
        label = named.get(folder.name, folder.name)
        if label not in task.classes:
            known = [*task.classes, *named]
            problems.append(
                f'{folder}: {label!r} is no class of {task_name}{did_you_mean(str(label), known)}; '
                f'there are: {", ".join(task.classes)}; say what it is by `classes: '
                f'{{{folder.name}: CLASS}}`, or null to leave it out'
            )
            continue
        for path in sorted(folder.rglob('*')):
            if path.suffix.lower() not in SUFFIXES or path.name.startswith('.'):
                continue
            name = path.relative_to(root).as_posix()
            found = pattern.search(path.name) if pattern is not None else None
            if pattern is not None and (found is None or not found[1]):
                problems.append(f'{path}: its name has no patient by {patient!r}')
                continue
            records.append(
                Record(
                    id=name,
                    path=Path(os.path.normpath(path)),
                    patient=found[1] if found is not None else name,
                    labels={task_name: label},
                    attributes={'part': part} if part else {},
                )
            )
    if problems:
        raise ToolkitError('\n'.join(problems))
    if not records:
        raise ToolkitError(
            f'{root / part} has no images in folders; expected FOLDER/CLASS/IMAGE with '
            f'{", ".join(task.classes)} for CLASS and one of {", ".join(SUFFIXES)}'
        )
    return records
