"""Findings of an audit: duplicates, label conflicts, leaks between subsets, and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from plugins.classification.audit.duplicates import Pair, find_clusters, find_equal, find_near_pairs
from plugins.classification.audit.scan import ScanResult
from plugins.classification.data.reading.mask_files import find_masks
from plugins.classification.data.split_file import SUBSETS
from plugins.classification.image_record import Record

Cluster = tuple[int, ...]
# Attributes with at most this number of values define subgroups.
FEW = 12
UNLABELLED = '(missing)'


@dataclass(frozen=True)
class Audit:
    """Findings; images are given by their position in `records`.

    Attributes:
        name: name of the audited file.
        records: records of all images.
        scans: scan result of each image.
        tasks: names of the tasks.
        files: clusters of equal files.
        pixels: clusters of images with equal pixels.
        near: clusters of images that are equal or nearly the same.
        pairs: pairs of images that are nearly the same, without equal ones.
        subset_of: subset of each image that is in the split; empty without a split.
        split: name of the split; '' without one.
        annotations: faults of damaged annotation files, by name.
        annotated: number of annotation files that were checked.
        masks: image of each segmentation mask among the images, see `find_masks`.
    """

    name: str
    records: Sequence[Record]
    scans: Sequence[ScanResult]
    tasks: tuple[str, ...]
    files: list[Cluster]
    pixels: list[Cluster]
    near: list[Cluster]
    pairs: list[Pair]
    subset_of: Mapping[int, str] = field(default_factory=dict)
    split: str = ''
    annotations: Mapping[str, str] = field(default_factory=dict)
    annotated: int = 0
    masks: Mapping[int, int] = field(default_factory=dict)

    # -- files ---------------------------------------------------------------------------------

    def find_unreadable(self) -> dict[int, str]:
        """Returns the images that cannot be read, with the reason."""
        return {i: scan.error for i, scan in enumerate(self.scans) if scan.error}

    def find_blank(self) -> list[int]:
        """Returns the images in which all pixels are equal."""
        return [
            i
            for i, scan in enumerate(self.scans)
            if scan.small is not None and not np.ptp(scan.small)
        ]

    def find_boxes_outside(self) -> list[tuple[int, tuple[float, ...]]]:
        """Returns the boxes that end half a pixel or more outside their image."""
        found = []
        for i, (record, scan) in enumerate(zip(self.records, self.scans)):
            height, width = scan.size
            for box in record.boxes:
                over = min(box[:2]) <= -0.5 or box[2] >= width + 0.5 or box[3] >= height + 0.5
                if not scan.error and over:
                    found.append((i, box))
        return found

    # -- clusters ------------------------------------------------------------------------------

    def list_labels(self, cluster: Cluster, task: str) -> list[str]:
        """Returns the labels of a task in a cluster."""
        found = {self.records[i].labels.get(task) for i in cluster}
        return sorted(name for name in found if name is not None)

    def find_conflicts(self, task: str) -> list[Cluster]:
        """Returns the clusters with different labels of a task."""
        return [cluster for cluster in self.near if len(self.list_labels(cluster, task)) > 1]

    def list_patients(self, cluster: Cluster) -> list[str]:
        """Returns the patients in a cluster."""
        return list(dict.fromkeys(self.records[i].patient for i in cluster))

    def has_patients(self) -> bool:
        """Tells whether patients are known: some differ from the ids of their images."""
        return any(record.patient != record.id for record in self.records)

    def list_subsets(self, cluster: Cluster) -> list[str]:
        """Returns the subsets of the split that a cluster is in."""
        return _sort_subsets({self.subset_of[i] for i in cluster if i in self.subset_of})

    # -- leaks ---------------------------------------------------------------------------------

    def find_leaks(self) -> dict[tuple[str, str], list[Cluster]]:
        """Returns the clusters with images in two subsets, by pair of subsets."""
        return self._find_leaking(self.near)

    def find_shared_patients(self) -> dict[tuple[str, str], list[Cluster]]:
        """Returns the images of patients who are in two subsets, by pair of subsets."""
        by_patient: dict[str, list[int]] = {}
        for i, record in enumerate(self.records):
            by_patient.setdefault(record.patient, []).append(i)
        return self._find_leaking([tuple(found) for found in by_patient.values()])

    def _find_leaking(self, found: Sequence[Cluster]) -> dict[tuple[str, str], list[Cluster]]:
        names = _sort_subsets(set(self.subset_of.values()))
        leaks: dict[tuple[str, str], list[Cluster]] = {pair: [] for pair in combinations(names, 2)}
        for cluster in found:
            inside = set(self.list_subsets(cluster))
            for pair, leaking in leaks.items():
                if inside.issuperset(pair):
                    leaking.append(cluster)
        return leaks

    def count_images(self, found: Sequence[Cluster], subset: str) -> int:
        """Counts the images of a subset in clusters."""
        return sum(self.subset_of.get(i) == subset for cluster in found for i in cluster)

    # -- counts --------------------------------------------------------------------------------

    def count_classes(self, task: str, among: Sequence[int] | None = None) -> Counter[str]:
        """Counts the images of each class, the most frequent first, and those without a label."""
        everything = range(len(self.records)) if among is None else among
        return Counter(
            dict(
                Counter(
                    self.records[i].labels.get(task, UNLABELLED) for i in everything
                ).most_common()
            )
        )

    def find_subgroups(self) -> dict[str, dict[str, list[int]]]:
        """Groups images by the centre, the subset, and each attribute with few values."""
        values_of: dict[str, list[str]] = {'centre': [record.centre for record in self.records]}
        if self.split:
            values_of[self.split] = [self.subset_of.get(i, '') for i in range(len(self.records))]
        for column in self.records[0].attributes if self.records else ():
            values_of.setdefault(column, [record.attributes[column] for record in self.records])
        labels = [[record.labels.get(task, '') for record in self.records] for task in self.tasks]
        groups: dict[str, dict[str, list[int]]] = {}
        for column, values in values_of.items():
            if 2 <= len(set(values)) <= FEW and values not in labels:
                members: dict[str, list[int]] = {}
                for i, value in enumerate(values):
                    members.setdefault(value or UNLABELLED, []).append(i)
                groups[column] = members
        return groups

    def name_groups(self) -> list[str]:
        """Names the group of each image: its patient, joined with those of nearly equal images.

        A split that keeps these groups together does not leak.
        """
        links = list(self.near)
        by_patient: dict[str, list[int]] = {}
        for i, record in enumerate(self.records):
            by_patient.setdefault(record.patient, []).append(i)
        links += [tuple(found) for found in by_patient.values()]
        names = [record.id for record in self.records]
        for cluster in find_clusters(len(names), links):
            for i in cluster:
                names[i] = self.records[cluster[0]].id
        return names


def _sort_subsets(subsets: set[str]) -> list[str]:
    return [*(subset for subset in SUBSETS if subset in subsets), *sorted(subsets - set(SUBSETS))]


def _find_masks(records: Sequence[Record], scans: Sequence[ScanResult]) -> dict[int, int]:
    position = {
        record.path: i
        for i, (record, scan) in enumerate(zip(records, scans))
        if record.path is not None and not scan.error
    }
    return {position[mask]: position[image] for image, mask in find_masks(position)}


def examine(
    name: str,
    records: Sequence[Record],
    scans: Sequence[ScanResult],
    tasks: tuple[str, ...],
    threshold: float = 0.98,
    detail: float = 0.65,
    **attributes: object,
) -> Audit:
    """Finds duplicates and assembles the findings.

    Args:
        name: name of the audited file.
        records: records of all images.
        scans: scan result of each image.
        tasks: names of the tasks.
        threshold: see `find_near_pairs`.
        detail: see `find_near_pairs`.
        **attributes: other attributes of `Audit`.
    """
    files = find_equal([scan.file for scan in scans])
    pixels = find_equal([scan.pixels for scan in scans])
    readable = [i for i, scan in enumerate(scans) if not scan.error]
    pairs: list[Pair] = []
    if readable:
        small = np.stack([scans[i].small for i in readable])
        fine = np.stack([scans[i].fine for i in readable])
        pairs = [
            Pair(readable[pair.first], readable[pair.second], pair.whole, pair.detail)
            for pair in find_near_pairs(small, fine, threshold, detail)
        ]
        pairs = [p for p in pairs if scans[p.first].pixels != scans[p.second].pixels]
    near = find_clusters(len(records), [*files, *pixels, *((p.first, p.second) for p in pairs)])
    attributes.setdefault('masks', _find_masks(records, scans))
    return Audit(name, records, scans, tasks, files, pixels, near, pairs, **attributes)  # type: ignore[arg-type]
