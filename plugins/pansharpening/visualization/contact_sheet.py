"""Contact sheet of a sharpened scene: all images side by side with one stretch, and error maps.

They need bounded reads only, so that a scene may have any size. The stretch goes from the 2nd to
the 98th percentile of each band of the reference, or of the upsampled MS without a reference. PAN,
which has its own detector, has its own percentiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from plugins.pansharpening.imaging.resample import Method
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Read, Window
from plugins.pansharpening.visualization import error_maps
from plugins.pansharpening.visualization.rendering import (
    PERCENTILES,
    compute_stretch,
    render_image,
    save_png,
    select_colours,
    to_pil_image,
)
from plugins.pansharpening.visualization.scene_images import (
    PAN,
    REFERENCE,
    SHARPENED,
    UPSAMPLED,
    SceneImages,
    enlarge_window,
    find_detailed_windows,
    get_scene_images,
    make_overview,
    sample_pixels,
)
from toolkit.io import atomic_write
from toolkit.io.json_values import write_json

PANEL = 340  # side of a panel of the sheet in pixels
GAP = 8
LABEL = 26
FRAMES = ((255, 196, 0), (0, 190, 255), (255, 80, 160))  # of the enlarged details
DETAIL = 160  # side of a detail in PAN pixels
LAYER = 768  # largest side of the layers in PAN pixels
AMPLIFICATION = 2  # of differences, relative to the images
# Scenes with more PAN pixels are shown as a whole by their MS only.
LARGEST = 64 << 20
GREY = 128  # a difference of zero


def write_scene_images(
    scene: Scene,
    sharpened: Read,
    stem: Path,
    upsampling: Method = 'interp23tap',
    details: Sequence[Window] = (),
) -> list[Path]:
    """Writes images of a sharpened scene.

    `STEM.png` has the images side by side, as a whole and in three squares with much detail;
    `STEM-errors.png` maps of the error around the first square; `STEM-histograms.png` the bands.

    Args:
        scene: the scene.
        sharpened: reads a window of PAN pixels of the result: (C, h, w) digital numbers.
        stem: path without suffix.
        upsampling: of the MS that is shown beside the result.
        details: up to three squares of PAN pixels to enlarge; by default squares with much detail.
    Returns:
        The files written.
    Raises:
        ValueError: the details are not squares inside the scene, or more than three.
        DataError: the scene cannot be read.
        RunError: a file cannot be written.
    """
    images = get_scene_images(scene, sharpened, upsampling)
    return SceneImageWriter(images, scene.name, details).write_sheets(Path(stem))


# -- colours and stretch -------------------------------------------------------------------------


# -- files ---------------------------------------------------------------------------------------


class SceneImageWriter:
    """Writes the images of one scene with the same stretch."""

    def __init__(self, images: SceneImages, name: str, details: Sequence[Window] = ()) -> None:
        self.images, self.name = images, name
        _check_details(details, images.shape)
        self.details = list(details) or find_detailed_windows(images, DETAIL, len(FRAMES), LARGEST)
        self.values = sample_pixels(images)
        base = self.values[images.base]
        self.limits = compute_stretch(select_colours(base[..., None], images.sensor))
        self.pan_limits = compute_stretch(self.values[PAN])
        self.crop = enlarge_window(self.details[0], LAYER, images.shape, images.ratio)
        crops = {name: read(self.crop) for name, read in images.readers.items()}
        self.crops = crops
        self.maps = error_maps.compute_error_maps(
            crops[SHARPENED],
            crops[PAN],
            crops[UPSAMPLED],
            crops.get(REFERENCE),
            images.scale,
            images.read_valid(self.crop),
        )

    def write_sheets(self, stem: Path) -> list[Path]:
        """Writes the contact sheet, the error maps and the histograms."""
        paths = list_sheet_files(stem)
        save_png(self._draw_sheet(), paths[0])
        maps = error_maps.draw_maps(self.maps, f'{self.name}: {self.crop}')
        atomic_write.write(paths[1], maps)
        values = {name: image for name, image in self.values.items() if name != PAN}
        bands = self.images.sensor.names(len(values[SHARPENED]))
        figure = error_maps.draw_histograms(values, bands, self.images.scale, self.name)
        atomic_write.write(paths[2], figure)
        return paths

    def write_layers(self, folder: Path, stem: str) -> None:
        """Writes the same crop of each image and of the error, and a file that names them."""
        rendered = {name: self._render(name, image) for name, image in self.crops.items()}
        error = self.maps[0]
        rendered['error'] = error_maps.paint_map(error)
        layers = []
        for layer, image in rendered.items():
            file = f'{stem}-{layer.lower().replace(" ", "-")}.png'
            save_png(image, folder / file)
            layers.append({'name': layer, 'file': file})
        images, scale = self.images, self.images.scale
        limits = {
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
            # Numbers of the bands shown as red, green and blue.
            'bands': [band + 1 for band in images.sensor.rgb(len(self.values[SHARPENED]))],
            'pixel': 'PAN',
            'window': list(self.crop),
            # In digital numbers, by band from red to blue.
            'stretch': {'of': self.images.base, 'percentiles': list(PERCENTILES), **limits},
            'error': {'what': error.title, 'low': error.low, 'high': round(error.high, 4)},
        }
        write_json(folder / f'{stem}.json', record)

    def _render(self, name: str, image: np.ndarray) -> Image.Image:
        limits = self.pan_limits if name == PAN else self.limits
        return render_image(image, self.images.sensor, limits)

    def _render_difference(self, image: np.ndarray, other: np.ndarray) -> Image.Image:
        """Renders the difference to another image: brighter or darker than a middle grey."""
        low, high = self.limits
        span = np.maximum(high - low, np.finfo(np.float32).eps)[:, None, None]
        change = select_colours(image, self.images.sensor) - select_colours(
            other, self.images.sensor
        )
        return to_pil_image(GREY / 255 + AMPLIFICATION * change / span)

    def _draw_sheet(self) -> Image.Image:
        """Draws a column for each image: the whole image, and the details below it.

        The whole of a very large scene is shown by the MS only, twice as large.
        """
        images = self.images
        names, base = list(images.readers), images.base
        labels = [*names, f'sharpened - {base}, x{AMPLIFICATION}']
        if colours := images.sensor.describe_colours(len(self.values[SHARPENED])):
            labels[names.index(UPSAMPLED)] += f', {colours}'
        large = images.shape[0] * images.shape[1] > LARGEST
        side = 2 * PANEL + GAP if large else PANEL
        size = (side, max(round(side * images.shape[0] / images.shape[1]), 1))
        head = LABEL + size[1] + GAP
        details = head + (LABEL if large else 0)
        canvas = Image.new(
            'RGB',
            (GAP + len(labels) * (PANEL + GAP), details + len(self.details) * (PANEL + GAP)),
            'white',
        )
        draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(16)
        for column, label in enumerate(labels):
            place = (GAP + column * (PANEL + GAP), head - 4 if large else 4)
            draw.text(place, label, fill='black', font=font)
        if large:
            draw.text((GAP, 4), 'the whole MS', fill='black', font=font)
        for column, whole in enumerate(self._render_wholes(size, large)):
            left = GAP + column * (PANEL + GAP)
            canvas.paste(whole, (left, LABEL))
            for place, colour in zip(self.details, FRAMES):
                frame = _compute_frame(
                    place, left, LABEL, size[0] / images.shape[1], size[1] / images.shape[0]
                )
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
        for row, (place, colour) in enumerate(zip(self.details, FRAMES)):
            top = details + row * (PANEL + GAP)
            crops = {name: images.readers[name](place) for name in names}
            shown = [self._render(name, crop) for name, crop in crops.items()]
            shown.append(self._render_difference(crops[SHARPENED], crops[base]))
            for column, detail in enumerate(shown):
                left = GAP + column * (PANEL + GAP)
                canvas.paste(detail.resize((PANEL, PANEL), Image.Resampling.BICUBIC), (left, top))
                box = (left, top, left + PANEL - 1, top + PANEL - 1)
                draw.rectangle(box, outline=colour, width=2)
        return canvas

    def _render_wholes(self, size: tuple[int, int], large: bool) -> list[Image.Image]:
        """Renders each whole image and the error, or the MS only, at a size."""
        images, side = self.images, 2 * max(size)
        if large:
            low = (images.shape[0] // images.ratio, images.shape[1] // images.ratio)
            shown = [self._render(UPSAMPLED, make_overview(images.ms, low, side)[0])]
        else:
            sharpened, base = images.readers[SHARPENED], images.readers[images.base]

            def error(window: Window) -> np.ndarray:
                return error_maps.compute_rms_difference(sharpened(window), base(window))[None]

            shown = [
                self._render(name, make_overview(read, images.shape, side)[0])
                for name, read in images.readers.items()
            ]
            values = make_overview(error, images.shape, side)[0][0]
            known = error_maps.select_finite(values)
            high = (float(np.percentile(known, 99)) if known.size else 0.0) or 1.0
            shown.append(error_maps.paint_map(error_maps.ErrorMap('', values, 0, high)))
        return [image.resize(size, Image.Resampling.LANCZOS) for image in shown]


def list_sheet_files(stem: Path) -> list[Path]:
    """Lists the files that `write_scene_images` writes for a path without suffix."""
    return [stem.with_name(f'{stem.name}{end}.png') for end in ('', '-errors', '-histograms')]


def _check_details(details: Sequence[Window], shape: tuple[int, int]) -> None:
    for place in details:
        row, col, height, width = place
        inside = min(row, col) >= 0 and row + height <= shape[0] and col + width <= shape[1]
        if not inside or height != width or height < 1:
            raise ValueError(
                f'details must be squares inside the {shape[0]} x {shape[1]} PAN pixels, '
                f'found {place}'
            )
    if len(details) > len(FRAMES):
        raise ValueError(f'found {len(details)} details, expected up to {len(FRAMES)}')


def _compute_frame(
    window: Window, left: int, top: int, across: float, down: float
) -> tuple[float, float, float, float]:
    return (
        left + window.col * across,
        top + window.row * down,
        left + (window.col + window.width) * across - 1,
        top + (window.row + window.height) * down - 1,
    )
