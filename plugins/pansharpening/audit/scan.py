"""Scans one scene: hashes, a small copy, ranges, saturation, and how MS, PAN and reference fit."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import numpy as np
import torch

from plugins.pansharpening.data.archives.scene_archive import ArchivedScene
from plugins.pansharpening.imaging.mtf import mtf_filter
from plugins.pansharpening.imaging.registration import Registration, register, register_images
from plugins.pansharpening.imaging.resample import imresize_by
from plugins.pansharpening.metrics.functional.upsampling import upsample_lrms
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window

COPY = 16  # pixels a side of the small copies by which scenes are compared
SIDE = 2048  # PAN pixels a side of the part of a large scene that is looked at, in its middle


@dataclass(frozen=True)
class ImageStatistics:
    """Values of one band, in digital numbers.

    Attributes:
        name: such as 'band 3 of the MS'.
        low, high: smallest and largest value.
        mean: of the values.
        saturated: share of the values that are at the full scale, or above.
        step: greatest common divisor of the values' differences; 0 for fractions and constants.
    """

    name: str
    low: float
    high: float
    mean: float
    saturated: float
    step: int

    @property
    def constant(self) -> bool:
        return self.low == self.high


@dataclass(frozen=True)
class SceneScan:
    """Result of scanning one scene.

    Attributes:
        name: of the scene.
        subset: train, test and so on; the name of the archive where there are several.
        bits: bit depth of the digital numbers.
        ratio: PAN pixels per MS pixel.
        hashes: of MS, PAN and reference by name; of the values, so that types do not count.
        ms_copy, pan_copy: small copies, centred and of norm 1; of zeros for a constant image.
        images: statistics of all bands, of the PAN and of the reference.
        fit: share of the variance of the low-passed PAN that the bands explain; NaN if it has none.
        against_pan: shift of the MS against the PAN.
        against_reference: shift of the MS against the reference; None without one.
        assumption: says that the sensor's MTF gains are assumed; '' if they are not.
    """

    name: str
    subset: str
    bits: int
    ratio: int
    hashes: dict[str, str]
    ms_copy: np.ndarray = field(repr=False)
    pan_copy: np.ndarray = field(repr=False)
    images: tuple[ImageStatistics, ...]
    fit: float
    against_pan: Registration
    against_reference: Registration | None
    assumption: str


def scan_scene(found: ArchivedScene, name: str, subset: str) -> SceneScan:
    """Scans a scene; of a large one, the middle.

    Raises:
        DataError: it cannot be read, or holds values that its bit depth cannot.
    """
    scene = found.scene
    window = choose_middle(scene)
    ms, pan = scene.read_ms(window.reduced(scene.ratio)), scene.read_pan(window)
    mask = scene.read_mask(window)
    valid = np.ones(window.shape, bool) if mask is None else mask
    coarse = valid.reshape(ms.shape[1], scene.ratio, ms.shape[2], scene.ratio).all((1, 3))
    hashes = {'MS': _hash(ms), 'PAN': _hash(pan)}
    named = [
        *((f'band {n} of the MS', band, coarse) for n, band in enumerate(ms, 1)),
        ('the PAN', pan[0], valid),
    ]
    against_reference = None
    if found.reference is not None:
        truth = found.reference.values / np.float64(scene.scale)
        hashes['reference'] = _hash(truth.astype(np.float32))
        if truth.shape[1:] == scene.pan_shape:
            truth = window.cut(truth)
            everywhere = np.ones(window.shape, bool)
            named += [(f'band {n} of the reference', b, everywhere) for n, b in enumerate(truth, 1)]
            against_reference = register_to_reference(scene, ms, truth, valid)
    return SceneScan(
        name,
        subset,
        scene.bits,
        scene.ratio,
        hashes,
        make_copy(ms.mean(0), coarse),
        make_copy(pan[0], valid),
        tuple(_measure(label, band[inside], scene.scale) for label, band, inside in named),
        compute_fit(ms, pan, coarse, scene.ratio),
        register(scene),
        against_reference,
        scene.sensor.describe_assumption() if scene.sensor.assumed else '',
    )


def choose_middle(scene: Scene) -> Window:
    """Chooses the whole of a scene, or the middle of a large one, on whole MS pixels."""
    side = max(SIDE // scene.ratio, 1)
    height, width = (min(extent, side) for extent in scene.ms_shape)
    row, col = ((e - s) // 2 for e, s in zip(scene.ms_shape, (height, width), strict=True))
    return Window(row, col, height, width).enlarged(scene.ratio)


def make_copy(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Makes a small copy of an image (H, W), centred and of norm 1: (256,)."""
    mean = float(image[valid].mean()) if valid.any() else 0.0
    grey = torch.from_numpy(np.where(valid, image, mean).astype(np.float64))[None, None]
    small = torch.nn.functional.adaptive_avg_pool2d(grey, COPY).flatten().numpy()
    small = small - small.mean()
    norm = float(np.sqrt((small**2).sum()))
    return small / norm if norm > 1e-9 else np.zeros_like(small)


def compute_fit(ms: np.ndarray, pan: np.ndarray, valid: np.ndarray, ratio: int) -> float:
    """Computes R2 of the PAN, brought down to the MS, regressed on the bands and a constant."""
    low = imresize_by(torch.from_numpy(pan).double(), ratio)[0].numpy()[valid]
    bands = ms[:, valid].astype(np.float64)
    columns = np.column_stack([*bands, np.ones(low.size)])
    spread = float(((low - low.mean()) ** 2).sum()) if low.size else 0.0
    if low.size <= 4 * columns.shape[1] or spread <= 1e-12 * low.size:
        return math.nan
    residual = low - columns @ np.linalg.lstsq(columns, low, rcond=None)[0]
    return 1 - float((residual**2).sum()) / spread


def register_to_reference(
    scene: Scene, ms: np.ndarray, truth: np.ndarray, valid: np.ndarray
) -> Registration:
    """Measures how far the MS lies from the reference, seen through the sensor's MTF.

    Where the MS samples are averages, at the centres of their pixels, it is found half a pixel
    above and left of the place that `interp23tap` assumes.
    """
    fine = torch.from_numpy(truth).double()[None]
    seen = mtf_filter(fine, scene.sensor.gains(len(truth)), scene.ratio)[0].numpy()
    up = upsample_lrms(torch.from_numpy(ms)[None].double(), scene.ratio)[0].numpy()
    return register_images(seen.mean(0), up.mean(0), valid, scene.ratio)


def _measure(name: str, values: np.ndarray, scale: int) -> ImageStatistics:
    numbers = values.astype(np.float64) * scale
    if not numbers.size:
        return ImageStatistics(name, math.nan, math.nan, math.nan, 0.0, 0)
    whole = np.round(numbers)
    step = 0
    if scale > 1 and float(np.abs(numbers - whole).max()) < 1e-3 * max(1.0, scale / 2**16):
        step = int(np.gcd.reduce((whole - whole.min()).astype(np.int64).ravel()))
    return ImageStatistics(
        name,
        float(numbers.min()),
        float(numbers.max()),
        float(numbers.mean()),
        float((numbers >= scale - 1e-6 * scale).mean()),
        step,
    )


def _hash(values: np.ndarray) -> str:
    digest = hashlib.sha256(str(values.shape).encode())
    digest.update(np.ascontiguousarray(values, dtype=np.float32))
    return digest.hexdigest()[:16]
