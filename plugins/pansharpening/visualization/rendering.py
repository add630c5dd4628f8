"""Renders images in natural colours with the stretch of percentiles, and writes them as PNG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from plugins.pansharpening.scenes.sensors import Sensor
from toolkit.io import atomic_write

PERCENTILES = (2, 98)
Limits = tuple[np.ndarray, np.ndarray]


def select_colours(image: np.ndarray, sensor: Sensor) -> np.ndarray:
    """Selects red, green and blue: (C, H, W) -> (3, H, W); PAN has one band."""
    return image if len(image) == 1 else image[list(sensor.rgb(len(image)))]


def compute_stretch(values: np.ndarray) -> Limits:
    """Computes the values of black and white: 2nd and 98th percentiles of each band of (C, ...)."""
    bands = values.reshape(len(values), -1)
    bands = bands[:, np.isfinite(bands).all(0)]
    if not bands.shape[1]:
        return np.zeros(len(values)), np.ones(len(values))
    low, high = np.percentile(bands, PERCENTILES, axis=1)
    return low, high


def render_image(image: np.ndarray, sensor: Sensor, limits: Limits | None = None) -> Image.Image:
    """Renders an image (C, H, W) in natural colours, or in grey if it has one band.

    Args:
        image: in any unit.
        sensor: names the red, green and blue bands.
        limits: of the stretch of these bands; None for the image's own.
    """
    shown = select_colours(image, sensor)
    low, high = compute_stretch(shown) if limits is None else limits
    span = np.maximum(high - low, np.finfo(np.float32).eps)
    return to_pil_image((shown - low[:, None, None]) / span[:, None, None])


def to_pil_image(values: np.ndarray) -> Image.Image:
    """Converts values in [0, 1], (1, h, w) or (3, h, w)."""
    pixels = (np.clip(np.nan_to_num(values), 0, 1) * 255 + 0.5).astype(np.uint8)
    if len(pixels) == 1:
        return Image.fromarray(pixels[0]).convert('RGB')
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def save_png(image: Image.Image, path: Path) -> None:
    """Writes an image atomically.

    Raises:
        RunError: the file cannot be written.
    """
    buffer = io.BytesIO()
    image.save(buffer, 'png', compress_level=3)  # half the time for a tenth more bytes
    atomic_write.write(path, buffer.getvalue())
