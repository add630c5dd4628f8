"""The report's panel of pansharpening: a swipe between PAN, upsampled MS and any two variants."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import escape
from PIL import Image

from toolkit.registry import PANELS
from toolkit.report.panel import Panel, PanelRun, Rendered
from toolkit.report.run_images import Drawn, read_drawn

RESULT, ERROR = 'sharpened', 'error'
# Layers that are a variant's own; the others belong to the scene.
OWN = (RESULT, ERROR)
QUALITIES = (None, 95, 88, 80)  # of WebP; None is lossless
CROPS = (512, 384, 256)
_HERE = Path(__file__).parent
_VIEWER = (_HERE / 'swipe_panel.html').read_text(encoding='utf-8')
_FRAME = 2 * len(_VIEWER)  # bytes around the pictures, at most


@dataclass(frozen=True)
class Layer:
    """A picture of an item: its name in the viewer, the file, and what the run calls it."""

    name: str
    file: Path
    kind: str


@dataclass(frozen=True)
class Item:
    """What `toolkit test` drew of a scene by all variants: layers of one size (width, height).

    `error` says what its error layers show.
    """

    name: str
    size: tuple[int, int]
    layers: tuple[Layer, ...] = ()
    error: str = ''


@dataclass(frozen=True)
class Choice:
    """How pictures are kept: which items, how large (None: whole), and how well."""

    items: tuple[Item, ...]
    crop: int | None = None
    quality: int | None = None


@PANELS.register
class Swipe(Panel):
    """Two pictures of a scene over each other, with a divider to drag, zoomed and moved together.

    Shows the pictures that `toolkit test` leaves in a run's folder: `pictures/ITEM.json` with
    `item` and `layers`, each with `name` and `file`, beside PNG files of one size. Each variant is
    shown by its first run that has some. They are embedded as WebP, without loss if the budget
    allows it.
    """

    title = 'Pictures'
    style = (_HERE / 'swipe_panel.css').read_text(encoding='utf-8')
    script = (_HERE / 'swipe_panel.js').read_text(encoding='utf-8')

    def render(self, runs: Sequence[PanelRun], budget: int) -> Rendered | None:
        """The viewer, with as many and as good pictures as the budget allows; None without any."""
        items, notes = _items(runs)
        if not items:
            return Rendered('', tuple(notes)) if notes else None
        encoded: dict[tuple[bytes, int | None, int | None], str] = {}
        for choice in _choices(items):
            data = _embedded(choice, budget - _FRAME, encoded)
            if data is not None:
                left_out = _left_out(items, choice)
                html = _VIEWER.format(data=_script_safe(data), words=escape(_words(choice)))
                return Rendered(html, (*notes, *left_out))
        return Rendered(
            '', (*notes, 'No room was left for pictures; report fewer studies at once.')
        )


# -- reading ---------------------------------------------------------------------------------------


def _items(runs: Sequence[PanelRun]) -> tuple[list[Item], list[str]]:
    """Items with the layers of all variants, and what could not be used."""
    found: dict[str, Item] = {}
    notes: list[str] = []
    shown: set[tuple[str, str]] = set()
    for run in runs:
        drawn_items, unusable = read_drawn(run, None)
        notes += unusable
        for drawn in map(_item, drawn_items):
            name = drawn.name
            if (run.label, name) in shown:
                continue  # another seed of the same variant
            item = found.setdefault(name, replace(drawn, layers=()))
            if item.size != drawn.size:
                sizes = f'{drawn.size}, not {item.size} as of other variants'
                notes.append(f'{run.label}: {name} is {sizes}')
                continue
            shown.add((run.label, name))
            found[name] = replace(item, layers=_merged(item.layers, drawn.layers, run.label))
    return list(found.values()), notes


def _item(drawn: Drawn) -> Item:
    """An item with the layers of one run."""
    error = drawn.record.get('error')
    told = error if isinstance(error, dict) else {}
    low, high = told.get('low', 0), told.get('high')
    layers = []
    for layer in drawn.layers:
        name = layer.name
        if name == ERROR and isinstance(low, (int, float)) and isinstance(high, (int, float)):
            name = f'{name} ({low:g} to {high:g})'  # each variant's has a scale of its own
        layers.append(Layer(name, layer.file, layer.name))
    return Item(drawn.item, drawn.size, tuple(layers), str(told.get('what', '')))


def _merged(known: tuple[Layer, ...], layers: Sequence[Layer], label: str) -> tuple[Layer, ...]:
    """The layers with those of another variant: its own by its name, the scene's once."""
    contents = {x.name: x.file.read_bytes() for x in known if x.kind not in OWN}
    more = []
    for layer in layers:
        if layer.kind in OWN:
            name = label if layer.kind == RESULT else f'{label}: {layer.name}'
            more.append(replace(layer, name=name))
        elif layer.name not in contents:
            more.append(layer)
        elif contents[layer.name] != layer.file.read_bytes():
            # Other data, or another stretch: not to be taken for the same.
            more.append(replace(layer, name=f'{layer.name} ({label})'))
    return (*known, *more)


# -- choosing and embedding ------------------------------------------------------------------------


def _choices(items: Sequence[Item]) -> Iterator[Choice]:
    """From all as it is to one item, small: what is tried until it fits."""
    everything = tuple(items)
    for quality in QUALITIES:
        yield Choice(everything, quality=quality)
    plain = tuple(_without_errors(item) for item in items)
    lowest = QUALITIES[-1]
    count = len(plain)
    while count:
        yield Choice(plain[:count], quality=lowest)
        count = count // 2
    for crop in CROPS:
        if crop < max(plain[0].size):
            yield Choice(plain[:1], crop, lowest)


def _without_errors(item: Item) -> Item:
    return replace(item, layers=tuple(x for x in item.layers if x.kind != ERROR))


def _embedded(
    choice: Choice, budget: int, encoded: dict[tuple[bytes, int | None, int | None], str]
) -> str | None:
    """The viewer's data as JSON; None where it takes more bytes than the budget.

    Args:
        choice: of the pictures.
        budget: bytes.
        encoded: what was tried before, by content, crop and quality; added to.
    """
    if choice.quality is None and _hopeless(choice.items, budget):
        return None
    images: list[str] = []
    places: dict[bytes, int] = {}
    items: list[dict[str, Any]] = []
    for item in choice.items:
        layers = []
        for layer in item.layers:
            content = layer.file.read_bytes()
            if content not in places:
                places[content] = len(images)
                key = content, choice.crop, choice.quality
                if key not in encoded:
                    encoded[key] = _encoded(content, choice)
                images.append(encoded[key])
                budget -= len(images[-1])
                if budget < 0:
                    return None
            layers.append({'name': layer.name, 'image': places[content]})
        width, height = (min(side, choice.crop or side) for side in item.size)
        items.append({'name': item.name, 'width': width, 'height': height, 'layers': layers})
    text = json.dumps({'items': items, 'images': images}, ensure_ascii=False)
    return None if len(text.encode()) - sum(map(len, images)) > budget else text


def _hopeless(items: Sequence[Item], budget: int) -> bool:
    """Whether half of the PNG files' bytes would not fit: WebP without loss does not save more."""
    files = {layer.file for item in items for layer in item.layers}
    contents = {file.read_bytes() for file in files}
    return sum(map(len, contents)) / 2 * 4 / 3 > budget


def _encoded(content: bytes, choice: Choice) -> str:
    """A picture as a data URI."""
    with Image.open(io.BytesIO(content)) as picture:
        picture = picture.convert('RGB')
    if choice.crop is not None:
        left, top = (max(0, (side - choice.crop) // 2) for side in picture.size)
        right, bottom = (
            start + min(side, choice.crop) for start, side in zip((left, top), picture.size)
        )
        picture = picture.crop((left, top, right, bottom))
    buffer = io.BytesIO()
    if choice.quality is None:
        picture.save(buffer, 'webp', lossless=True, quality=40, method=2)
    else:
        picture.save(buffer, 'webp', quality=choice.quality, method=4)
    return 'data:image/webp;base64,' + base64.b64encode(buffer.getvalue()).decode()


def _left_out(items: Sequence[Item], choice: Choice) -> list[str]:
    """What the budget did not allow, in sentences."""
    notes = []
    if any(kept.layers != item.layers for kept, item in zip(choice.items, items)):
        notes.append('Pictures of errors were left out to keep the file small.')
    if len(choice.items) < len(items):
        notes.append(
            f'{len(choice.items)} of {len(items)} scenes are shown, to keep the file small.'
        )
    if choice.crop is not None:
        notes.append(f'The central {choice.crop} pixels are shown, to keep the file small.')
    return notes


def _words(choice: Choice) -> str:
    """How pictures are kept, and what those of errors show."""
    how = 'without loss' if choice.quality is None else f'as WebP of quality {choice.quality}'
    errors = {x.error for x in choice.items if x.error and any(y.kind == ERROR for y in x.layers)}
    return f'{how}.' + (f' Errors: {", ".join(sorted(errors))}.' if errors else '')


def _script_safe(text: str) -> str:
    return text.replace('<', '\\u003c')
