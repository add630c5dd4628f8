"""Pictures of what was sharpened: with one stretch for all images, side by side, and where it errs.

They are made from bounded reads, so that a scene may be of any size. The stretch goes from the 2nd
to the 98th percentile of the reference, or of the upsampled MS where there is none, band by band;
PAN, which has a detector of its own, is shown from its own percentiles.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from plugins.pansharpening.imaging.resample import Method
from plugins.pansharpening.scenes.raster import replacing
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.sensors import Sensor
from plugins.pansharpening.scenes.window import Read, Window
from plugins.pansharpening.system import Pansharpener
from plugins.pansharpening.visualization import error_maps
from plugins.pansharpening.visualization.scene_images import (
    PAN,
    REFERENCE,
    SHARPENED,
    UPSAMPLED,
    View,
    around,
    batch_view,
    overview,
    places,
    sampled,
    scene_view,
)
from toolkit.interfaces import Batch, System, Visualizer
from toolkit.registry import VISUALIZERS

PANEL = 340  # side of a panel of the sheet in pixels
GAP = 8
LABEL = 26
PERCENTILES = (2, 98)
FRAMES = ((255, 196, 0), (0, 190, 255), (255, 80, 160))  # of the places that are enlarged
DETAIL = 160  # side of such a place in PAN pixels
LAYER = 768  # largest side of the layers in PAN pixels
AMPLIFIED = 2  # differences are shown by this much stronger than the images
# PAN pixels up to which the whole of each image is seen; of larger scenes the MS alone is.
SEEN = 64 << 20
MIDDLE = 128

Limits = tuple[np.ndarray, np.ndarray]


def scene_pictures(
    scene: Scene,
    sharpened: Read,
    stem: Path,
    upsampling: Method = 'interp23tap',
    details: Sequence[Window] = (),
) -> list[Path]:
    """Write pictures of a sharpened scene beside it.

    `STEM.png` has the images side by side, whole and in three places with much detail;
    `STEM-errors.png` maps of the error around the first of them; `STEM-histograms.png` the bands.

    Args:
        scene: what was sharpened.
        sharpened: reads a window of PAN pixels of the result: (C, h, w) digital numbers.
        stem: path without suffix.
        upsampling: of the MS that it is compared with.
        details: up to three squares of PAN pixels that are enlarged; where none are given, those
            with much detail.
    Returns:
        The files written.
    Raises:
        ValueError: details that are no such squares inside the scene.
        DataError: the scene cannot be read.
        RunError: a file cannot be written.
    """
    view = scene_view(scene, sharpened, upsampling)
    return _Pictures(view, scene.name, details).sheets(Path(stem))


def batch_pictures(
    outputs: Mapping[str, Any], batch: Mapping[str, Any], index: int, folder: Path, stem: str
) -> None:
    """Write pictures of one item of a test: those of `scene_pictures`, and layers for a viewer.

    `STEM.json` names the layers, `STEM-pan.png` and so on: the same crop of each image, of at most
    768 x 768 PAN pixels around the place with most detail.

    Args:
        outputs: of the system, `hrms` and `lrms_up`.
        batch: what it was given.
        index: of the item in the batch.
        folder: where to.
        stem: of the files' names.
    Raises:
        RunError: a file cannot be written.
    """
    name = str(batch['meta'][index].get('item', stem))
    pictures = _Pictures(batch_view(outputs, batch, index), name)
    pictures.sheets(folder / stem)
    pictures.layers(folder, stem)


@VISUALIZERS.register
class SceneVisualizer(Visualizer):
    """Writes contact sheet, details, error maps and layers of a sharpened item."""

    system = Pansharpener

    def write_images(
        self,
        system: System,
        outputs: Mapping[str, Any],
        batch: Batch,
        index: int,
        folder: Path,
        stem: str,
    ) -> None:
        """Writes images of one item; see `batch_pictures`."""
        batch_pictures(outputs, batch, index, folder, stem)


# -- colours and stretch -------------------------------------------------------------------------


def colours(image: np.ndarray, sensor: Sensor) -> np.ndarray:
    """The bands that are shown: red, green and blue (3, H, W) of (C, H, W), or the one of PAN."""
    return image if len(image) == 1 else image[list(sensor.rgb(len(image)))]


def stretch_limits(values: np.ndarray) -> Limits:
    """The values shown as black and white, per band: the 2nd and 98th percentiles of (C, ...)."""
    bands = values.reshape(len(values), -1)
    bands = bands[:, np.isfinite(bands).all(0)]
    if not bands.shape[1]:
        return np.zeros(len(values)), np.ones(len(values))
    low, high = np.percentile(bands, PERCENTILES, axis=1)
    return low, high


def quicklook(image: np.ndarray, sensor: Sensor, limits: Limits | None = None) -> Image.Image:
    """An image (C, H, W) as it looks to the eye; one band is shown in grey.

    Args:
        image: any unit.
        sensor: says which bands are red, green and blue.
        limits: of the stretch of the bands that are shown; the image's own where None.
    """
    shown = colours(image, sensor)
    low, high = stretch_limits(shown) if limits is None else limits
    span = np.maximum(high - low, np.finfo(np.float32).eps)
    return _picture((shown - low[:, None, None]) / span[:, None, None])


def _picture(values: np.ndarray) -> Image.Image:
    """Values in [0, 1], (1, h, w) or (3, h, w), as a picture."""
    pixels = (np.clip(np.nan_to_num(values), 0, 1) * 255 + 0.5).astype(np.uint8)
    if len(pixels) == 1:
        return Image.fromarray(pixels[0]).convert('RGB')
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


# -- what is written -----------------------------------------------------------------------------


class _Pictures:
    """The pictures of one view, all by the same stretch."""

    def __init__(self, view: View, name: str, details: Sequence[Window] = ()) -> None:
        self.view, self.name = view, name
        _check_details(details, view.shape)
        self.places = list(details) or places(view, DETAIL, len(FRAMES), SEEN)
        self.values = sampled(view)
        base = self.values[view.base]
        self.limits = stretch_limits(colours(base[..., None], view.sensor))
        self.pan_limits = stretch_limits(self.values[PAN])
        self.crop = around(self.places[0], LAYER, view.shape, view.ratio)
        images = {name: read(self.crop) for name, read in view.images.items()}
        self.cropped = images
        self.maps = error_maps.error_maps(
            images[SHARPENED],
            images[PAN],
            images[UPSAMPLED],
            images.get(REFERENCE),
            view.scale,
            view.inside(self.crop),
        )

    def sheets(self, stem: Path) -> list[Path]:
        """Write the sheet, the error maps and the histograms."""
        paths = [stem.with_name(f'{stem.name}{end}.png') for end in ('', '-errors', '-histograms')]
        save_png(self.sheet(), paths[0])
        _save(error_maps.map_figure(self.maps, f'{self.name}: {self.crop}'), paths[1])
        values = {name: image for name, image in self.values.items() if name != PAN}
        bands = self.view.sensor.names(len(values[SHARPENED]))
        figure = error_maps.histogram_figure(values, bands, self.view.scale, self.name)
        _save(figure, paths[2])
        return paths

    def layers(self, folder: Path, stem: str) -> None:
        """Write the same crop of each image and of the error, and a file that names them."""
        pictures = {name: self._show(name, image) for name, image in self.cropped.items()}
        error = self.maps[0]
        pictures['error'] = error_maps.coloured(error)
        layers = []
        for layer, picture in pictures.items():
            file = f'{stem}-{layer.lower().replace(" ", "-")}.png'
            save_png(picture, folder / file)
            layers.append({'name': layer, 'file': file})
        scale = self.view.scale
        told = {
            name: [round(float(value) * scale, 2) for value in values]
            for name, values in (
                ('low', self.limits[0]),
                ('high', self.limits[1]),
                ('pan', [limit[0] for limit in self.pan_limits]),
            )
        }
        record = {
            'item': self.name,
            'layers': layers,
            'pixel': 'PAN',
            'window': list(self.crop),
            # In digital numbers, by band from red to blue.
            'stretch': {'of': self.view.base, 'percentiles': list(PERCENTILES), **told},
            'error': {'what': error.title, 'low': error.low, 'high': round(error.high, 4)},
        }
        text = json.dumps(record, indent=1, ensure_ascii=False) + '\n'
        _save(text.encode(), folder / f'{stem}.json')

    def _show(self, name: str, image: np.ndarray) -> Image.Image:
        limits = self.pan_limits if name == PAN else self.limits
        return quicklook(image, self.view.sensor, limits)

    def _difference(self, image: np.ndarray, other: np.ndarray) -> Image.Image:
        """What was added in brighter, what was taken away in darker than a middle grey."""
        low, high = self.limits
        span = np.maximum(high - low, np.finfo(np.float32).eps)[:, None, None]
        change = colours(image, self.view.sensor) - colours(other, self.view.sensor)
        return _picture(MIDDLE / 255 + AMPLIFIED * change / span)

    def sheet(self) -> Image.Image:
        """Each image in a column: the whole of it, and places in it beneath.

        Of a very large scene the MS alone is seen as a whole, twice as large.
        """
        view = self.view
        names, base = list(view.images), view.base
        labels = [*names, f'sharpened - {base}, x{AMPLIFIED}']
        large = view.shape[0] * view.shape[1] > SEEN
        side = 2 * PANEL + GAP if large else PANEL
        size = (side, max(round(side * view.shape[0] / view.shape[1]), 1))
        head = LABEL + size[1] + GAP
        details = head + (LABEL if large else 0)
        canvas = Image.new(
            'RGB',
            (GAP + len(labels) * (PANEL + GAP), details + len(self.places) * (PANEL + GAP)),
            'white',
        )
        draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(16)
        for column, label in enumerate(labels):
            place = (GAP + column * (PANEL + GAP), head - 4 if large else 4)
            draw.text(place, label, fill='black', font=font)
        if large:
            draw.text((GAP, 4), 'the whole MS', fill='black', font=font)
        for column, whole in enumerate(self._wholes(size, large)):
            left = GAP + column * (PANEL + GAP)
            canvas.paste(whole, (left, LABEL))
            for place, colour in zip(self.places, FRAMES):
                frame = _frame(place, left, LABEL, size[0] / view.shape[1], size[1] / view.shape[0])
                draw.rectangle(frame, outline=colour, width=2)
            if column == len(names):
                draw.text(
                    (left + 8, LABEL + 6),
                    'RMS over bands',
                    fill='white',
                    font=font,
                    stroke_width=2,
                    stroke_fill='black',
                )
        for row, (place, colour) in enumerate(zip(self.places, FRAMES)):
            top = details + row * (PANEL + GAP)
            images = {name: view.images[name](place) for name in names}
            shown = [self._show(name, image) for name, image in images.items()]
            shown.append(self._difference(images[SHARPENED], images[base]))
            for column, detail in enumerate(shown):
                left = GAP + column * (PANEL + GAP)
                canvas.paste(detail.resize((PANEL, PANEL), Image.Resampling.BICUBIC), (left, top))
                box = (left, top, left + PANEL - 1, top + PANEL - 1)
                draw.rectangle(box, outline=colour, width=2)
        return canvas

    def _wholes(self, size: tuple[int, int], large: bool) -> list[Image.Image]:
        """The whole of each image and of the error, or of the MS alone, as pictures of a size."""
        view, side = self.view, 2 * max(size)
        if large:
            low = (view.shape[0] // view.ratio, view.shape[1] // view.ratio)
            shown = [self._show(UPSAMPLED, overview(view.ms, low, side)[0])]
        else:
            sharpened, base = view.images[SHARPENED], view.images[view.base]

            def error(window: Window) -> np.ndarray:
                return error_maps.rms_difference(sharpened(window), base(window))[None]

            shown = [
                self._show(name, overview(read, view.shape, side)[0])
                for name, read in view.images.items()
            ]
            values = overview(error, view.shape, side)[0][0]
            known = error_maps.finite(values)
            high = (float(np.percentile(known, 99)) if known.size else 0.0) or 1.0
            shown.append(error_maps.coloured(error_maps.Map('', values, 0, high)))
        return [image.resize(size, Image.Resampling.LANCZOS) for image in shown]


def save_png(picture: Image.Image, path: Path) -> None:
    """Write a picture; the file appears whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    buffer = io.BytesIO()
    picture.save(buffer, 'png', compress_level=3)  # half the time for a tenth more bytes
    _save(buffer.getvalue(), path)


def _save(content: bytes, path: Path) -> None:
    with replacing(path) as partial:
        partial.write_bytes(content)


def _check_details(details: Sequence[Window], shape: tuple[int, int]) -> None:
    for place in details:
        row, col, height, width = place
        inside = min(row, col) >= 0 and row + height <= shape[0] and col + width <= shape[1]
        if not inside or height != width or height < 1:
            raise ValueError(
                f'details are squares inside the {shape[0]} x {shape[1]} PAN pixels, found {place}'
            )
    if len(details) > len(FRAMES):
        raise ValueError(f'found {len(details)} details, expected up to {len(FRAMES)}')


def _frame(
    window: Window, left: int, top: int, across: float, down: float
) -> tuple[float, float, float, float]:
    return (
        left + window.col * across,
        top + window.row * down,
        left + (window.col + window.width) * across - 1,
        top + (window.row + window.height) * down - 1,
    )
