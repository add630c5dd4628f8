"""Writes an audit as one HTML page without other files, duplicates side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

import toolkit
from plugins.classification.audit.findings import Audit, Cluster
from plugins.classification.audit.sources import average_colours
from plugins.classification.audit.tables import Sheet, make_sheets
from toolkit.io import atomic_write
from toolkit.report.jinja_environment import make_environment, read_style

SIDE = 220  # pixels of a thumbnail's longer side
MOST = 900  # images on the page; about 8 kB each
_HERE = Path(__file__).parent


class ClusterImage(NamedTuple):
    """An image of a cluster, with facts about it and its pixels as a data URL."""

    name: str
    facts: tuple[str, ...]
    url: str


class ClusterView(NamedTuple):
    """A cluster with remarks on its faults and its images."""

    remarks: tuple[str, ...]
    images: list[ClusterImage]


def write_page(audit: Audit, read: Callable[[int], np.ndarray], output: Path) -> None:
    """Writes the page.

    Args:
        audit: findings.
        read: function that reads an image by its position, see `AuditSource.read`.
        output: path of the HTML file.
    Raises:
        RunError: the file cannot be written.
    """
    groups, left = _select_clusters(audit, read)
    page = (
        make_environment(_HERE)
        .get_template('html_page.html.j2')
        .render(
            name=audit.name,
            sheets=[(sheet, _find_numeric(sheet)) for sheet in make_sheets(audit)],
            groups=groups,
            left=left,
            style=read_style(),
            made=datetime.now(timezone.utc),
            version=toolkit.__version__,
        )
    )
    atomic_write.write(output, page)


def _select_clusters(
    audit: Audit, read: Callable[[int], np.ndarray]
) -> tuple[list[ClusterView], int]:
    """Selects clusters to show, those with most remarks first; counts the others."""
    ordered = sorted(audit.near, key=lambda cluster: -len(_write_remarks(audit, cluster)))
    groups: list[ClusterView] = []
    room = MOST
    for place, cluster in enumerate(ordered):
        room -= len(cluster)
        if room < 0:
            return groups, len(ordered) - place
        images = [ClusterImage(*_list_facts(audit, i), _encode_image(read, i)) for i in cluster]
        groups.append(ClusterView(_write_remarks(audit, cluster), images))
    return groups, 0


def _write_remarks(audit: Audit, cluster: Cluster) -> tuple[str, ...]:
    remarks = []
    if len(audit.list_subsets(cluster)) > 1:
        remarks.append(f'in {" and ".join(audit.list_subsets(cluster))}')
    for task in audit.tasks:
        if len(values := audit.list_labels(cluster, task)) > 1:
            remarks.append(f'{task}: {" and ".join(values)}')
    if audit.has_patients() and len(audit.list_patients(cluster)) > 1:
        remarks.append(f'patients {", ".join(audit.list_patients(cluster))}')
    if len({audit.scans[i].pixels for i in cluster}) == 1:
        remarks.append('equal pixels')
    return tuple(remarks)


def _list_facts(audit: Audit, position: int) -> tuple[str, tuple[str, ...]]:
    record = audit.records[position]
    facts = [f'{task}: {record.labels[task]}' for task in audit.tasks if task in record.labels]
    if record.patient != record.id:
        facts.append(f'patient {record.patient}')
    if position in audit.subset_of:
        facts.append(audit.subset_of[position])
    height, width = audit.scans[position].size
    return record.id, (*facts, f'{width} x {height}')


def _encode_image(read: Callable[[int], np.ndarray], position: int) -> str:
    pixels = np.rint(average_colours(read(position)) * 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    if max(image.size) < SIDE // 2:  # tiny images are enlarged
        scale = SIDE // max(image.size)
        size = (image.width * scale, image.height * scale)
        image = image.resize(size, Image.Resampling.NEAREST)
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, 'WEBP', quality=75)
    return f'data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}'


def _find_numeric(sheet: Sheet) -> list[bool]:
    """Tells for each column whether all its values are numbers."""
    return [all(isinstance(row[i], int) for row in sheet.rows) for i in range(len(sheet.columns))]
