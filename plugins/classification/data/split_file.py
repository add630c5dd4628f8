"""Saved splits of images: files that hold ids by subset, checked against the images on use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plugins.classification.image_record import Record
from toolkit.errors import DataError, ToolkitError
from toolkit.io.splits import split_file
from toolkit.io.verification.hashing import hash_json

COMMAND = 'toolkit split MANIFEST'
SUBSETS = ('train', 'val', 'test')


def hash_records(records: Sequence[Record]) -> str:
    """Computes a hash of the images and their patients, on which a valid split depends.

    Labels are not part of it, since datasets may name them differently.
    """
    return hash_json(sorted((record.id, record.patient) for record in records))


def save_split(
    path: Path,
    records: Sequence[Record],
    folds: Sequence[split_file.Fold],
    options: Mapping[str, Any],
) -> str:
    """Writes a split of images; returns the digest of the file.

    Args:
        path: path of the file.
        records: all images that were split.
        folds: ids by subset, one mapping for each fold.
        options: options with which it was made, for readers.
    Raises:
        RunError: the file cannot be written.
    """
    return split_file.write_split(path, folds, hash_records(records), options)


def load_split(path: str | Path, records: Sequence[Record], fold: int) -> dict[str, str]:
    """Reads one fold of a saved split and checks it; returns the subset of each id.

    Args:
        path: absolute, or below $TOOLKIT_DATA, or below the current folder.
        records: all images of the dataset that is split.
        fold: number of the fold, from 0.
    Raises:
        MissingDataError: there is no such file.
        ToolkitError: the file holds no split, or no such fold.
        DataError: the split has an id that the dataset lacks, an id or a patient in two subsets;
            the file was edited; or it was made of other images or patients.
    """
    file = split_file.read_split(path, COMMAND)
    for subset in (subset for one in file.folds for subset in one):
        if subset not in SUBSETS:
            raise ToolkitError(
                f'{file.path} holds no split, as `{COMMAND}` writes it: found the subset '
                f'{subset!r}, expected {", ".join(SUBSETS)}'
            )
    known = {record.id: record for record in records}
    subset_of = file.assign(fold)
    first: dict[str, str] = {}  # an image of each patient
    for name, subset in subset_of.items():
        if name not in known:
            raise DataError(f'{file.path}: the data have no image {name!r} (fold {fold}, {subset})')
        patient = known[name].patient
        other = first.setdefault(patient, name)
        if subset_of[other] != subset:
            raise DataError(
                f'{file.path}: patient {patient} is in two subsets of fold {fold}: {other} in '
                f'{subset_of[other]}, {name} in {subset}; {file.advice}'
            )
    file.check_unchanged()
    file.check_data(
        hash_records(records),
        known.keys(),
        'images or patients than these',
        restore='name ids and patients as they were (`columns`)',
    )
    return subset_of
