"""The report's panel of pansharpening: a swipe between PAN, upsampled MS and any two variants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import escape

from toolkit.registry import PANELS
from toolkit.report.embed_images import (
    BudgetExceededError,
    ImageEmbedder,
    ImageQuality,
    to_script_json,
)
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
class _Selection:
    """The items that are shown, and the quality of their images."""

    items: tuple[Item, ...]
    quality: ImageQuality


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
        cache: dict[tuple[bytes, ImageQuality], str] = {}
        for choice in _choices(items):
            data = _embed(choice, budget - _FRAME, cache)
            if data is not None:
                left_out = _left_out(items, choice)
                html = _VIEWER.format(data=data, words=escape(_words(choice)))
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


def _choices(items: Sequence[Item]) -> Iterator[_Selection]:
    """From all as it is to one item, small: what is tried until it fits."""
    everything = tuple(items)
    for quality in QUALITIES:
        yield _Selection(everything, ImageQuality(quality))
    plain = tuple(_without_errors(item) for item in items)
    lowest = QUALITIES[-1]
    count = len(plain)
    while count:
        yield _Selection(plain[:count], ImageQuality(lowest))
        count = count // 2
    for crop in CROPS:
        if crop < max(plain[0].size):
            yield _Selection(plain[:1], ImageQuality(lowest, crop))


def _without_errors(item: Item) -> Item:
    return replace(item, layers=tuple(x for x in item.layers if x.kind != ERROR))


def _embed(
    selection: _Selection, budget: int, cache: dict[tuple[bytes, ImageQuality], str]
) -> str | None:
    """Write the viewer's data as JSON; None if it takes more bytes than the budget."""
    if selection.quality.webp is None and _exceeds_surely(selection.items, budget):
        return None
    embedder = ImageEmbedder(selection.quality, budget, cache)
    items: list[dict[str, Any]] = []
    try:
        for item in selection.items:
            layers = [{'name': x.name, 'image': embedder.add(x.file)} for x in item.layers]
            crop = selection.quality.crop
            width, height = (min(side, crop or side) for side in item.size)
            items.append({'name': item.name, 'width': width, 'height': height, 'layers': layers})
    except BudgetExceededError:
        return None
    text = to_script_json({'items': items, 'images': embedder.images})
    return None if len(text.encode()) > budget else text


def _exceeds_surely(items: Sequence[Item], budget: int) -> bool:
    """Tell whether half of the PNG files' bytes would not fit; lossless WebP saves no more."""
    files = {layer.file for item in items for layer in item.layers}
    contents = {file.read_bytes() for file in files}
    return sum(map(len, contents)) / 2 * 4 / 3 > budget


def _left_out(items: Sequence[Item], choice: _Selection) -> list[str]:
    """What the budget did not allow, in sentences."""
    notes = []
    if any(kept.layers != item.layers for kept, item in zip(choice.items, items)):
        notes.append('Pictures of errors were left out to keep the file small.')
    if len(choice.items) < len(items):
        notes.append(
            f'{len(choice.items)} of {len(items)} scenes are shown, to keep the file small.'
        )
    if choice.quality.crop is not None:
        notes.append(f'The central {choice.quality.crop} pixels are shown, to keep the file small.')
    return notes


def _words(choice: _Selection) -> str:
    """How pictures are kept, and what those of errors show."""
    how = (
        'without loss'
        if choice.quality.webp is None
        else f'as WebP of quality {choice.quality.webp}'
    )
    errors = {x.error for x in choice.items if x.error and any(y.kind == ERROR for y in x.layers)}
    return f'{how}.' + (f' Errors: {", ".join(sorted(errors))}.' if errors else '')
