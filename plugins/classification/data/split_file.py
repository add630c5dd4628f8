"""Splits saved to a file, with a hash of what they were made of, checked when they are used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plugins.classification.image_record import Record
from toolkit.errors import DataError, ToolkitError
from toolkit.io import atomic_write
from toolkit.io.data_paths import data_path, record_digest

FORMAT = 1
Fold = Mapping[str, Sequence[str]]  # ids by part


def digest_of(records: Sequence[Record]) -> str:
    """A hash of what keeps a split honest: which images there are, and whom they show.

    Labels are not part of it, as data sets may name them otherwise than the manifest does.
    """
    told = sorted((record.id, record.patient) for record in records)
    return hashlib.sha256(json.dumps(told, ensure_ascii=False).encode()).hexdigest()


def save_split(
    path: Path, records: Sequence[Record], folds: Sequence[Fold], how: Mapping[str, Any]
) -> str:
    """Write the ids by part and fold, with the records' hash and its own; returns the latter.

    Args:
        path: of the file.
        records: all of the data set.
        folds: ids by part, one mapping for each fold.
        how: they were made, for the reader.
    Raises:
        RunError: the file cannot be written.
    """
    record: dict[str, Any] = {
        'format': FORMAT,
        'records': {'count': len(records), 'digest': digest_of(records)},
        'made': dict(how),
        'folds': [{part: list(ids) for part, ids in fold.items()} for fold in folds],
    }
    record['digest'] = record_digest(record)
    atomic_write.write(path, json.dumps(record, indent=1, ensure_ascii=False) + '\n')
    return record['digest']


def read_split(path: str | Path, records: Sequence[Record], fold: int) -> dict[str, str]:
    """The part of each id in a fold of a saved split, after checking it against the records.

    Args:
        path: absolute, or below $TOOLKIT_DATA, or from here.
        records: all of the data set that is split.
        fold: from 0.
    Raises:
        MissingDataError: no such file.
        ToolkitError: no file of splits, or no such fold.
        DataError: an id that the data do not have or that is in two places, a patient in two
            parts, a file that was edited, or of other data than these.
    """
    file = data_path(path)
    folds, digest, made_of = _parsed(file)
    if fold >= len(folds):
        raise ToolkitError(f'{file} has {len(folds)} folds, and fold {fold} (from 0) is asked for')
    known = {record.id: record for record in records}
    again = 'make it anew: toolkit folds MANIFEST --overwrite'
    part_of: dict[str, str] = {}
    held: dict[str, tuple[str, str]] = {}  # by patient: its part and an image there
    for part, ids in folds[fold].items():
        for name in ids:
            if name not in known:
                raise DataError(f'{file}: the data have no image {name!r} (fold {fold}, {part})')
            if name in part_of:
                raise DataError(
                    f'{file}: {name} is in {part_of[name]} and in {part} of fold {fold}; {again}'
                )
            part_of[name] = part
            patient = known[name].patient
            other, image = held.setdefault(patient, (part, name))
            if other != part:
                raise DataError(
                    f'{file}: patient {patient} is in two parts of fold {fold}: {image} in '
                    f'{other}, {name} in {part}; {again}'
                )
    if digest[0] != digest[1]:
        raise DataError(f'{file} was changed after it was made; restore it, or {again}')
    if made_of != digest_of(records):
        new = sorted(known.keys() - {i for one in folds for ids in one.values() for i in ids})
        found = f' (new: {", ".join(new[:3])}{" ..." if len(new) > 3 else ""})' if new else ''
        raise DataError(
            f'{file} was made of other images or patients than these{found}; name ids and patients '
            f'as they were (`columns`), or {again}, which may move images from part to part'
        )
    return part_of


def _parsed(file: Path) -> tuple[list[dict[str, list[str]]], tuple[str, str], str]:
    """The folds; the hash that the file states and the one that it has; that of its records."""
    try:
        record = json.loads(file.read_text('utf-8'))
        folds, made_of = record['folds'], record['records']['digest']
        whole = all(
            part in ('train', 'val', 'test') and all(isinstance(name, str) for name in ids)
            for fold in folds
            for part, ids in fold.items()
        )
        if not whole or not folds:
            raise ValueError
        return folds, (record['digest'], record_digest(record)), made_of
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ToolkitError(
            f'{file} is no file of splits, as `toolkit folds` writes them'
        ) from error
