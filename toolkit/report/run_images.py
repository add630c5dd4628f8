"""Images that `toolkit test` leaves in the folder of a run: visualizers write, panels read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from toolkit.io import atomic_write
from toolkit.io.json_values import format_json, parse_json
from toolkit.io.run_layout import IMAGES
from toolkit.report.panel import PanelRun


@dataclass(frozen=True)
class ImageLayer:
    """A named image of an item.

    Attributes:
        name: of the image.
        file: PNG.
        role: 'result' if the network made it, so that each variant has its own; '' for others.
    """

    name: str
    file: Path
    role: str = ''


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


def write_item_images(
    folder: Path, stem: str, item: str, images: Mapping[str, np.ndarray], result: str
) -> None:
    """Writes images of an item and the file that names them, for the swipe of reports.

    Args:
        folder: to write to; it is made if it is missing.
        stem: beginning of the names of all files.
        item: name of the item.
        images: (H, W, 3) or (H, W) of 8 bits by name, all of one size.
        result: name of the image that the network made.
    Raises:
        ValueError: images of several sizes, or no image of the name `result`.
    """
    if result not in images or len({image.shape[:2] for image in images.values()}) > 1:
        shapes = {name: image.shape for name, image in images.items()}
        raise ValueError(f'found images {shapes}; expected one size, and one named {result!r}')
    folder.mkdir(parents=True, exist_ok=True)
    layers = []
    for number, (name, image) in enumerate(images.items()):
        file = f'{stem}-{number}.png'
        Image.fromarray(image).save(folder / file)
        layers.append({'name': name, 'file': file, 'role': 'result' if name == result else ''})
    atomic_write.write(folder / f'{stem}.json', format_json({'item': item, 'layers': layers}))


def _read(path: Path, kind: str | None) -> ItemImages | None:
    record = parse_json(path.read_text(encoding='utf-8'))
    if record.get('kind') != kind:
        return None
    layers = tuple(
        ImageLayer(
            str(layer['name']), path.parent / Path(layer['file']).name, str(layer.get('role', ''))
        )
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
