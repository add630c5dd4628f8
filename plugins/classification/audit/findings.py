"""What an audit finds: from images and their records to duplicates, conflicts, leaks and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from plugins.classification.audit.duplicates import Pair, clusters, near_pairs, same
from plugins.classification.audit.scan import Look
from plugins.classification.data.split_file import SUBSETS
from plugins.classification.image_record import Record

Cluster = tuple[int, ...]
# An attribute with as few values as this tells subgroups apart.
FEW = 12
UNLABELLED = '(missing)'


@dataclass(frozen=True)
class Audit:
    """What was found; images go by their position in `records`.

    Attributes:
        name: of the audited file.
        records: of all images.
        looks: at their files.
        tasks: names.
        files: clusters of files that are equal byte by byte.
        pixels: clusters of images whose pixels are equal.
        near: clusters of images that show nearly the same, equal ones among them.
        pairs: that `near` is made of, without the equal ones.
        subset_of: subset of each image that is in a split, where one was given.
        split: what the split is called.
        annotations: what is wrong with annotation files, by name.
        annotated: how many of them were looked at.
    """

    name: str
    records: Sequence[Record]
    looks: Sequence[Look]
    tasks: tuple[str, ...]
    files: list[Cluster]
    pixels: list[Cluster]
    near: list[Cluster]
    pairs: list[Pair]
    subset_of: Mapping[int, str] = field(default_factory=dict)
    split: str = ''
    annotations: Mapping[str, str] = field(default_factory=dict)
    annotated: int = 0

    # -- files ---------------------------------------------------------------------------------

    def unreadable(self) -> dict[int, str]:
        """Images that cannot be read, with why."""
        return {i: look.error for i, look in enumerate(self.looks) if look.error}

    def blank(self) -> list[int]:
        """Images of one value."""
        return [
            i
            for i, look in enumerate(self.looks)
            if look.small is not None and not np.ptp(look.small)
        ]

    def boxes_outside(self) -> list[tuple[int, tuple[float, ...]]]:
        """Boxes that reach over the edge of their image by half a pixel or more."""
        found = []
        for i, (record, look) in enumerate(zip(self.records, self.looks)):
            height, width = look.size
            for box in record.boxes:
                over = min(box[:2]) <= -0.5 or box[2] >= width + 0.5 or box[3] >= height + 0.5
                if not look.error and over:
                    found.append((i, box))
        return found

    # -- clusters ------------------------------------------------------------------------------

    def values(self, cluster: Cluster, task: str) -> list[str]:
        """Labels of a task that a cluster has."""
        found = {self.records[i].labels.get(task) for i in cluster}
        return sorted(name for name in found if name is not None)

    def conflicts(self, task: str) -> list[Cluster]:
        """Clusters of nearly the same images with different labels."""
        return [cluster for cluster in self.near if len(self.values(cluster, task)) > 1]

    def patients(self, cluster: Cluster) -> list[str]:
        """Whom a cluster shows."""
        return list(dict.fromkeys(self.records[i].patient for i in cluster))

    def knows_patients(self) -> bool:
        """Whether any patient has several images, or another name than its image."""
        return any(record.patient != record.id for record in self.records)

    def subsets(self, cluster: Cluster) -> list[str]:
        """Returns the subsets of the split that a cluster is in."""
        return _ordered({self.subset_of[i] for i in cluster if i in self.subset_of})

    # -- leaks ---------------------------------------------------------------------------------

    def leaks(self) -> dict[tuple[str, str], list[Cluster]]:
        """Clusters that straddle two subsets, by the subsets."""
        return self._straddling(self.near)

    def patients_straddling(self) -> dict[tuple[str, str], list[Cluster]]:
        """Images of patients who are in two subsets, by the subsets."""
        by_patient: dict[str, list[int]] = {}
        for i, record in enumerate(self.records):
            by_patient.setdefault(record.patient, []).append(i)
        return self._straddling([tuple(found) for found in by_patient.values()])

    def _straddling(self, found: Sequence[Cluster]) -> dict[tuple[str, str], list[Cluster]]:
        names = _ordered(set(self.subset_of.values()))
        leaks: dict[tuple[str, str], list[Cluster]] = {pair: [] for pair in combinations(names, 2)}
        for cluster in found:
            inside = set(self.subsets(cluster))
            for pair, held in leaks.items():
                if inside.issuperset(pair):
                    held.append(cluster)
        return leaks

    def images_in(self, found: Sequence[Cluster], subset: str) -> int:
        """How many images of a subset clusters have."""
        return sum(self.subset_of.get(i) == subset for cluster in found for i in cluster)

    # -- counts --------------------------------------------------------------------------------

    def classes(self, task: str, among: Sequence[int] | None = None) -> Counter[str]:
        """How many images each class has, the most frequent first, and how many have none."""
        everything = range(len(self.records)) if among is None else among
        return Counter(
            dict(
                Counter(
                    self.records[i].labels.get(task, UNLABELLED) for i in everything
                ).most_common()
            )
        )

    def subgroups(self) -> dict[str, dict[str, list[int]]]:
        """Images by value of the centre, of the split, and of each attribute with few values."""
        told: dict[str, list[str]] = {'centre': [record.centre for record in self.records]}
        if self.split:
            told[self.split] = [self.subset_of.get(i, '') for i in range(len(self.records))]
        for column in self.records[0].attributes if self.records else ():
            told.setdefault(column, [record.attributes[column] for record in self.records])
        labels = [[record.labels.get(task, '') for record in self.records] for task in self.tasks]
        groups: dict[str, dict[str, list[int]]] = {}
        for column, values in told.items():
            if 2 <= len(set(values)) <= FEW and values not in labels:
                members: dict[str, list[int]] = {}
                for i, value in enumerate(values):
                    members.setdefault(value or UNLABELLED, []).append(i)
                groups[column] = members
        return groups

    def groups(self) -> list[str]:
        """A name for each image that all images share which show the same patient, or nearly the
        same as one of the patient's: the grouping under which no split leaks."""
        links = list(self.near)
        by_patient: dict[str, list[int]] = {}
        for i, record in enumerate(self.records):
            by_patient.setdefault(record.patient, []).append(i)
        links += [tuple(found) for found in by_patient.values()]
        names = [record.id for record in self.records]
        for cluster in clusters(len(names), links):
            for i in cluster:
                names[i] = self.records[cluster[0]].id
        return names


def _ordered(subsets: set[str]) -> list[str]:
    return [*(subset for subset in SUBSETS if subset in subsets), *sorted(subsets - set(SUBSETS))]


def examine(
    name: str,
    records: Sequence[Record],
    looks: Sequence[Look],
    tasks: tuple[str, ...],
    threshold: float = 0.98,
    detail: float = 0.65,
    **told: object,
) -> Audit:
    """Find duplicates, and put together what else is known.

    Args:
        name: of the audited file.
        records: of all images.
        looks: at their files.
        tasks: names.
        threshold: see `near_pairs`.
        detail: see `near_pairs`.
        **told: other attributes of `Audit`.
    """
    files = same([look.file for look in looks])
    pixels = same([look.pixels for look in looks])
    able = [i for i, look in enumerate(looks) if not look.error]
    pairs: list[Pair] = []
    if able:
        small = np.stack([looks[i].small for i in able])
        fine = np.stack([looks[i].fine for i in able])
        pairs = [
            Pair(able[pair.first], able[pair.second], pair.whole, pair.detail)
            for pair in near_pairs(small, fine, threshold, detail)
        ]
        pairs = [p for p in pairs if looks[p.first].pixels != looks[p.second].pixels]
    near = clusters(len(records), [*files, *pixels, *((p.first, p.second) for p in pairs)])
    return Audit(name, records, looks, tasks, files, pixels, near, pairs, **told)  # type: ignore[arg-type]
