"""Report panel of pansharpening: a swipe between any two of PAN, upsampled MS and variants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from toolkit.registry import PANELS
from toolkit.report.embed_images import (
    BudgetExceededError,
    ImageEmbedder,
    ImageQuality,
    to_script_json,
)
from toolkit.report.jinja_environment import make_environment
from toolkit.report.panel import Panel, PanelRun, Rendered
from toolkit.report.run_images import ItemImages, read_item_images

RESULT, ERROR = 'sharpened', 'error'
# Layers that are a variant's own; the others belong to the scene.
OWN = (RESULT, ERROR)
QUALITIES = (None, 95, 88, 80)  # of WebP; None is lossless
CROPS = (512, 384, 256)
_HERE = Path(__file__).parent
_TEMPLATE = 'swipe_panel.html.j2'
_FRAME = 2 * (_HERE / _TEMPLATE).stat().st_size  # bytes of the panel beside its images, at most


@dataclass(frozen=True)
class SwipeLayer:
    """An image of a scene: its name in the viewer, its file, and its name in the run."""

    name: str
    file: Path
    kind: str  # the name in the run, or RESULT


@dataclass(frozen=True)
class SwipeScene:
    """Images of a scene by all variants, as written by `toolkit test`.

    Attributes:
        name: of the scene.
        size: width and height of all layers.
        layers: the images.
        error: title of the values in its error layers.
    """

    name: str
    size: tuple[int, int]
    layers: tuple[SwipeLayer, ...] = ()
    error: str = ''


@dataclass(frozen=True)
class SwipeSelection:
    """Scenes to embed, and the quality of their images."""

    scenes: tuple[SwipeScene, ...]
    quality: ImageQuality


@PANELS.register
class Swipe(Panel):
    """Compares two images of a scene by a movable divider; zooms and moves both together.

    Shows the images that `toolkit test` writes to a run's folder: `pictures/ITEM.json` with `item`
    and `layers`, each with `name` and `file`, beside PNG files of one size. Each variant is shown
    by its first run with images. They are embedded as WebP, lossless if the budget allows it.
    """

    title = 'Images'
    style = (_HERE / 'swipe_panel.css').read_text(encoding='utf-8')
    script = (_HERE / 'swipe_panel.js').read_text(encoding='utf-8')

    def render(self, runs: Sequence[PanelRun], budget: int) -> Rendered | None:
        """Renders the viewer with as many images of as high quality as the budget allows."""
        scenes, notes = _collect_scenes(runs)
        if not scenes:
            return Rendered('', tuple(notes)) if notes else None
        cache: dict[tuple[bytes, ImageQuality], str] = {}
        for selection in _list_selections(scenes):
            data = _embed(selection, budget - _FRAME, cache)
            if data is not None:
                template = make_environment(_HERE).get_template(_TEMPLATE)
                html = template.render(data=Markup(data), description=_describe(selection))
                return Rendered(html, (*notes, *_describe_omissions(scenes, selection)))
        return Rendered('', (*notes, 'No room was left for images; report fewer studies at once.'))


# -- reading ---------------------------------------------------------------------------------------


def _collect_scenes(runs: Sequence[PanelRun]) -> tuple[list[SwipeScene], list[str]]:
    """Collects scenes with the layers of all variants, and notes of unusable files."""
    found: dict[str, SwipeScene] = {}
    notes: list[str] = []
    shown: set[tuple[str, str]] = set()
    for run in runs:
        drawn, unusable = read_item_images(run, None)
        notes += unusable
        for own in map(_make_scene, drawn):
            name = own.name
            if (run.label, name) in shown:
                continue  # another seed of the same variant
            scene = found.setdefault(name, replace(own, layers=()))
            if scene.size != own.size:
                sizes = f'{own.size}, not {scene.size} as of other variants'
                notes.append(f'{run.label}: {name} is {sizes}')
                continue
            shown.add((run.label, name))
            found[name] = replace(scene, layers=_merge_layers(scene.layers, own.layers, run.label))
    return list(found.values()), notes


def _make_scene(drawn: ItemImages) -> SwipeScene:
    """Makes a scene with the layers of one run."""
    error = drawn.record.get('error')
    error = error if isinstance(error, dict) else {}
    low, high = error.get('low', 0), error.get('high')
    layers = []
    for layer in drawn.layers:
        name = layer.name
        if name == ERROR and isinstance(low, (int, float)) and isinstance(high, (int, float)):
            name = f'{name} ({low:g} to {high:g})'  # each variant has its own scale
        kind = RESULT if layer.role == 'result' else layer.name
        layers.append(SwipeLayer(name, layer.file, kind))
    return SwipeScene(drawn.item, drawn.size, tuple(layers), str(error.get('what', '')))


def _merge_layers(
    known: tuple[SwipeLayer, ...], layers: Sequence[SwipeLayer], label: str
) -> tuple[SwipeLayer, ...]:
    """Adds the layers of another variant: results under its name, those of the scene once."""
    contents = {x.name: x.file.read_bytes() for x in known if x.kind not in OWN}
    more = []
    for layer in layers:
        if layer.kind in OWN:
            name = label if layer.kind == RESULT else f'{label}: {layer.name}'
            more.append(replace(layer, name=name))
        elif layer.name not in contents:
            more.append(layer)
        elif contents[layer.name] != layer.file.read_bytes():
            # Other data or another stretch: shown as another layer.
            more.append(replace(layer, name=f'{layer.name} ({label})'))
    return (*known, *more)


# -- selecting and embedding -----------------------------------------------------------------------


def _list_selections(scenes: Sequence[SwipeScene]) -> Iterator[SwipeSelection]:
    """Lists selections in the order of preference, from all scenes to a crop of one."""
    everything = tuple(scenes)
    for quality in QUALITIES:
        yield SwipeSelection(everything, ImageQuality(quality))
    plain = tuple(_remove_errors(scene) for scene in scenes)
    lowest = QUALITIES[-1]
    count = len(plain)
    while count:
        yield SwipeSelection(plain[:count], ImageQuality(lowest))
        count = count // 2
    for crop in CROPS:
        if crop < max(plain[0].size):
            yield SwipeSelection(plain[:1], ImageQuality(lowest, crop))


def _remove_errors(scene: SwipeScene) -> SwipeScene:
    return replace(scene, layers=tuple(x for x in scene.layers if x.kind != ERROR))


def _embed(
    selection: SwipeSelection, budget: int, cache: dict[tuple[bytes, ImageQuality], str]
) -> str | None:
    """Writes the viewer's data as JSON; None if it takes more bytes than the budget."""
    if selection.quality.webp is None and _exceeds_lossless(selection.scenes, budget):
        return None
    embedder = ImageEmbedder(selection.quality, budget, cache)
    items: list[dict[str, Any]] = []
    try:
        for scene in selection.scenes:
            layers = [{'name': x.name, 'image': embedder.add(x.file)} for x in scene.layers]
            crop = selection.quality.crop
            width, height = (min(side, crop or side) for side in scene.size)
            items.append({'name': scene.name, 'width': width, 'height': height, 'layers': layers})
    except BudgetExceededError:
        return None
    text = to_script_json({'items': items, 'images': embedder.images})
    return None if len(text.encode()) > budget else text


def _exceeds_lossless(scenes: Sequence[SwipeScene], budget: int) -> bool:
    """Estimates that lossless WebP exceeds the budget: it saves at most half of the PNG files."""
    files = {layer.file for scene in scenes for layer in scene.layers}
    contents = {file.read_bytes() for file in files}
    return sum(map(len, contents)) / 2 * 4 / 3 > budget


def _describe_omissions(scenes: Sequence[SwipeScene], selection: SwipeSelection) -> list[str]:
    """Describes the omissions of the selection, in sentences."""
    notes = []
    if any(kept.layers != scene.layers for kept, scene in zip(selection.scenes, scenes)):
        notes.append('Images of errors were left out to keep the file small.')
    if len(selection.scenes) < len(scenes):
        notes.append(
            f'{len(selection.scenes)} of {len(scenes)} scenes are shown, to keep the file small.'
        )
    crop = selection.quality.crop
    if crop is not None:
        notes.append(f'The central {crop} pixels are shown, to keep the file small.')
    return notes


def _describe(selection: SwipeSelection) -> str:
    """Describes the quality of the images and the values of the error layers."""
    webp = selection.quality.webp
    quality = 'without loss' if webp is None else f'as WebP of quality {webp}'
    errors = {x.error for x in selection.scenes if any(y.kind == ERROR for y in x.layers)} - {''}
    return f'{quality}.' + (f' Errors: {", ".join(sorted(errors))}.' if errors else '')
