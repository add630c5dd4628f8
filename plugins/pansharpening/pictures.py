"""Pictures of scenes: true colour with a common stretch, side by side with a detail beneath."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from plugins.pansharpening.raster import replacing
from plugins.pansharpening.scene import Window
from plugins.pansharpening.sensors import Sensor

PANEL = 400  # width of a panel in pixels
GAP = 8
LABEL = 26
PERCENTILES = (2, 98)
FRAME = (255, 196, 0)

Limits = tuple[np.ndarray, np.ndarray]


def colours(image: np.ndarray, sensor: Sensor) -> np.ndarray:
    """The bands that are shown: red, green and blue (3, H, W) of (C, H, W), or the one of PAN."""
    return image if len(image) == 1 else image[list(sensor.rgb(len(image)))]


def stretch_limits(images: Sequence[np.ndarray]) -> Limits:
    """The values shown as black and white, per band, common to all images (C, H, W).

    They are the 2nd and 98th percentiles of all finite pixels together.
    """
    bands = len(images[0])
    low, high = np.zeros(bands), np.ones(bands)
    for band in range(bands):
        values = np.concatenate([_thinned(image[band]) for image in images])
        values = values[np.isfinite(values)]
        if len(values):
            low[band], high[band] = np.percentile(values, PERCENTILES)
    return low, high


def quicklook(image: np.ndarray, sensor: Sensor, limits: Limits | None = None) -> Image.Image:
    """An image (C, H, W) as it looks to the eye; one band is shown in grey.

    Args:
        image: any unit.
        sensor: says which bands are red, green and blue.
        limits: of the stretch; the image's own where None.
    """
    shown = colours(image, sensor)
    low, high = stretch_limits([shown]) if limits is None else limits
    span = np.maximum(high - low, np.finfo(np.float32).eps)
    stretched = (np.nan_to_num(shown) - low[:, None, None]) / span[:, None, None]
    pixels = (np.clip(stretched, 0, 1) * 255 + 0.5).astype(np.uint8)
    if len(pixels) == 1:
        return Image.fromarray(pixels[0]).convert('RGB')
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def comparison(
    panels: Mapping[str, np.ndarray], path: Path, sensor: Sensor, zoom: Window | None = None
) -> None:
    """Write images of the same ground side by side, a detail of each beneath; as a PNG, atomically.

    All colour panels share one stretch, so that they can be compared; PAN has its own.

    Args:
        panels: label -> image (C, H, W), all of one height and width; one band is shown in grey,
            three as red, green and blue, more by the sensor's bands.
        path: where to.
        sensor: says which bands are red, green and blue.
        zoom: the detail; a place with much texture where None.
    Raises:
        ValueError: no panels, or of different sizes.
        RunError: the file cannot be written.
    """
    sizes = {image.shape[1:] for image in panels.values()}
    if len(sizes) != 1:
        raise ValueError(f'panels must be of one size, found {sorted(sizes)}')
    shown = {
        label: image if len(image) == 3 else colours(image, sensor)
        for label, image in panels.items()
    }
    height, width = next(iter(sizes))
    zoom = zoom or busiest(next(iter(shown.values()))[0])
    limits = {
        bands: stretch_limits([image for image in shown.values() if len(image) == bands])
        for bands in {len(image) for image in shown.values()}
    }
    tall = max(round(PANEL * height / width), 1)
    tall_zoom = max(round(PANEL * zoom.height / zoom.width), 1)
    canvas = Image.new(
        'RGB',
        (GAP + len(shown) * (PANEL + GAP), LABEL + tall + GAP + tall_zoom + GAP),
        'white',
    )
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(16)
    for column, (label, image) in enumerate(shown.items()):
        left = GAP + column * (PANEL + GAP)
        draw.text((left, 4), label, fill='black', font=font)
        # Thin out first: a scene of gigapixels must not be stretched whole for a small panel.
        step = max(min(height // tall, width // PANEL) // 2, 1)
        whole = _picture(image[:, ::step, ::step], limits[len(image)])
        canvas.paste(whole.resize((PANEL, tall), Image.Resampling.LANCZOS), (left, LABEL))
        draw.rectangle(_frame(zoom, left, LABEL, PANEL / width, tall / height), outline=FRAME)
        detail = _picture(image[(slice(None), *zoom.slices)], limits[len(image)])
        enlarge = Image.Resampling.BICUBIC if zoom.width < PANEL else Image.Resampling.LANCZOS
        place = (left, LABEL + tall + GAP)
        canvas.paste(detail.resize((PANEL, tall_zoom), enlarge), place)
        draw.rectangle(
            (*place, place[0] + PANEL - 1, place[1] + tall_zoom - 1), outline=FRAME, width=2
        )
    save_png(canvas, path)


def save_png(picture: Image.Image, path: Path) -> None:
    """Write a picture; the file appears whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    buffer = io.BytesIO()
    picture.save(buffer, 'png')
    with replacing(path) as partial:
        partial.write_bytes(buffer.getvalue())


def busiest(image: np.ndarray) -> Window:
    """A square with many edges, some seventh of the image's width, off the border if there is room.

    Args:
        image: (H, W).
    """
    height, width = image.shape
    side = min(max(width // 7, 48), height, width)
    rows, cols = height // side, width // side
    step = max(side // 64, 1)
    tiles = image[: rows * side, : cols * side].reshape(rows, side, cols, side)
    tiles = tiles[:, ::step, :, ::step]
    across, down = (np.abs(np.diff(tiles, axis=axis)).mean((1, 3)) for axis in (3, 1))
    edges = across + down  # (rows, cols)
    if rows > 4 and cols > 4:
        edges[[0, -1]] = edges[:, [0, -1]] = -1
    # The very largest is often one saturated roof.
    inside = np.argsort(edges, axis=None)[(edges < 0).sum() :]
    chosen = int(inside[int(0.85 * (len(inside) - 1))])
    return Window(chosen // cols * side, chosen % cols * side, side, side)


def _picture(image: np.ndarray, limits: Limits) -> Image.Image:
    return quicklook(image, _AS_GIVEN, limits)


def _frame(
    window: Window, left: int, top: int, across: float, down: float
) -> tuple[float, float, float, float]:
    return (
        left + window.col * across,
        top + window.row * down,
        left + (window.col + window.width) * across - 1,
        top + (window.row + window.height) * down - 1,
    )


def _thinned(band: np.ndarray) -> np.ndarray:
    # A million pixels say enough about a percentile.
    step = max(int(np.sqrt(band.size / 1e6)), 1)
    return band[::step, ::step].ravel()


# For images whose bands are already those shown.
_AS_GIVEN = Sensor('RGB', 'red, green, blue', 8, (0.3,), 0.15, ('red', 'green', 'blue'))
