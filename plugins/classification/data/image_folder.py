"""Datasets of image files by folders named after the classes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from plugins.classification.data.folder_layout import (
    ImageSelection,
    check_unused,
    find_subsets,
    list_folders,
)
from plugins.classification.data.image_files import FileSet
from plugins.classification.data.manifests.patient_ids import REASON, PatientIds, find_ambiguous_ids
from plugins.classification.data.reading.image_io import SUFFIXES
from plugins.classification.data.reading.mask_files import exclude_pattern, find_masks
from plugins.classification.data.reading.unreadable import NAMED
from plugins.classification.data.split import SplitSpec
from plugins.classification.image_record import Record
from plugins.classification.tasks import Task
from toolkit.errors import DataError, ToolkitError, did_you_mean
from toolkit.io.data_paths import find_data_folder
from toolkit.registry import DATASETS


@DATASETS.register
class ImageFolder(FileSet):
    """Dataset of images in folders named after their classes: `FOLDER/malignant/0001.png`.

    If the folder holds `train`, `val` (or `valid`, `validation`) or `test`, the folders of classes
    are in those, which are the split unless `split` states another. Images in no folder of a class
    are an error, unless they are left out by name.

    Args:
        folder: absolute, or below $TOOLKIT_DATA or the current folder.
        tasks: one task, by name.
        classes: class of a folder that is not named after it; null leaves a folder out.
        patient: regular expression; its first group, searched in the file name, is the patient.
            Without it, each image counts as a patient.
        patients: 'check' refuses patients that differ only in case, leading zeros, a trailing `.0`
            or spaces; 'as_written' treats them as different patients.
        include: pattern or patterns, as `*.png`; only files whose path from the folder matches one
            are read.
        exclude: pattern or patterns, as `*_mask*`; files whose path from the folder matches one are
            left out.
        masks: 'check' refuses segmentation masks: nearly binary files that are named after another
            image (`x_mask.png` beside `x.png`); 'as_images' treats them as images.
        subset: subset of the split that the dataset holds; 'all' for every image.
        split: assignment of images to subsets.
        **options: see `FileSet`.
    Raises:
        ToolkitError: the folder does not exist or has no images, a folder is no class, images are
            in no folder of a class, a file name has no patient, or images cannot be read.
        DataError: there are masks among the images.
        ValueError: an argument is out of range.
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
            raise ValueError(f'folders name the classes of one task, found {len(tasks)} tasks')
        root = find_data_folder(folder)
        named = classes or {}
        selection = ImageSelection(root, include, exclude)
        ((_, task),) = tasks.items()
        subsets = find_subsets(selection, {*task.classes, *named})
        if subsets and split is None:
            split = SplitSpec(by='column', column='subset', val=0)
        super().__init__(tasks, split=split, **options)
        check_unused(selection, list(subsets), named)
        records: list[Record] = []
        for place, subset in (subsets or {'': ''}).items():
            records += _find_records(selection, place, subset, tasks, named, patient)
        if masks == 'check':
            _check_masks(root, records)
        if patient is not None and patients == 'check':
            _check_patients(records)
        self.use_records(records)


def _check_masks(root: Path, records: Sequence[Record]) -> None:
    """Refuses images that seem to be segmentation masks.

    Raises:
        DataError: there are some; names the first ones.
    """
    by_class: dict[Path, list[Path]] = {}
    for record in records:
        assert record.path is not None
        (label,) = record.labels.values()
        subset = record.attributes.get('subset', '')
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
                f'`exclude: {advice}`, or treat them as images with `masks: as_images`:',
                *told,
            ]
        )
    )


def _find_records(
    selection: ImageSelection,
    place: str,
    subset: str,
    tasks: Mapping[str, Task],
    named: Mapping[str, str | None],
    patient: str | None,
) -> list[Record]:
    ((task_name, task),) = tasks.items()
    try:
        pattern = re.compile(patient) if patient is not None else None
    except re.error as error:
        raise ValueError(f'patient is not a regular expression: {error}') from error
    if pattern is not None and not pattern.groups:
        raise ValueError(f'patient: {patient!r} has no group ( ) for the patient')
    root = selection.root
    records, problems = [], []
    for folder in list_folders(root / place):
        if named.get(folder.name, '') is None:
            continue
        label = named.get(folder.name, folder.name)
        if label not in task.classes:
            hint = did_you_mean(str(label), [*task.classes, *named])
            problems.append(
                f'{folder}: {label!r} is not a class of {task_name}{hint}; '
                f'there are: {", ".join(task.classes)}; name its class with `classes: '
                f'{{{folder.name}: CLASS}}`, or null to leave it out'
            )
            continue
        for name, path in selection.find(folder):
            found = pattern.search(path.name) if pattern is not None else None
            if pattern is not None and (found is None or not found[1]):
                problems.append(f'{path}: its name has no patient that matches {patient!r}')
                continue
            records.append(
                Record(
                    id=name,
                    path=Path(os.path.normpath(path)),
                    patient=found[1] if found is not None else name,
                    labels={task_name: label},
                    attributes={'subset': subset} if subset else {},
                )
            )
    if problems:
        raise ToolkitError('\n'.join(problems))
    if not records:
        raise ToolkitError(
            f'{root / place} has no images in folders{selection.describe()}; expected '
            f'FOLDER/CLASS/IMAGE with {", ".join(task.classes)} for CLASS and one of '
            f'{", ".join(SUFFIXES)}'
        )
    return records


def _check_patients(records: list[Record]) -> None:
    first: dict[str, str] = {}  # an image of each patient
    for record in records:
        first.setdefault(record.patient, record.id)
    mistakes = []
    for names in find_ambiguous_ids(first):
        found = ', '.join(f'{name!r} ({first[name]})' for name in names)
        mistakes.append(
            f'the patients {found} {REASON}; write each patient in one way, or allow it '
            'with `patients: as_written`'
        )
    if mistakes:
        raise ToolkitError('\n'.join(mistakes))
