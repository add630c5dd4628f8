"""The report's panel of what classifiers look at: the same images by all variants, and mistakes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import escape

from plugins.classification.inference.item_images import KIND
from plugins.classification.reporting.curves_panel import FILE
from toolkit.registry import PANELS
from toolkit.report.embed_images import (
    ImageEmbedder,
    ImageQuality,
    encode_image,
    to_script_json,
)
from toolkit.report.panel import Panel, PanelRun, Rendered
from toolkit.report.run_images import Drawn, read_drawn

IMAGE = 'image'
QUALITY = 82  # of WebP
_HERE = Path(__file__).parent
_VIEWER = (_HERE / 'images_panel.html').read_text(encoding='utf-8')

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Choice:
    """How much is shown: items, mistakes of each variant, and the side of a picture in pixels."""

    items: int
    mistakes: int
    side: int


# From all in good size to little: what is tried until it fits.
CHOICES = (
    Choice(99, 12, 288),
    Choice(8, 8, 224),
    Choice(4, 4, 192),
    Choice(2, 4, 128),
    Choice(1, 0, 96),
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
        """The viewer and the mistakes, as many as the budget allows; None without any."""
        items, notes = _items(runs)
        mistakes = list(_mistakes(runs))
        if not items and not mistakes:
            return Rendered('', tuple(notes)) if notes else None
        for choice in CHOICES:
            html = _viewer(items, choice) + _gallery(mistakes, choice)
            if len(html.encode()) <= budget:
                if choice.items < len(items):
                    notes.append(f'{choice.items} of {len(items)} images are shown, to save room.')
                return Rendered(html, tuple(notes))
        return Rendered('', (*notes, 'No room was left for what networks look at.'))


# -- reading ---------------------------------------------------------------------------------------


def _items(runs: Sequence[PanelRun]) -> tuple[dict[str, list[tuple[str, Drawn]]], list[str]]:
    """By item what each variant's first run with pictures has drawn of it, with its label."""
    found: dict[str, list[tuple[str, Drawn]]] = {}
    shown: set[str] = set()
    notes: list[str] = []
    for run in runs:
        if run.label in shown:
            continue  # another seed of the same variant
        drawn_items, unusable = read_drawn(run, KIND)
        notes += unusable
        for drawn in drawn_items:
            shown.add(run.label)
            found.setdefault(drawn.item, []).append((run.label, drawn))
    return found, notes


def _mistakes(runs: Sequence[PanelRun]) -> Iterator[tuple[str, str, Path, list[Record]]]:
    """Of each variant's first run with numbers: label, task, folder and the mistakes of it."""
    seen: set[str] = set()
    for run in runs:
        path = run.result.folder / FILE
        if run.label in seen or not path.exists():
            continue
        try:
            tasks = json.loads(path.read_text(encoding='utf-8'))['tasks']
            found = [(task, list(numbers['failures'])) for task, numbers in tasks.items()]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # of which the other panel tells
        seen.add(run.label)
        for task, failures in found:
            if failures:
                yield run.label, task, path.parent, failures


# -- showing ---------------------------------------------------------------------------------------


def _viewer(items: Mapping[str, Sequence[tuple[str, Drawn]]], choice: Choice) -> str:
    if not items:
        return ''
    embedder = ImageEmbedder(ImageQuality(QUALITY, side=choice.side))
    told = []
    for item, drawn in list(items.items())[: choice.items]:
        variants = []
        for label, one in drawn:
            layers = {x.name: embedder.add(x.file) for x in one.layers}
            variants.append(
                {'label': label, 'layers': layers, 'tasks': one.record.get('tasks', {})}
            )
        told.append({'item': item, 'variants': variants})
    names = dict.fromkeys(n for t in told for v in t['variants'] for n in v['layers'])
    data = {'items': told, 'images': embedder.images, 'layers': [n for n in names if n != IMAGE]}
    return _VIEWER.format(data=to_script_json(data))


def _gallery(found: Sequence[tuple[str, str, Path, list[Record]]], choice: Choice) -> str:
    """The worst mistakes of each variant, those of the first one open."""
    parts = []
    for label, task, folder, failures in found:
        shown = []
        for told in failures[: choice.mistakes]:
            picture = _encode(folder / Path(told['file']).name, min(choice.side, 160))
            if picture is None:
                continue
            shown.append(
                f'<figure><img src="{picture}" alt="" loading="lazy"><figcaption>'
                f'<b>{escape(told["id"])}</b>true {escape(told["label"])} '
                f'<i>p {float(told["label_probability"]):.2f}</i><br>'
                f'said {escape(told["prediction"])} '
                f'<i>p {float(told["probability"]):.2f}</i></figcaption></figure>'
            )
        if shown:
            opened = ' open' if not parts else ''
            parts.append(
                f'<details{opened}><summary>{escape(label)}, {escape(task)}</summary>'
                f'<div class="mistakes">{"".join(shown)}</div></details>'
            )
    if not parts:
        return ''
    return (
        '<h3>The mistakes that were surest</h3>' + ''.join(parts) + '<p class="legend">Wrong '
        'decisions whose true class was given the lowest probability. Research use only.</p>'
    )


def _encode(path: Path, side: int) -> str | None:
    """Encode an image as a data URI; None where it cannot be read."""
    try:
        return encode_image(path.read_bytes(), ImageQuality(QUALITY, side=side))
    except OSError:
        return None
