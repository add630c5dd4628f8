"""Reads the images that `toolkit test` leaves in the folder of a run, for panels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from toolkit.io.json_values import parse_json
from toolkit.io.run_layout import IMAGES
from toolkit.report.panel import PanelRun


@dataclass(frozen=True)
class ImageLayer:
    """A named image of an item."""

    name: str
    file: Path


@dataclass(frozen=True)
class ItemImages:
    """The images that a run has written of an item.

    Attributes:
        item: name of the item.
        size: width and height of all layers, in pixels.
        layers: images in their order.
        record: content of `STEM.json`.
    """

    item: str
    size: tuple[int, int]
    layers: tuple[ImageLayer, ...]
    record: Mapping[str, Any]


def read_item_images(run: PanelRun, kind: str | None) -> tuple[list[ItemImages], list[str]]:
    """Reads the images in the folder of a run.

    Args:
        run: the run.
        kind: `kind` in the records of the images; those of other kinds are skipped.
    Returns:
        The images by item, and notes on files that cannot be used.
    """
    found, notes = [], []
    for path in sorted((run.result.folder / IMAGES).glob('*.json')):
        try:
            images = _read(path, kind)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            notes.append(f'{run.label}: {path.name} cannot be used: {error}')
            continue
        if images is not None:
            found.append(images)
    return found, notes


def _read(path: Path, kind: str | None) -> ItemImages | None:
    record = parse_json(path.read_text(encoding='utf-8'))
    if record.get('kind') != kind:
        return None
    layers = tuple(
        ImageLayer(str(layer['name']), path.parent / Path(layer['file']).name)
        for layer in record['layers']
    )
    sizes = {_size(layer.file) for layer in layers}
    if len(sizes) != 1:
        raise ValueError(f'its images have the sizes {sorted(sizes)}, expected one')
    return ItemImages(str(record['item']), sizes.pop(), layers, record)


def _size(file: Path) -> tuple[int, int]:
    try:
        with Image.open(file) as image:
            return image.size
    except UnidentifiedImageError as error:
        raise ValueError(f'{file.name} is no image') from error
