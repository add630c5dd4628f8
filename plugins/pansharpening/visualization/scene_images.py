"""Images of one scene to be shown, read by windows so that the scene may have any size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange

from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.resample import Method, upsampled
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.sensors import Sensor, get_sensor
from plugins.pansharpening.scenes.window import Read, Window

PAN, UPSAMPLED, SHARPENED, REFERENCE = 'PAN', 'upsampled MS', 'sharpened', 'reference'

# Bytes that are read at a time.
STRIP_BYTES = 32 << 20
# Number, along each axis, and side of the windows whose pixels represent the whole image.
PIECES, PIECE = 9, 64


@dataclass(frozen=True)
class SceneImages:
    """PAN, upsampled MS, sharpened image and, if there is one, reference of a scene.

    Attributes:
        shape: height and width in PAN pixels.
        ratio: PAN pixels per MS pixel.
        sensor: names the red, green and blue bands.
        scale: the digital number of the value 1.
        readers: image -> reader of windows of PAN pixels: (C, h, w) float32 in [0, 1], 0 where
            there is no data.
        ms: reader of windows of MS pixels.
        mask: reader of windows of PAN pixels, (h, w) bool, True for valid pixels; None if all are
            valid.
    """

    shape: tuple[int, int]
    ratio: int
    sensor: Sensor
    scale: float
    readers: Mapping[str, Read]
    ms: Read
    mask: Read | None = None

    @property
    def base(self) -> str:
        """Name of the image that sets the stretch: the reference, or the upsampled MS."""
        return REFERENCE if REFERENCE in self.readers else UPSAMPLED

    def read_valid(self, window: Window) -> np.ndarray | None:
        """Reads the valid pixels of a window; None for all."""
        return None if self.mask is None else self.mask(window)


def get_scene_images(
    scene: Scene, sharpened: Read, upsampling: Method = 'interp23tap'
) -> SceneImages:
    """Collects the images of a scene and its sharpened image.

    Args:
        scene: the scene.
        sharpened: reader of windows of PAN pixels: (C, h, w) digital numbers.
        upsampling: interpolation of the MS that is shown beside it.
    """
    scale = np.float32(scene.scale)
    ms = LazyImage(scene.ms_shape, lambda window: torch.from_numpy(scene.read_ms(window))[None])
    fine = upsampled(ms, scene.ratio, upsampling, 'extrapolate')
    readers: dict[str, Read] = {
        PAN: scene.read_pan,
        UPSAMPLED: lambda window: fine.read(window)[0].numpy(),
        SHARPENED: lambda window: sharpened(window).astype(np.float32) / scale,
    }
    if scene.has_reference:
        readers[REFERENCE] = scene.read_reference
    mask = scene.read_mask if scene.masked else None
    return SceneImages(
        scene.pan_shape,
        scene.ratio,
        scene.sensor,
        scene.scale,
        {name: hide_invalid(read, mask) for name, read in readers.items()},
        scene.read_ms,
        mask,
    )


def get_item_images(
    outputs: Mapping[str, Any], batch: Mapping[str, Any], index: int
) -> SceneImages:
    """Collects the images of an item of a batch and of the system's `hrms` and `lrms_up`."""
    meta = batch['meta'][index]
    tensors = {
        PAN: batch['pan'][index],
        UPSAMPLED: outputs['lrms_up'][index],
        SHARPENED: outputs['hrms'][index],
    }
    if 'hrms' in batch:
        tensors[REFERENCE] = batch['hrms'][index]
    arrays = {name: image.detach().float().cpu().numpy() for name, image in tensors.items()}
    lrms = batch['lrms'][index].detach().float().cpu().numpy()
    given = batch['mask'][index].cpu().numpy() if 'mask' in batch else None
    mask = None if given is None else lambda window: make_reader(given)(window)[0]
    return SceneImages(
        arrays[PAN].shape[1:],
        int(meta['ratio']),
        get_sensor(str(meta.get('sensor', 'generic'))),
        float(meta['scale']),
        {name: hide_invalid(make_reader(image), mask) for name, image in arrays.items()},
        make_reader(lrms),
        mask,
    )


def make_reader(image: np.ndarray) -> Read:
    """Makes a reader of windows of an image (C, H, W) in memory."""
    return lambda window: image[(slice(None), *window.slices)]


def hide_invalid(read: Read, mask: Read | None) -> Read:
    """Makes a reader that gives 0 where there is no data, also where a scene is continued there."""
    if mask is None:
        return read
    return lambda window: np.where(mask(window), read(window), np.float32(0))


def make_overview(read: Read, shape: tuple[int, int], side: int) -> tuple[np.ndarray, int]:
    """Reduces an image by means over blocks, without reading all of it at once.

    Args:
        read: reader of its windows.
        shape: its height and width.
        side: largest height or width of the result.
    Returns:
        (C, h, w), and the side of a block in pixels. Incomplete blocks at the right and at the
        bottom are left out.
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
        blocks = rearrange(strip, 'c (rows h) (cols w) -> c rows h cols w', rows=count, cols=cols)
        result[:, row : row + count] = blocks.mean((2, 4), dtype=np.float32)
    return result, step


def spread_windows(shape: tuple[int, int]) -> Iterator[Window]:
    """Spreads windows evenly over an image, about 330,000 pixels; all pixels of small images."""
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


def sample_pixels(images: SceneImages) -> dict[str, np.ndarray]:
    """Samples valid pixels that represent each image: (C, n) by name."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in images.readers}
    for window in spread_windows(images.shape):
        inside = images.read_valid(window)
        for name, read in images.readers.items():
            values = read(window)
            flat = values.reshape(len(values), -1)
            found[name].append(flat if inside is None else flat[:, inside.ravel()])
    return {name: np.concatenate(values, 1) for name, values in found.items()}


def find_detailed_windows(
    images: SceneImages, side: int, count: int, seen: int = 64 << 20
) -> list[Window]:
    """Finds distant squares with much detail, in descending order; deterministic.

    Args:
        images: of the scene.
        side: of a square in PAN pixels; at most a third of the scene.
        count: number of squares; fewer if they do not fit.
        seen: size in PAN pixels up to which detail is searched in the PAN, otherwise in the MS.
    """
    height, width = images.shape
    side = max(min(side, height // 3, width // 3), min(32, height, width))
    if height * width <= seen:
        image, step = make_overview(images.readers[PAN], images.shape, 2048)
    else:
        low = (height // images.ratio, width // images.ratio)
        image, step = make_overview(images.ms, low, 2048)
        step *= images.ratio
    detail = _measure_detail(image.mean(0), max(side // step, 2))
    rows, cols = detail.shape
    if rows > 4 and cols > 4:
        detail[[0, -1]] = detail[:, [0, -1]] = -1
    tile = max(side // step, 2) * step
    if images.mask is not None:
        for row, col in np.ndindex(rows, cols):
            window = _clamp_window(row * tile, col * tile, side, images.shape)
            if detail[row, col] >= 0 and not images.mask(window).all():
                detail[row, col] = -1
    order = [int(i) for i in np.argsort(detail, axis=None, kind='stable')[::-1]]
    usable = [i for i in order if detail.flat[i] >= 0] or order
    # The squares with the most detail are often saturated roofs.
    usable = usable[int(0.15 * len(usable)) :]
    found: list[tuple[int, int]] = []
    for apart in (max(2, min(rows, cols) // 3), 2, 1):
        for i in usable:
            row, col = divmod(i, cols)
            if len(found) < count and all(
                max(abs(row - r), abs(col - c)) >= apart for r, c in found
            ):
                found.append((row, col))
    return [_clamp_window(row * tile, col * tile, side, images.shape) for row, col in found]


def enlarge_window(place: Window, side: int, shape: tuple[int, int], ratio: int) -> Window:
    """Enlarges a window, inside the image and on whole MS pixels."""
    spans = []
    for start, length, extent in zip(place[:2], place[2:], shape, strict=True):
        size = min(side // ratio * ratio or extent, extent)
        first = min(max(start + length // 2 - size // 2, 0), extent - size)
        spans.append((first // ratio * ratio, size))
    (row, height), (col, width) = spans
    return Window(row, col, height, width)


def _clamp_window(row: int, col: int, side: int, shape: tuple[int, int]) -> Window:
    return Window(min(row, shape[0] - side), min(col, shape[1] - side), side, side)


def _measure_detail(image: np.ndarray, side: int) -> np.ndarray:
    """Averages the absolute differences of neighbours in each tile of an image (h, w)."""
    rows, cols = (max(extent // side, 1) for extent in image.shape)
    tiles = image[: rows * side, : cols * side]
    tiles = tiles.reshape(rows, min(side, image.shape[0]), cols, min(side, image.shape[1]))
    edges = np.zeros((rows, cols), np.float32)
    for axis in (1, 3):
        if tiles.shape[axis] > 1:
            edges += np.abs(np.diff(tiles, axis=axis)).mean((1, 3))
    return edges
