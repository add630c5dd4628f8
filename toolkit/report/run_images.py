"""Reading the pictures that `toolkit test` leaves in a run's folder, for panels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from toolkit.io.run_layout import IMAGES
from toolkit.report.panel import PanelRun


@dataclass(frozen=True)
class Layer:
    """A picture of an item."""

    name: str
    file: Path


@dataclass(frozen=True)
class Drawn:
    """What a run has drawn of an item.

    Attributes:
        item: its name.
        size: width and height of all layers, in pixels.
        layers: in their order.
        record: all that `STEM.json` says.
    """

    item: str
    size: tuple[int, int]
    layers: tuple[Layer, ...]
    record: Mapping[str, Any]


def read_drawn(run: PanelRun, kind: str | None) -> tuple[list[Drawn], list[str]]:
    """Pictures in a run's folder, as `System.pictures` describes them, and what cannot be used.

    Args:
        run: whose folder.
        kind: what the task calls its pictures in their record; other tasks' are left alone.
    """
    found, notes = [], []
    for path in sorted((run.result.folder / IMAGES).glob('*.json')):
        try:
            drawn = _read(path, kind)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            notes.append(f'{run.label}: {path.name} cannot be used: {error}')
            continue
        if drawn is not None:
            found.append(drawn)
    return found, notes


def _read(path: Path, kind: str | None) -> Drawn | None:
    record = json.loads(path.read_text(encoding='utf-8'))
    if record.get('kind') != kind:
        return None
    layers = tuple(
        Layer(str(layer['name']), path.parent / Path(layer['file']).name)
        for layer in record['layers']
    )
    sizes = {_size(layer.file) for layer in layers}
    if len(sizes) != 1:
        raise ValueError(f'its pictures are of the sizes {sorted(sizes)}, expected one')
    return Drawn(str(record['item']), sizes.pop(), layers, record)


def _size(file: Path) -> tuple[int, int]:
    try:
        with Image.open(file) as picture:
            return picture.size
    except UnidentifiedImageError as error:
        raise ValueError(f'{file.name} is no picture') from error
