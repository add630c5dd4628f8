"""Findings of an audit as tables, for the terminal and the page, and as JSON values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from plugins.classification.audit.findings import Audit, Cluster


class Sheet(NamedTuple):
    """A table of words and numbers with a sentence below it.

    Attributes:
        listing: whether it lists images; then the terminal shows its first rows.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str | int, ...]]
    note: str = ''
    listing: bool = False


def make_sheets(audit: Audit) -> list[Sheet]:
    """Makes all tables that have rows, faults before counts."""
    wrong = [*_list_damage(audit), *_count_leaks(audit), *_list_clusters(audit)]
    made = [_make_overview(audit), *wrong, *_count_formats(audit), *_count_classes(audit)]
    return [sheet for sheet in made if sheet.rows]


def summarize(audit: Audit) -> list[tuple[str, int]]:
    """Counts the findings of each kind."""
    near = audit.near
    found = [
        ('images', len(audit.records)),
        ('patients', len({r.patient for r in audit.records}) if audit.has_patients() else 0),
        ('images that cannot be read', len(audit.find_unreadable())),
        ('images of one value', len(audit.find_blank())),
        ('segmentation masks', len(audit.masks)),
        ('boxes outside their image', len(audit.find_boxes_outside())),
        ('clusters of equal files', len(audit.files)),
        ('clusters of equal pixels', len(audit.pixels)),
        ('clusters of nearly the same images', len(near)),
        ('images in these', sum(map(len, near))),
    ]
    if audit.has_patients():
        across = sum(len(audit.list_patients(cluster)) > 1 for cluster in near)
        found.append(('clusters across patients', across))
    for task in audit.tasks:
        found.append((f'clusters with different labels of {task}', len(audit.find_conflicts(task))))
    if audit.annotated:
        found.append(('annotation files', audit.annotated))
        found.append(('damaged annotation files', len(audit.annotations)))
    return found


def to_json(audit: Audit) -> dict[str, Any]:
    """Converts all findings to JSON values, images by their id."""

    def ids(found: Sequence[Cluster]) -> list[list[str]]:
        return [[audit.records[i].id for i in cluster] for cluster in found]

    def list_leaks(leaks: dict[tuple[str, str], list[Cluster]]) -> list[dict[str, Any]]:
        return [
            {
                'subsets': list(subsets),
                'clusters': ids(found),
                'images': {subset: audit.count_images(found, subset) for subset in subsets},
            }
            for subsets, found in leaks.items()
        ]

    return {
        'file': audit.name,
        'summary': dict(summarize(audit)),
        'unreadable': {audit.records[i].id: why for i, why in audit.find_unreadable().items()},
        'blank': [audit.records[i].id for i in audit.find_blank()],
        'masks': {
            audit.records[mask].id: audit.records[image].id for mask, image in audit.masks.items()
        },
        'boxes_outside': [
            [audit.records[i].id, list(box)] for i, box in audit.find_boxes_outside()
        ],
        'equal_files': ids(audit.files),
        'equal_pixels': ids(audit.pixels),
        'near': ids(audit.near),
        'pairs': [
            {
                'images': [audit.records[p.first].id, audit.records[p.second].id],
                'correlation': round(p.whole, 4),
                'detail': round(p.detail, 4),
            }
            for p in audit.pairs
        ],
        'conflicts': {task: ids(audit.find_conflicts(task)) for task in audit.tasks},
        'split': audit.split,
        'leaks': list_leaks(audit.find_leaks()),
        'patients_in_two_subsets': list_leaks(audit.find_shared_patients()),
        'classes': {task: dict(audit.count_classes(task)) for task in audit.tasks},
        'subgroups': {
            column: {
                value: {
                    'images': len(members),
                    **{task: dict(audit.count_classes(task, members)) for task in audit.tasks},
                }
                for value, members in groups.items()
            }
            for column, groups in audit.find_subgroups().items()
        },
        'annotations': dict(audit.annotations),
    }


def _make_overview(audit: Audit) -> Sheet:
    rows = [(name, count) for name, count in summarize(audit) if name != 'patients' or count]
    unknown = 'Patients are not known: each image counts as a patient.'
    return Sheet('Overview', ('finding', 'number'), rows, '' if audit.has_patients() else unknown)


def _list_damage(audit: Audit) -> list[Sheet]:
    name = _namer(audit)
    boxes = [
        (name(i), ', '.join(f'{edge:g}' for edge in box), '{1} x {0}'.format(*audit.scans[i].size))
        for i, box in audit.find_boxes_outside()
    ]
    unreadable = [(name(i), why) for i, why in audit.find_unreadable().items()]
    annotations = list(audit.annotations.items())
    return [
        Sheet('Images that cannot be read', ('image', 'reason'), unreadable, listing=True),
        Sheet(
            'Images of one value',
            ('image',),
            [(name(i),) for i in audit.find_blank()],
            listing=True,
        ),
        Sheet(
            'Segmentation masks, which are no images of their own',
            ('mask', 'image'),
            [(name(mask), name(image)) for mask, image in audit.masks.items()],
            listing=True,
        ),
        Sheet('Boxes outside their image', ('image', 'box', 'size'), boxes, listing=True),
        Sheet('Damaged annotation files', ('file', 'fault'), annotations, listing=True),
    ]


def _count_formats(audit: Audit) -> list[Sheet]:
    formats = Counter(scan.format for scan in audit.scans if not scan.error)
    sizes = Counter(scan.size for scan in audit.scans if not scan.error)
    shown = [(f'{w} x {h}', count) for (h, w), count in sizes.most_common(8)]
    rest = sum(count for _, count in sizes.most_common()[8:])
    shown += [(f'{len(sizes) - 8} other sizes', rest)] if rest else []
    return [
        Sheet('Sizes', ('width x height', 'images'), shown),
        Sheet('Kinds of files', ('format, mode', 'images'), formats.most_common()),
    ]


def _count_leaks(audit: Audit) -> list[Sheet]:
    columns = ('subsets', 'how many', 'images in the first', 'images in the second')

    def rows(leaks: dict[tuple[str, str], list[Cluster]]) -> list[tuple[str | int, ...]]:
        return [
            (
                ' and '.join(pair),
                len(found),
                *(audit.count_images(found, subset) for subset in pair),
            )
            for pair, found in leaks.items()
        ]

    near = Sheet(
        f'Nearly the same images in two subsets of {audit.split}',
        columns,
        rows(audit.find_leaks()),
        'Scores on a subset that shares images with the training are too good.',
    )
    if not audit.has_patients():
        return [near]
    patients = Sheet(
        f'Patients in two subsets of {audit.split}', columns, rows(audit.find_shared_patients())
    )
    return [near, patients]


def _list_clusters(audit: Audit) -> list[Sheet]:
    name = _namer(audit)

    def make_rows(found: Sequence[Cluster]) -> list[tuple[str | int, ...]]:
        return [(len(c), ' '.join(map(name, c)), *_describe_cluster(audit, c)) for c in found]

    columns = ('images', 'which', *audit.tasks, *(('subsets',) if audit.split else ()))
    differing = [
        c for c in audit.near if any(len(audit.list_labels(c, t)) > 1 for t in audit.tasks)
    ]
    across = (
        [c for c in audit.near if len(audit.list_patients(c)) > 1] if audit.has_patients() else []
    )
    return [
        Sheet(
            'Nearly the same, with different labels', columns, make_rows(differing), listing=True
        ),
        Sheet('Nearly the same, of different patients', columns, make_rows(across), listing=True),
        Sheet('Equal pixels', columns, make_rows(audit.pixels), listing=True),
        Sheet('Nearly the same', columns, make_rows(audit.near), listing=True),
    ]


def _describe_cluster(audit: Audit, cluster: Cluster) -> tuple[str, ...]:
    labels = tuple(', '.join(audit.list_labels(cluster, task)) for task in audit.tasks)
    return (*labels, ', '.join(audit.list_subsets(cluster))) if audit.split else labels


def _count_classes(audit: Audit) -> list[Sheet]:
    made = []
    groups = audit.find_subgroups()
    for task in audit.tasks:
        classes = audit.count_classes(task)
        total = len(audit.records)
        rows = [(name, n, f'{100 * n / total:.1f} %') for name, n in classes.items()]
        made.append(Sheet(f'Classes of {task}', ('class', 'images', 'share'), rows))
        columns = ('subgroup', 'images', *classes)
        rows = [
            (
                f'{column}: {value}',
                len(members),
                *(audit.count_classes(task, members)[name] for name in classes),
            )
            for column, values in groups.items()
            for value, members in values.items()
        ]
        made.append(Sheet(f'Subgroups by {task}', columns, rows))
    if not audit.tasks:
        rows = [(f'{c}: {v}', len(m)) for c, values in groups.items() for v, m in values.items()]
        made.append(Sheet('Subgroups', ('subgroup', 'images'), rows))
    return made


def _namer(audit: Audit) -> Any:
    return lambda position: audit.records[position].id
