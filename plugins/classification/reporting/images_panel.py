"""Report panel of classifiers: images with Grad-CAM and attention of all variants, and mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from plugins.classification.inference.item_images import KIND
from plugins.classification.reporting.curves_panel import FILE, fill_template
from toolkit.io.json_values import parse_json
from toolkit.registry import PANELS
from toolkit.report.embed_images import (
    ImageEmbedder,
    ImageQuality,
    encode_image,
)
from toolkit.report.panel import Panel, PanelRun, Rendered
from toolkit.report.run_images import ItemImages, read_item_images

IMAGE = 'image'
QUALITY = 82  # of WebP
_HERE = Path(__file__).parent

Record = Mapping[str, Any]


@dataclass(frozen=True)
class PanelLimits:
    """Limits of the panel: items, mistakes of each variant, and the side of an image in pixels."""

    items: int
    mistakes: int
    side: int


# From many large images to few small ones; the first limits that fit are taken.
LIMITS = (
    PanelLimits(99, 12, 288),
    PanelLimits(8, 8, 224),
    PanelLimits(4, 4, 192),
    PanelLimits(2, 4, 128),
    PanelLimits(1, 0, 96),
)


@PANELS.register
class WhereItLooks(Panel):
    """Grad-CAM and attention of the same images by all variants, and each one's worst mistakes.

    Reads `pictures/ITEM.json` with the PNG files beside it, which `toolkit test` leaves, and the
    mistakes in `figures/figures.json`. Each variant is shown by its first run that has some.
    """

    title = 'What the networks look at'
    style = (_HERE / 'images_panel.css').read_text(encoding='utf-8')
    script = (_HERE / 'images_panel.js').read_text(encoding='utf-8')

    def render(self, runs: Sequence[PanelRun], budget: int) -> Rendered | None:
        """Render the viewer and the mistakes, as many as the budget allows."""
        items, notes = _read_items(runs)
        mistakes = list(_read_mistakes(runs))
        if not items and not mistakes:
            return Rendered('', tuple(notes)) if notes else None
        for limits in LIMITS:
            html = _render(items, mistakes, limits)
            if len(html.encode()) <= budget:
                if limits.items < len(items):
                    notes.append(f'{limits.items} of {len(items)} images are shown, to save room.')
                return Rendered(html, tuple(notes))
        return Rendered('', (*notes, 'No room was left for what networks look at.'))


# -- reading ---------------------------------------------------------------------------------------


def _read_items(
    runs: Sequence[PanelRun],
) -> tuple[dict[str, list[tuple[str, ItemImages]]], list[str]]:
    """Read the images of each item, from the first run of each variant that has some.

    Returns:
        Label of the variant and images, by item; and notes on files that cannot be used.
    """
    found: dict[str, list[tuple[str, ItemImages]]] = {}
    shown: set[str] = set()
    notes: list[str] = []
    for run in runs:
        if run.label in shown:
            continue  # another seed of the same variant
        drawn_items, unusable = read_item_images(run, KIND)
        notes += unusable
        for drawn in drawn_items:
            shown.add(run.label)
            found.setdefault(drawn.item, []).append((run.label, drawn))
    return found, notes


def _read_mistakes(runs: Sequence[PanelRun]) -> Iterator[tuple[str, str, Path, list[Record]]]:
    """Read the mistakes from the first run of each variant that has numbers.

    Yields:
        Label of the variant, task, folder of the images, and mistakes.
    """
    seen: set[str] = set()
    for run in runs:
        path = run.result.folder / FILE
        if run.label in seen or not path.exists():
            continue
        try:
            tasks = parse_json(path.read_text(encoding='utf-8'))['tasks']
            found = [(task, list(numbers['failures'])) for task, numbers in tasks.items()]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # the panel of curves names the file
        seen.add(run.label)
        for task, failures in found:
            if failures:
                yield run.label, task, path.parent, failures


# -- rendering -------------------------------------------------------------------------------------


def _render(
    items: Mapping[str, Sequence[tuple[str, ItemImages]]],
    found: Sequence[tuple[str, str, Path, list[Record]]],
    limits: PanelLimits,
) -> Markup:
    mistakes = []
    for label, task, folder, failures in found:
        images = [
            {**failure, 'image': image}
            for failure in failures[: limits.mistakes]
            if (image := _encode(folder / Path(failure['file']).name, min(limits.side, 160)))
        ]
        if images:
            mistakes.append({'label': label, 'task': task, 'images': images})
    data = _collect_items(items, limits)
    return fill_template('images_panel.html.j2', data=data, mistakes=mistakes)


def _collect_items(
    items: Mapping[str, Sequence[tuple[str, ItemImages]]], limits: PanelLimits
) -> dict[str, Any]:
    """Collect the data of the viewer; each image is embedded once."""
    embedder = ImageEmbedder(ImageQuality(QUALITY, side=limits.side))
    shown = []
    for item, drawn in list(items.items())[: limits.items]:
        variants = []
        for label, one in drawn:
            layers = {x.name: embedder.add(x.file) for x in one.layers}
            tasks = one.record.get('tasks', {})
            variants.append({'label': label, 'layers': layers, 'tasks': tasks})
        shown.append({'item': item, 'variants': variants})
    names = dict.fromkeys(name for x in shown for v in x['variants'] for name in v['layers'])
    layers = [name for name in names if name != IMAGE]
    return {'items': shown, 'images': embedder.images, 'layers': layers}


def _encode(path: Path, side: int) -> str | None:
    """Encode an image as a data URI; None if it cannot be read."""
    try:
        return encode_image(path.read_bytes(), ImageQuality(QUALITY, side=side))
    except OSError:
        return None
