"""Datasets of image files: by a manifest, or by folders named after the classes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np

from plugins.classification.data.image_dataset import NAMED, ImageSet
from plugins.classification.data.image_io import SUFFIXES, image_size, picture_region, read_image
from plugins.classification.data.manifest import read_manifest
from plugins.classification.data.mask_files import exclude_pattern, find_masks
from plugins.classification.data.patient_ids import REASON, PatientIds, find_ambiguous_ids
from plugins.classification.data.split import PARTS, SplitSpec
from plugins.classification.image_record import Box, Record
from plugins.classification.tasks import Task
from toolkit.errors import DataError, ToolkitError, did_you_mean
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
        classes: class of a folder that is not named after it; null leaves the folder out.
        patient: regular expression whose first group, found in a file's name, is the patient;
            without it each image is taken for a patient of its own.
        patients: 'check' refuses patients that are equal but for case, leading zeros, a trailing
            `.0` and spaces; 'as_written' takes them for different patients.
        include: a pattern, or several, as `*.png`: files whose path from the folder matches none of
            them are left out.
        exclude: a pattern, or several, as `*_mask*`: files whose path matches one are left out.
        masks: 'check' refuses segmentation masks among the images: files that are nearly binary and
            named after another (`x_mask.png` beside `x.png`); 'as_images' takes them for images.
        part: of the split that this is; 'all' for every image.
        split: how the images are split.
        **options: see `FileSet`.
    Raises:
        ToolkitError: no such folder, one that is no class, a class without images, a name without a
            patient, images that cannot be read.
        DataError: masks among the images.
        ValueError: arguments out of range.
    """

    def __init__(
        self,
        folder: str,
        tasks: dict[str, Task],
        classes: dict[str, str | None] | None = None,
        patient: str | None = None,
        patients: PatientIds = 'check',
        include: str | list[str] | None = None,
        exclude: str | list[str] | None = None,
        masks: Literal['check', 'as_images'] = 'check',
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
        selection = _Selection(root, include, exclude)
        records: list[Record] = []
        for part in parts or ['']:
            records += _records(selection, part, tasks, classes or {}, patient)
        if masks == 'check':
            _check_masks(root, records)
        if patient is not None and patients == 'check':
            _check_patients(records)
        self.use(records)


@dataclass(frozen=True)
class _Selection:
    """Files of a folder that are images, by their names.

    Attributes:
        root: the folder.
        include: patterns of which a path from the folder must match one; None for all.
        exclude: patterns of which it may match none.
    """

    root: Path
    include: str | Sequence[str] | None
    exclude: str | Sequence[str] | None

    def find(self, folder: Path) -> Iterator[tuple[str, Path]]:
        """Yields path from the root, with `/`, and path of each image below a folder."""
        for path in sorted(folder.rglob('*')):
            if path.suffix.lower() not in SUFFIXES or path.name.startswith('.'):
                continue
            name = path.relative_to(self.root).as_posix()
            included = self.include is None or _matches(name, self.include)
            if included and not (self.exclude is not None and _matches(name, self.exclude)):
                yield name, path

    def describe(self) -> str:
        """Returns the patterns, for messages; empty without any."""
        patterns = [
            f'{key}: {value}'
            for key, value in (('include', self.include), ('exclude', self.exclude))
            if value is not None
        ]
        return f' with {", ".join(patterns)}' if patterns else ''


def _matches(name: str, patterns: str | Sequence[str]) -> bool:
    several = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatchcase(name, pattern) for pattern in several)


def _check_masks(root: Path, records: Sequence[Record]) -> None:
    """Refuses images that seem to be segmentation masks.

    Raises:
        DataError: there are some; names the first ones.
    """
    by_class: dict[Path, list[Path]] = {}
    for record in records:
        assert record.path is not None
        (label,) = record.labels.values()
        subset = record.attributes.get('part', '')
        by_class.setdefault(Path(subset, label), []).append(record.path)
    pairs = [pair for paths in by_class.values() for pair in find_masks(paths)]
    if not pairs:
        return
    told = [
        f'  {os.path.relpath(mask, root)}, named after {os.path.relpath(image, root)}'
        for image, mask in pairs[:NAMED]
    ]
    if len(pairs) > NAMED:
        told.append(f'  and {len(pairs) - NAMED} more')
    patterns = sorted({exclude_pattern(*pair) for pair in pairs})
    quoted = [f"'{pattern}'" for pattern in patterns]
    advice = quoted[0] if len(quoted) == 1 else f'[{", ".join(quoted)}]'
    raise DataError(
        '\n'.join(
            [
                f'{root}: {len(pairs)} of {len(records)} images seem to be segmentation masks: '
                'they are nearly binary and named after another image; leave them out with '
                f'`exclude: {advice}`, or take them for images with `masks: as_images`:',
                *told,
            ]
        )
    )


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
    selection: _Selection,
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
    root = selection.root
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
        for name, path in selection.find(folder):
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
            f'{root / part} has no images in folders{selection.describe()}; expected '
            f'FOLDER/CLASS/IMAGE with {", ".join(task.classes)} for CLASS and one of '
            f'{", ".join(SUFFIXES)}'
        )
    return records
