"""Alignment of an MS with the grid of its PAN, by georeference."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import rasterio.warp
from rasterio.transform import Affine

from toolkit.errors import DataError

# PAN pixels: grids that are closer than this everywhere count as one.
TOLERANCE = 0.1


class RasterGrid(NamedTuple):
    """The pixel grid of a raster on the ground: rasterio's CRS (or None) and affine transform."""

    height: int
    width: int
    crs: Any
    transform: Affine

    @property
    def located(self) -> bool:
        """True if the raster has a georeference."""
        return self.crs is not None or self.transform != Affine.identity()

    def part(self, row: float, col: float, height: int, width: int, step: int = 1) -> RasterGrid:
        """Returns the grid from a corner on, with pixels of `step` x `step` of these pixels."""
        x, y = _apply(self.transform, col, row)
        a, b, d, e = (step * getattr(self.transform, name) for name in 'abde')
        return RasterGrid(height, width, self.crs, Affine(a, b, x, d, e, y))

    def pixel(self) -> str:
        """Formats the size of a pixel, for messages."""
        width = math.hypot(self.transform.a, self.transform.d)
        height = math.hypot(self.transform.b, self.transform.e)
        return f'{width:.6g} x {height:.6g}'


class Alignment(NamedTuple):
    """An MS grid inside the common area of both images; a pixel is `ratio` x `ratio` PAN pixels.

    Attributes:
        ratio: PAN pixels per MS pixel along each axis.
        shape: height and width in MS pixels.
        pan_origin: row and column of its first PAN pixel in the PAN raster.
        ms_origin: row and column of its first pixel in the MS raster; None if the MS must be
            warped to the grid.
    """

    ratio: int
    shape: tuple[int, int]
    pan_origin: tuple[int, int]
    ms_origin: tuple[int, int] | None


def align(
    ms: RasterGrid, pan: RasterGrid, ratio: int | None, where: str, shift: float = 0
) -> Alignment:
    """Finds the grid on which an MS and a PAN raster are read together.

    If MS pixels fall on whole PAN pixels, to a tenth of one, both images are cropped to the MS
    pixels that lie inside the PAN. Otherwise the grid starts at a PAN pixel inside the common
    area, and the MS must be warped to it. If neither image has a georeference, both begin at the
    same corner.

    Args:
        ms: grid of the multispectral raster.
        pan: grid of the PAN raster.
        ratio: PAN pixels per MS pixel; None for the integer nearest to the ratio of pixel sizes.
        where: both files, for messages.
        shift: PAN pixels by which the grid's samples are to lie below and right of the centre of
            their PAN pixels; without georeference they are taken to lie so already.
    Raises:
        DataError: only one is georeferenced, no overlap, a PAN coarser than the MS, or a `ratio`
            that is a whole pixel or more away from that of the pixel sizes.
    """
    if not ms.located and not pan.located:
        return _align_by_index(ms, pan, ratio, where)
    _check_located(ms, pan, where)
    _check_meridian(ms, pan, where)
    step = _measure_steps(ms, pan, where)  # (2, 2): PAN pixels x, y per MS pixel along x, y
    real = math.sqrt(abs(np.linalg.det(step)))
    if real < 1 - TOLERANCE:
        raise DataError(
            f'{where}: found MS pixels of {ms.pixel()} and PAN pixels of {pan.pixel()}, a ratio of '
            f'{real:.3g}; expected a PAN finer than the MS, so check whether they are swapped'
        )
    chosen = round(real) if ratio is None else ratio
    if abs(chosen - real) >= 1:
        raise DataError(
            f'{where}: found {real:.4g} PAN pixels per MS pixel, but ratio is {chosen}; set it to '
            f'{round(real)} or leave it out'
        )
    x, y = (places - shift for places in _trace_ms_outline(ms, pan, where))
    same = ms.crs == pan.crs and np.allclose(
        step * [ms.width, ms.height], np.diag([chosen * ms.width, chosen * ms.height]), 0, TOLERANCE
    )
    spans = []
    for low, high, fine in ((y.min(), y.max(), pan.height), (x.min(), x.max(), pan.width)):
        start = max(low, 0) - TOLERANCE / 2
        # On equal grids MS pixels stay whole, which also keeps any warp a shift of less than half
        # a PAN pixel.
        first = round(low) + chosen * math.ceil((start - round(low)) / chosen) if same else start
        origin = math.ceil(first)
        count = math.floor((min(high, fine) + TOLERANCE / 2 - origin) / chosen)
        whole = same and abs(low - round(low)) < TOLERANCE
        spans.append((origin, count, (origin - round(low)) // chosen if whole else None))
    (row, height, top), (col, width, left) = spans
    if min(height, width) < 1:
        raise DataError(
            f'{where}: found no overlap of at least one MS pixel: the MS covers the rows '
            f'{y.min():.0f} to {y.max():.0f} and columns {x.min():.0f} to {x.max():.0f} of the '
            f"PAN's {pan.height} x {pan.width}; expected images of the same ground"
        )
    ms_origin = None if top is None or left is None else (top, left)
    return Alignment(chosen, (height, width), (row, col), ms_origin)


def to_pixels(
    source: RasterGrid, target: RasterGrid, x: np.ndarray, y: np.ndarray
) -> tuple[Any, Any]:
    """Converts columns and rows of one grid, counted from its corner, to those of another."""
    x, y = _apply(source.transform, x, y)
    if source.crs is not None and target.crs is not None and source.crs != target.crs:
        x, y = (np.array(v) for v in rasterio.warp.transform(source.crs, target.crs, x, y))
    return _apply(~target.transform, x, y)


def trace_outline(height: int, width: int, points: int = 21) -> tuple[np.ndarray, np.ndarray]:
    """Returns the columns and rows of points along the border of a rectangle of pixels."""
    t = np.linspace(0, 1, points)
    x = np.concatenate([t, t, 0 * t, 0 * t + 1]) * width
    y = np.concatenate([0 * t, 0 * t + 1, t, t]) * height
    return x, y


def _align_by_index(ms: RasterGrid, pan: RasterGrid, ratio: int | None, where: str) -> Alignment:
    found = pan.height // ms.height
    if ratio is not None and (pan.height, pan.width) != (ratio * ms.height, ratio * ms.width):
        raise DataError(
            f'{where}: found an MS of {ms.height} x {ms.width} and a PAN of {pan.height} x '
            f'{pan.width} pixels without georeference, but ratio is {ratio}; expected a PAN '
            f'{ratio} times as large, so leave ratio out or crop both to the ground that they share'
        )
    return Alignment(found, (ms.height, ms.width), (0, 0), (0, 0))


def _check_located(ms: RasterGrid, pan: RasterGrid, where: str) -> None:
    if (ms.crs is None) != (pan.crs is None):
        lacking, kind = ('MS', 'PAN') if ms.crs is None else ('PAN', 'MS'), 'coordinate system'
    elif ms.located != pan.located:
        lacking, kind = ('PAN', 'MS') if ms.located else ('MS', 'PAN'), 'georeference'
    else:
        return
    raise DataError(
        f'{where}: found no {kind} in the {lacking[0]}, but one in the {lacking[1]}; expected one '
        f'in both, so assign that of the {lacking[0]} (gdal_edit.py -a_srs, -a_ullr)'
    )


def _check_meridian(ms: RasterGrid, pan: RasterGrid, where: str) -> None:
    """Refuses a pair in which longitudes jump by 360 degrees, in the scene or between grids."""
    spans = {}
    for name, grid in (('MS', ms), ('PAN', pan)):
        if grid.crs is not None and grid.crs.is_geographic:
            x, _ = _apply(grid.transform, np.array([0, grid.width]), np.zeros(2))
            spans[name] = float(x.min()), float(x.max())
    crossing = [n for n, (west, east) in spans.items() if west < -180 < east or west < 180 < east]
    centres = [sum(span) / 2 for span in spans.values()]
    apart = len(centres) == 2 and abs(centres[0] - centres[1]) > 180
    if not apart and (not crossing or ms.crs == pan.crs):
        return
    found = ' and '.join(f'the {n} from {w:.4f} to {e:.4f} degrees' for n, (w, e) in spans.items())
    raise DataError(
        f'{where}: found a scene on the 180th meridian, where longitudes jump ({found}); expected '
        'both images in one coordinate system without that jump, so warp them to a projected one, '
        'such as UTM zone 1 or 60 (gdalwarp -t_srs EPSG:32601)'
    )


def _measure_steps(ms: RasterGrid, pan: RasterGrid, where: str) -> np.ndarray:
    """Measures one MS pixel in PAN pixels at the centre: (2, 2), a column for each axis."""
    x, y = ms.width / 2, ms.height / 2
    try:
        x, y = to_pixels(ms, pan, np.array([x, x + 1, x]), np.array([y, y, y + 1]))
    except Exception as error:  # GDAL's errors come as many kinds, most of them private
        raise _make_error(ms, pan, where) from error
    step = np.array([[x[1] - x[0], x[2] - x[0]], [y[1] - y[0], y[2] - y[0]]])
    if not np.isfinite(step).all() or not np.linalg.det(step):
        raise _make_error(ms, pan, where)
    return step


def _trace_ms_outline(ms: RasterGrid, pan: RasterGrid, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the border of the MS in PAN pixels."""
    try:
        x, y = to_pixels(ms, pan, *trace_outline(ms.height, ms.width))
    except Exception as error:  # GDAL's errors come as many kinds, most of them private
        raise _make_error(ms, pan, where) from error
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise _make_error(ms, pan, where)
    return x, y


def _make_error(ms: RasterGrid, pan: RasterGrid, where: str) -> DataError:
    def named(crs: Any) -> str:
        return 'none' if crs is None else ' '.join(crs.to_string().split())[:60]

    return DataError(
        f'{where}: found no way from the MS grid ({named(ms.crs)}) to that of the PAN '
        f'({named(pan.crs)}); expected georeferences that can be converted, so correct or warp one'
    )


def _apply(transform: Affine, x: Any, y: Any) -> tuple[Any, Any]:
    # Spelt out, since the operator differs between affine 2 and 3.
    return (
        transform.a * x + transform.b * y + transform.c,
        transform.d * x + transform.e * y + transform.f,
    )
