"""Pairs of MS and PAN with a known truth, and the errors of a sharpened image by place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin
from scipy.ndimage import distance_transform_edt

from plugins.pansharpening.imaging.masks import coarse
from plugins.pansharpening.imaging.mtf import mtf_filter
from plugins.pansharpening.imaging.registration import measure_shift
from plugins.pansharpening.scenes.grid_shift import read_shifted
from plugins.pansharpening.scenes.rasters.band_files import BandFiles
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.synthetic.scene import SyntheticScene
from toolkit.errors import DataError

BITS = 16  # of the cases' files, whatever the sensor's are
# PAN pixels: the rim along pixels without data, the border of the image, and what is near either.
RIM, BORDER, NEAR = 2, 2, 16


class Case(NamedTuple):
    """Files of one pair, and the image that sharpening should give.

    Attributes:
        name: short name.
        ms: path of the MS.
        pan: path of the PAN.
        truth: (C, H, W) digital numbers.
        valid: (H, W) bool, pixels with data in both files.
        ratio: PAN pixels per MS pixel.
        sensor: name of the sensor.
    """

    name: str
    ms: Path
    pan: Path
    truth: np.ndarray
    valid: np.ndarray
    ratio: int
    sensor: str


class PlaceErrors(NamedTuple):
    """Relative errors in percent of the bands' means, and the shift in PAN pixels; NaN for none."""

    inside: float
    rim: float
    border: float
    rows: float
    cols: float


def draw_cases(folder: Path, size: int, seed: int) -> list[Case]:
    """Draws a synthetic scene whole, with a black collar, and with stripes without data.

    The MS samples lie at the centres of their PAN pixels, as georeferences mean it.
    """
    scene = SyntheticScene(bands=4, size=size, seed=seed)
    assert scene.reference is not None
    numbers = scene.reference * scene.scale, scene.read_pan() * scene.scale
    low = _reduce_at_centres(numbers[0], scene.sensor.gains(4), scene.ratio)
    row, col = np.mgrid[: low.shape[1], : low.shape[2]] / low.shape[1]
    return [
        _write_case(folder, name, numbers[0], low, numbers[1], missing, scene.sensor.name)
        for name, missing in (
            ('whole', np.zeros(low.shape[1:], bool)),
            ('collar', (col + 0.3 * row < 0.23) | (col - 0.3 * row > 0.7)),
            ('stripes', (128 * row + 25 * col) % 24 < 4),
        )
    ]


def reduce_pair(folder: Path, ms: str, pan: str, sensor: str) -> Case:
    """Makes a case of real files: the MS is the truth, and both are reduced by their ratio."""
    scene = RasterScene(ms, pan, sensor, BITS, samples='centre')
    ratio = scene.ratio
    height, width = (extent // ratio * ratio for extent in scene.ms_shape)
    window = Window(0, 0, height, width)
    truth = scene.read_ms(window) * scene.scale
    fine = scene.read_pan(window.enlarged(ratio)) * scene.scale
    reduced = fine.reshape(1, height, ratio, width, ratio).mean((2, 4))
    mask = scene.read_mask(window.enlarged(ratio))
    missing = np.zeros((height // ratio, width // ratio), bool)
    if mask is not None:
        once = coarse(torch.from_numpy(mask)[None, None], ratio)
        twice = coarse(once, ratio)
        assert twice is not None
        missing = ~twice[0, 0].numpy()
    low = _reduce_at_centres(truth, scene.sensor.gains(scene.bands), ratio)
    return _write_case(folder, scene.name, truth, low, reduced, missing, sensor)


def find_cases(folder: Path, sensor: str) -> Iterator[Case]:
    """Yields the cases of a folder: NAME_ms.tif, NAME_pan.tif and NAME.npy, the truth (C, H, W).

    Raises:
        DataError: there is none, or a truth that has not the shape of its image.
    """
    names = sorted(path.stem for path in folder.glob('*.npy'))
    names = [n for n in names if all((folder / f'{n}_{i}.tif').is_file() for i in ('ms', 'pan'))]
    if not names:
        raise DataError(
            f'{folder}: found no case; expected files NAME_ms.tif, NAME_pan.tif and NAME.npy, the '
            'true image (bands, height, width) in digital numbers'
        )
    for name in names:
        ms, pan = folder / f'{name}_ms.tif', folder / f'{name}_pan.tif'
        scene = RasterScene(str(ms), str(pan), sensor, BITS)
        truth = np.load(folder / f'{name}.npy', allow_pickle=False)
        if truth.shape != (scene.bands, *scene.pan_shape):
            raise DataError(
                f'{folder / name}.npy: found the shape {truth.shape}, expected '
                f'{(scene.bands, *scene.pan_shape)}'
            )
        valid = scene.read_mask()
        valid = np.ones(scene.pan_shape, bool) if valid is None else valid
        yield Case(name, ms, pan, truth, valid, scene.ratio, sensor)


def measure_errors(case: Case, fused: Path) -> PlaceErrors:
    """Measures the errors of a sharpened file by place, and its shift against the truth."""
    found = BandFiles([fused]).read(Window.whole(case.valid.shape))[0].astype(np.float64)
    edge = np.zeros(case.valid.shape, bool)
    edge[NEAR:-NEAR, NEAR:-NEAR] = True
    outer = np.ones(case.valid.shape, bool)
    outer[BORDER:-BORDER, BORDER:-BORDER] = False
    distance = np.full(case.valid.shape, np.inf)
    if not case.valid.all():
        distance = distance_transform_edt(case.valid)
    scale = case.truth[:, case.valid].mean(1)[:, None, None]
    squares = (((found - case.truth) / scale) ** 2).mean(0)

    def error(place: np.ndarray) -> float:
        place = place & case.valid
        return 100 * float(np.sqrt(squares[place].mean())) if place.any() else float('nan')

    weight = ((distance > NEAR) & edge).astype(float)
    shifts = [measure_shift(t, f, weight, case.ratio)[:2] for t, f in zip(case.truth, found)]
    rows, cols = np.mean(shifts, axis=0)
    return PlaceErrors(
        error((distance > NEAR) & edge),
        error((distance <= RIM) & edge),
        error(outer & (distance > NEAR)),
        float(rows),
        float(cols),
    )


def _reduce_at_centres(image: np.ndarray, gains: tuple[float, ...], ratio: int) -> np.ndarray:
    """Blurs an image (C, H, W) by the MTF and samples it at the centres of ratio x ratio pixels."""
    blurred = mtf_filter(torch.from_numpy(image).double(), gains, ratio).numpy()
    shape = (blurred.shape[1], blurred.shape[2])
    first = (ratio - 1) / 2
    moved = read_shifted(lambda w: w.cut(blurred), Window.whole(shape), shape, (first, first))
    return moved[:, ::ratio, ::ratio]


def _write_case(
    folder: Path,
    name: str,
    truth: np.ndarray,
    low: np.ndarray,
    pan: np.ndarray,
    missing: np.ndarray,
    sensor: str,
) -> Case:
    ratio = pan.shape[1] // low.shape[1]
    fine = missing.repeat(ratio, 0).repeat(ratio, 1)
    paths = folder / f'{name}_ms.tif', folder / f'{name}_pan.tif'
    for path, image, out, pixel in zip(paths, (low, pan), (missing, fine), (0.5 * ratio, 0.5)):
        # Digital numbers from 1 on, so that 0 is free for what is missing.
        numbers = np.rint(image).clip(1, 2**BITS - 1).astype(np.uint16)
        numbers[:, out] = 0
        with rasterio.open(
            path,
            'w',
            driver='GTiff',
            count=len(image),
            height=image.shape[1],
            width=image.shape[2],
            dtype='uint16',
            crs='EPSG:32633',
            transform=from_origin(300000, 5000000, pixel, pixel),
            nodata=0 if missing.any() else None,
        ) as raster:
            raster.write(numbers)
    return Case(name, *paths, truth, ~fine, ratio, sensor)
