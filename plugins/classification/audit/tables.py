"""An audit's findings as tables, for the terminal and the page, and as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from plugins.classification.audit.findings import Audit, Cluster


class Sheet(NamedTuple):
    """A table: rows of words and numbers, and a sentence below it.

    Attributes:
        listing: whether it lists images, so that its beginning says most.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str | int, ...]]
    note: str = ''
    listing: bool = False


def sheets(audit: Audit) -> list[Sheet]:
    """All tables that have something to say, what is wrong before the counts."""
    wrong = [*_damage(audit), *_leaks(audit), *_clusters(audit)]
    made = [_overview(audit), *wrong, *_forms(audit), *_counts(audit)]
    return [sheet for sheet in made if sheet.rows]


def summary(audit: Audit) -> list[tuple[str, int]]:
    """What was found, in numbers."""
    near = audit.near
    found = [
        ('images', len(audit.records)),
        ('patients', len({r.patient for r in audit.records}) if audit.knows_patients() else 0),
        ('images that cannot be read', len(audit.unreadable())),
        ('images of one value', len(audit.blank())),
        ('boxes outside their image', len(audit.boxes_outside())),
        ('clusters of equal files', len(audit.files)),
        ('clusters of equal pixels', len(audit.pixels)),
        ('clusters of nearly the same images', len(near)),
        ('images in these', sum(map(len, near))),
    ]
    if audit.knows_patients():
        across = sum(len(audit.patients(cluster)) > 1 for cluster in near)
        found.append(('clusters across patients', across))
    for task in audit.tasks:
        found.append((f'clusters with different labels of {task}', len(audit.conflicts(task))))
    if audit.annotated:
        found.append(('annotation files', audit.annotated))
        found.append(('damaged annotation files', len(audit.annotations)))
    return found


def plain(audit: Audit) -> dict[str, Any]:
    """Everything as plain values, images by their id."""

    def ids(found: Sequence[Cluster]) -> list[list[str]]:
        return [[audit.records[i].id for i in cluster] for cluster in found]

    def straddling(leaks: dict[tuple[str, str], list[Cluster]]) -> list[dict[str, Any]]:
        return [
            {
                'subsets': list(subsets),
                'clusters': ids(found),
                'images': {subset: audit.images_in(found, subset) for subset in subsets},
            }
            for subsets, found in leaks.items()
        ]

    return {
        'file': audit.name,
        'summary': dict(summary(audit)),
        'unreadable': {audit.records[i].id: why for i, why in audit.unreadable().items()},
        'blank': [audit.records[i].id for i in audit.blank()],
        'boxes_outside': [[audit.records[i].id, list(box)] for i, box in audit.boxes_outside()],
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
        'conflicts': {task: ids(audit.conflicts(task)) for task in audit.tasks},
        'split': audit.split,
        'leaks': straddling(audit.leaks()),
        'patients_in_two_subsets': straddling(audit.patients_straddling()),
        'classes': {task: dict(audit.classes(task)) for task in audit.tasks},
        'subgroups': {
            column: {
                value: {
                    'images': len(members),
                    **{task: dict(audit.classes(task, members)) for task in audit.tasks},
                }
                for value, members in groups.items()
            }
            for column, groups in audit.subgroups().items()
        },
        'annotations': dict(audit.annotations),
    }


def _overview(audit: Audit) -> Sheet:
    rows = [(name, count) for name, count in summary(audit) if name != 'patients' or count]
    unknown = 'Patients are not known: each image is taken for one of its own.'
    return Sheet('Overview', ('what', 'number'), rows, '' if audit.knows_patients() else unknown)


def _damage(audit: Audit) -> list[Sheet]:
    name = _namer(audit)
    boxes = [
        (name(i), ', '.join(f'{edge:g}' for edge in box), '{1} x {0}'.format(*audit.looks[i].size))
        for i, box in audit.boxes_outside()
    ]
    unreadable = [(name(i), why) for i, why in audit.unreadable().items()]
    annotations = list(audit.annotations.items())
    return [
        Sheet('Images that cannot be read', ('image', 'why'), unreadable, listing=True),
        Sheet('Images of one value', ('image',), [(name(i),) for i in audit.blank()], listing=True),
        Sheet('Boxes outside their image', ('image', 'box', 'size'), boxes, listing=True),
        Sheet('Damaged annotation files', ('file', 'what is wrong'), annotations, listing=True),
    ]


def _forms(audit: Audit) -> list[Sheet]:
    forms = Counter(look.form for look in audit.looks if not look.error)
    sizes = Counter(look.size for look in audit.looks if not look.error)
    shown = [(f'{w} x {h}', count) for (h, w), count in sizes.most_common(8)]
    rest = sum(count for _, count in sizes.most_common()[8:])
    shown += [(f'{len(sizes) - 8} other sizes', rest)] if rest else []
    return [
        Sheet('Sizes', ('width x height', 'images'), shown),
        Sheet('Kinds of files', ('format, mode', 'images'), forms.most_common()),
    ]


def _leaks(audit: Audit) -> list[Sheet]:
    columns = ('subsets', 'how many', 'images in the first', 'images in the second')

    def rows(leaks: dict[tuple[str, str], list[Cluster]]) -> list[tuple[str | int, ...]]:
        return [
            (' and '.join(pair), len(found), *(audit.images_in(found, subset) for subset in pair))
            for pair, found in leaks.items()
        ]

    near = Sheet(
        f'Nearly the same images in two subsets of {audit.split}',
        columns,
        rows(audit.leaks()),
        'What is measured on a subset that shares images with the training is too good.',
    )
    if not audit.knows_patients():
        return [near]
    patients = Sheet(
        f'Patients in two subsets of {audit.split}', columns, rows(audit.patients_straddling())
    )
    return [near, patients]


def _clusters(audit: Audit) -> list[Sheet]:
    name = _namer(audit)

    def listed(found: Sequence[Cluster]) -> list[tuple[str | int, ...]]:
        return [(len(c), ' '.join(map(name, c)), *_said(audit, c)) for c in found]

    columns = ('images', 'which', *audit.tasks, *(('subsets',) if audit.split else ()))
    differing = [c for c in audit.near if any(len(audit.values(c, t)) > 1 for t in audit.tasks)]
    across = [c for c in audit.near if len(audit.patients(c)) > 1] if audit.knows_patients() else []
    return [
        Sheet('Nearly the same, with different labels', columns, listed(differing), listing=True),
        Sheet('Nearly the same, of different patients', columns, listed(across), listing=True),
        Sheet('Equal pixels', columns, listed(audit.pixels), listing=True),
        Sheet('Nearly the same', columns, listed(audit.near), listing=True),
    ]


def _said(audit: Audit, cluster: Cluster) -> tuple[str, ...]:
    labels = tuple(', '.join(audit.values(cluster, task)) for task in audit.tasks)
    return (*labels, ', '.join(audit.subsets(cluster))) if audit.split else labels


def _counts(audit: Audit) -> list[Sheet]:
    made = []
    groups = audit.subgroups()
    for task in audit.tasks:
        classes = audit.classes(task)
        total = len(audit.records)
        rows = [(name, n, f'{100 * n / total:.1f} %') for name, n in classes.items()]
        made.append(Sheet(f'Classes of {task}', ('class', 'images', 'share'), rows))
        columns = ('subgroup', 'images', *classes)
        rows = [
            (
                f'{column}: {value}',
                len(members),
                *(audit.classes(task, members)[name] for name in classes),
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
