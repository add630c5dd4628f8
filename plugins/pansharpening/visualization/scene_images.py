"""What pictures look at: the images of one scene, read by windows, whatever its size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.resample import Method, upsampled
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.sensors import Sensor
from plugins.pansharpening.scenes.sensors import sensor as sensor_named
from plugins.pansharpening.scenes.window import Read, Window

PAN, UPSAMPLED, SHARPENED, REFERENCE = 'PAN', 'upsampled MS', 'sharpened', 'reference'

# What is read at a time.
STRIP_BYTES = 32 << 20
# Pieces of an image whose values stand for all of it, along each axis, and their side.
PIECES, PIECE = 9, 64


@dataclass(frozen=True)
class View:
    """One scene and what was made of it.

    Attributes:
        shape: height and width in PAN pixels.
        ratio: PAN pixels per MS pixel.
        sensor: says which bands are red, green and blue.
        scale: the digital number that is 1.
        images: by name, each a reader of windows of PAN pixels: (C, h, w) float32 in [0, 1].
        ms: reader of windows of MS pixels.
        mask: reader of windows of PAN pixels, (h, w) bool, True where there is data; None where
            there is everywhere.
    """

    shape: tuple[int, int]
    ratio: int
    sensor: Sensor
    scale: float
    images: Mapping[str, Read]
    ms: Read
    mask: Read | None = None

    @property
    def base(self) -> str:
        """The image whose values set the stretch: the reference, or the upsampled MS."""
        return REFERENCE if REFERENCE in self.images else UPSAMPLED

    def inside(self, window: Window) -> np.ndarray | None:
        """Which pixels of a window hold data; None for all."""
        return None if self.mask is None else self.mask(window)


def scene_view(scene: Scene, sharpened: Read, upsampling: Method = 'interp23tap') -> View:
    """A scene and its sharpened image.

    Args:
        scene: which.
        sharpened: reader of windows of PAN pixels: (C, h, w) digital numbers.
        upsampling: how the MS that it is compared with is brought to PAN's scale.
    """
    scale = np.float32(scene.scale)
    ms = LazyImage(scene.ms_shape, lambda window: torch.from_numpy(scene.read_ms(window))[None])
    fine = upsampled(ms, scene.ratio, upsampling)
    images: dict[str, Read] = {
        PAN: scene.read_pan,
        UPSAMPLED: lambda window: fine.read(window)[0].numpy(),
        SHARPENED: lambda window: sharpened(window).astype(np.float32) / scale,
    }
    if scene.has_reference:
        images[REFERENCE] = scene.read_reference
    return View(
        scene.pan_shape,
        scene.ratio,
        scene.sensor,
        scene.scale,
        images,
        scene.read_ms,
        scene.read_mask if scene.masked else None,
    )


def batch_view(outputs: Mapping[str, Any], batch: Mapping[str, Any], index: int) -> View:
    """An item of a batch and what a system made of it (`hrms` and `lrms_up`)."""
    meta = batch['meta'][index]
    found = {
        PAN: batch['pan'][index],
        UPSAMPLED: outputs['lrms_up'][index],
        SHARPENED: outputs['hrms'][index],
    }
    if 'hrms' in batch:
        found[REFERENCE] = batch['hrms'][index]
    images = {name: image.detach().float().cpu().numpy() for name, image in found.items()}
    lrms = batch['lrms'][index].detach().float().cpu().numpy()
    mask = batch['mask'][index].cpu().numpy() if 'mask' in batch else None
    return View(
        images[PAN].shape[1:],
        int(meta['ratio']),
        sensor_named(str(meta.get('sensor', 'generic'))),
        float(meta['scale']),
        {name: reader(image) for name, image in images.items()},
        reader(lrms),
        None if mask is None else lambda window: reader(mask)(window)[0],
    )


def reader(image: np.ndarray) -> Read:
    """An image (C, H, W) that is there, as one that is read by windows."""
    return lambda window: image[(slice(None), *window.slices)]


def overview(read: Read, shape: tuple[int, int], side: int) -> tuple[np.ndarray, int]:
    """An image made small by taking means, without it ever being read whole.

    Args:
        read: gives windows of it.
        shape: its height and width.
        side: largest height or width of the result.
    Returns:
        (C, h, w), and how many pixels along each axis went into one; those that are left over at
        the right and below are not seen.
    """
    step = max(-(-max(shape) // side), 1)
    rows, cols = (max(extent // step, 1) for extent in shape)
    height, width = (min(step, extent) for extent in shape)  # of a block
    bands = len(read(Window(0, 0, 1, 1)))
    result = np.empty((bands, rows, cols), np.float32)
    many = max(STRIP_BYTES // (4 * bands * shape[1] * height), 1)
    for row in range(0, rows, many):
        count = min(many, rows - row)
        strip = read(Window(row * height, 0, count * height, cols * width))
        blocks = strip.reshape(bands, count, height, cols, width)
        result[:, row : row + count] = blocks.mean((2, 4), dtype=np.float32)
    return result, step


def pieces(shape: tuple[int, int]) -> Iterator[Window]:
    """Windows spread evenly over an image, some 330,000 pixels, all of it where it is small."""
    spans = []
    for extent in shape:
        if extent <= PIECES * PIECE:
            spans.append([(start, min(PIECE, extent - start)) for start in range(0, extent, PIECE)])
        else:
            starts = np.linspace(0, extent - PIECE, PIECES).round().astype(int)
            spans.append([(int(start), PIECE) for start in starts])
    for row, height in spans[0]:
        for col, width in spans[1]:
            yield Window(row, col, height, width)


def sampled(view: View) -> dict[str, np.ndarray]:
    """Pixels of each image that stand for all of it, where there is data: (C, n) by name."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in view.images}
    for window in pieces(view.shape):
        inside = view.inside(window)
        for name, read in view.images.items():
            values = read(window)
            flat = values.reshape(len(values), -1)
            found[name].append(flat if inside is None else flat[:, inside.ravel()])
    return {name: np.concatenate(values, 1) for name, values in found.items()}


def places(view: View, side: int, count: int, seen: int = 64 << 20) -> list[Window]:
    """Squares with much detail that lie apart, the one with most first; always the same ones.

    Args:
        view: of the scene.
        side: of a square in PAN pixels; a third of the scene where that is less.
        count: how many; fewer where there is no room.
        seen: PAN pixels up to which the PAN is looked through for detail; the MS beyond.
    """
    height, width = view.shape
    side = max(min(side, height // 3, width // 3), min(32, height, width))
    if height * width <= seen:
        image, step = overview(view.images[PAN], view.shape, 2048)
    else:
        low = (height // view.ratio, width // view.ratio)
        image, step = overview(view.ms, low, 2048)
        step *= view.ratio
    detail = _detail(image.mean(0), max(side // step, 2))
    rows, cols = detail.shape
    if rows > 4 and cols > 4:
        detail[[0, -1]] = detail[:, [0, -1]] = -1
    tile = max(side // step, 2) * step
    if view.mask is not None:
        for row, col in np.ndindex(rows, cols):
            window = _clamped(row * tile, col * tile, side, view.shape)
            if detail[row, col] >= 0 and not view.mask(window).all():
                detail[row, col] = -1
    order = [int(i) for i in np.argsort(detail, axis=None, kind='stable')[::-1]]
    usable = [i for i in order if detail.flat[i] >= 0] or order
    # The very largest are often saturated roofs.
    usable = usable[int(0.15 * len(usable)) :]
    chosen: list[tuple[int, int]] = []
    for apart in (max(2, min(rows, cols) // 3), 2, 1):
        for i in usable:
            row, col = divmod(i, cols)
            if len(chosen) < count and all(
                max(abs(row - r), abs(col - c)) >= apart for r, c in chosen
            ):
                chosen.append((row, col))
    return [_clamped(row * tile, col * tile, side, view.shape) for row, col in chosen]


def around(place: Window, side: int, shape: tuple[int, int], ratio: int) -> Window:
    """A larger window around one, inside the image and on whole MS pixels."""
    spans = []
    for start, length, extent in zip(place[:2], place[2:], shape, strict=True):
        size = min(side // ratio * ratio or extent, extent)
        first = min(max(start + length // 2 - size // 2, 0), extent - size)
        spans.append((first // ratio * ratio, size))
    (row, height), (col, width) = spans
    return Window(row, col, height, width)


def _clamped(row: int, col: int, side: int, shape: tuple[int, int]) -> Window:
    return Window(min(row, shape[0] - side), min(col, shape[1] - side), side, side)


def _detail(image: np.ndarray, side: int) -> np.ndarray:
    """Mean absolute differences of neighbours in each of the tiles of an image (h, w)."""
    rows, cols = (max(extent // side, 1) for extent in image.shape)
    tiles = image[: rows * side, : cols * side]
    tiles = tiles.reshape(rows, min(side, image.shape[0]), cols, min(side, image.shape[1]))
    edges = np.zeros((rows, cols), np.float32)
    for axis in (1, 3):
        if tiles.shape[axis] > 1:
            edges += np.abs(np.diff(tiles, axis=axis)).mean((1, 3))
    return edges
