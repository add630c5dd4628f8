"""Finds images and patients of a training among those of an external test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from plugins.classification.audit.duplicates import find_near_pairs
from plugins.classification.audit.scan import ScanResult, scan
from plugins.classification.audit.sources import AuditSource
from plugins.classification.data.image_dataset import ImageSet
from plugins.classification.data.manifests.patient_ids import normalize_id
from plugins.classification.image_record import list_known_patients
from toolkit.io.verification.hashing import hash_files


@dataclass(frozen=True)
class KnownImage:
    """An external image that the training knows.

    Attributes:
        id: name of the external image.
        reason: 'patient', 'file', 'pixels' or 'nearly the same'.
        other: id of the image of the training, or its patient.
        subset: subset of the training that holds it.
    """

    id: str
    reason: str
    other: str
    subset: str

    def to_json(self) -> dict[str, str]:
        return dataclasses.asdict(self)


class SubsetSource(AuditSource):
    """Images of the subset that a dataset holds.

    Args:
        data: the dataset.
    """

    tasks = ()

    def __init__(self, data: ImageSet) -> None:
        self.name, self.records = type(data).__name__, data.records
        self._data = data

    def read(self, position: int) -> np.ndarray:
        return self._data.read(self._data.positions[position])[0]

    def describe_file(self, position: int) -> tuple[str, str]:
        path, frame = self.records[position].path, self.records[position].frame
        if path is None:
            return '', 'no file'
        return hash_files(path) + (f'#{frame}' if frame else ''), path.suffix


def find_known_images(
    external: ImageSet, training: Mapping[str, ImageSet]
) -> tuple[list[KnownImage], list[str]]:
    """Finds external images that the training knows, each with the strongest reason.

    Patients are compared by `normalize_id`, where both sides know them. Files are compared by their
    bytes, images by their pixels and by the audit's comparison of small copies.

    Args:
        external: the external images.
        training: datasets of the training by subset, such as 'train' and 'val'.
    Returns:
        The known images, in the order of the external ones; and comparisons that were not possible.
    """
    found: dict[int, KnownImage] = {}
    gaps = []
    own = scan(SubsetSource(external))
    for subset, data in training.items():
        theirs = scan(SubsetSource(data))
        for name, scans in (('external', own), (subset, theirs)):
            if unread := sum(bool(result.error) for result in scans):
                gaps.append(f'{unread} {name} images cannot be read')
        hits = _find_near(own, theirs) | _find_equal(own, theirs)  # the stronger reason
        for position, (reason, other) in hits.items():
            image = KnownImage(
                external.records[position].id, reason, data.records[other].id, subset
            )
            found.setdefault(position, image)
        ours, others = list_known_patients(external.pool), list_known_patients(data.pool)
        if not (ours and others):
            gaps.append(f'patients of the external or the {subset} images are not known')
            continue
        patients = {normalize_id(r.patient): r.patient for r in data.records if r.patient in others}
        for position, record in enumerate(external.records):
            other_name = patients.get(normalize_id(record.patient))
            if record.patient in ours and other_name is not None:
                found.setdefault(position, KnownImage(record.id, 'patient', other_name, subset))
    return [found[position] for position in sorted(found)], list(dict.fromkeys(gaps))


def _find_equal(
    own: Sequence[ScanResult], theirs: Sequence[ScanResult]
) -> dict[int, tuple[str, int]]:
    """Find external images with the file or the pixels of another; the reason and its position."""
    hits: dict[int, tuple[str, int]] = {}
    for reason, key in (('file', 'file'), ('pixels', 'pixels')):
        places = {value: i for i, scan_ in enumerate(theirs) if (value := getattr(scan_, key))}
        for position, result in enumerate(own):
            value = getattr(result, key)
            if value and value in places:
                hits.setdefault(position, (reason, places[value]))
    return hits


def _find_near(
    own: Sequence[ScanResult], theirs: Sequence[ScanResult]
) -> dict[int, tuple[str, int]]:
    readable = [
        (side, position, result)
        for side, results in enumerate((own, theirs))
        for position, result in enumerate(results)
        if result.small is not None
    ]
    if not readable:
        return {}
    small = np.stack([result.small for _, _, result in readable if result.small is not None])
    fine = np.stack([result.fine for _, _, result in readable if result.fine is not None])
    hits: dict[int, tuple[str, int]] = {}
    for pair in find_near_pairs(small, fine):
        (side, position, _), (other_side, other, _) = readable[pair.first], readable[pair.second]
        if side != other_side:
            hits.setdefault(position, ('nearly the same', other))
    return hits
