"""An audit as one page that stands alone, duplicates side by side."""

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
from plugins.classification.audit.sources import grey
from plugins.classification.audit.tables import Sheet, sheets
from toolkit.io import atomic_write
from toolkit.report.jinja_environment import environment, style

SIDE = 220  # pixels of a thumbnail's longer side
MOST = 900  # images that are shown; some 8 kB each
_HERE = Path(__file__).parent


class Shown(NamedTuple):
    """An image of a cluster: its name, what is known of it, and a picture as a data URL."""

    name: str
    facts: tuple[str, ...]
    picture: str


class Group(NamedTuple):
    """A cluster: what to mind of it, and its images."""

    remarks: tuple[str, ...]
    images: list[Shown]


def write_page(audit: Audit, read: Callable[[int], np.ndarray], output: Path) -> None:
    """Write the page.

    Args:
        audit: what was found.
        read: gives an image by position, as of `Source`.
        output: the HTML file.
    Raises:
        RunError: it cannot be written.
    """
    groups, left = _groups(audit, read)
    page = (
        environment(_HERE)
        .get_template('html_page.html.j2')
        .render(
            name=audit.name,
            sheets=[(sheet, _numeric(sheet)) for sheet in sheets(audit)],
            groups=groups,
            left=left,
            style=style(),
            made=datetime.now(timezone.utc),
            version=toolkit.__version__,
        )
    )
    atomic_write.write(output, page)


def _groups(audit: Audit, read: Callable[[int], np.ndarray]) -> tuple[list[Group], int]:
    """Clusters with pictures, what matters most first, and how many are left out."""
    ordered = sorted(audit.near, key=lambda cluster: -len(_remarks(audit, cluster)))
    groups: list[Group] = []
    room = MOST
    for place, cluster in enumerate(ordered):
        room -= len(cluster)
        if room < 0:
            return groups, len(ordered) - place
        images = [Shown(*_told(audit, i), _picture(read, i)) for i in cluster]
        groups.append(Group(_remarks(audit, cluster), images))
    return groups, 0


def _remarks(audit: Audit, cluster: Cluster) -> tuple[str, ...]:
    remarks = []
    if len(audit.subsets(cluster)) > 1:
        remarks.append(f'in {" and ".join(audit.subsets(cluster))}')
    for task in audit.tasks:
        if len(values := audit.values(cluster, task)) > 1:
            remarks.append(f'{task}: {" and ".join(values)}')
    if audit.knows_patients() and len(audit.patients(cluster)) > 1:
        remarks.append(f'patients {", ".join(audit.patients(cluster))}')
    if len({audit.looks[i].pixels for i in cluster}) == 1:
        remarks.append('equal pixels')
    return tuple(remarks)


def _told(audit: Audit, position: int) -> tuple[str, tuple[str, ...]]:
    record = audit.records[position]
    facts = [f'{task}: {record.labels[task]}' for task in audit.tasks if task in record.labels]
    if record.patient != record.id:
        facts.append(f'patient {record.patient}')
    if position in audit.subset_of:
        facts.append(audit.subset_of[position])
    height, width = audit.looks[position].size
    return record.id, (*facts, f'{width} x {height}')


def _picture(read: Callable[[int], np.ndarray], position: int) -> str:
    pixels = np.rint(grey(read(position)) * 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    if max(image.size) < SIDE // 2:  # tiny ones would hardly be seen
        scale = SIDE // max(image.size)
        size = (image.width * scale, image.height * scale)
        image = image.resize(size, Image.Resampling.NEAREST)
    image.thumbnail((SIDE, SIDE))
    held = io.BytesIO()
    image.save(held, 'WEBP', quality=75)
    return f'data:image/webp;base64,{base64.b64encode(held.getvalue()).decode()}'


def _numeric(sheet: Sheet) -> list[bool]:
    """Which columns are numbers alone."""
    return [all(isinstance(row[i], int) for row in sheet.rows) for i in range(len(sheet.columns))]
