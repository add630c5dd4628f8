"""Where an MS lies on the grid of its PAN, by georeference."""

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
    """The pixels of a raster on the ground: rasterio's CRS (or None) and affine transform."""

    height: int
    width: int
    crs: Any
    transform: Affine

    @property
    def located(self) -> bool:
        """Whether the raster says where it lies."""
        return self.crs is not None or self.transform != Affine.identity()

    def part(self, row: float, col: float, height: int, width: int, step: int = 1) -> RasterGrid:
        """The grid of `height` x `width` pixels from a corner on, each `step` x `step` of these."""
        x, y = _applied(self.transform, col, row)
        a, b, d, e = (step * getattr(self.transform, name) for name in 'abde')
        return RasterGrid(height, width, self.crs, Affine(a, b, x, d, e, y))

    def pixel(self) -> str:
        """Size of a pixel, for messages."""
        width = math.hypot(self.transform.a, self.transform.d)
        height = math.hypot(self.transform.b, self.transform.e)
        return f'{width:.6g} x {height:.6g}'


class Alignment(NamedTuple):
    """An MS grid whose pixels are `ratio` x `ratio` PAN pixels, inside what both images cover.

    Attributes:
        ratio: PAN pixels per MS pixel along each axis.
        shape: height and width in MS pixels.
        pan_origin: row and column of its first PAN pixel in the PAN raster.
        ms_origin: row and column of its first pixel in the MS raster; None where the raster has
            no such grid, so that the MS must be warped to it.
    """

    ratio: int
    shape: tuple[int, int]
    pan_origin: tuple[int, int]
    ms_origin: tuple[int, int] | None


def align(
    ms: RasterGrid, pan: RasterGrid, ratio: int | None, where: str, shift: float = 0
) -> Alignment:
    """The grid on which an MS and a PAN raster are read together.

    Where MS pixels fall on whole PAN pixels to a tenth of one, both are cropped to the MS pixels
    that lie wholly inside the PAN. Otherwise the grid starts at a PAN pixel inside what both
    cover, and the MS is to be warped to it. Without georeference in either, both begin at the same
    corner.

    Args:
        ms: of the multispectral raster.
        pan: of the PAN raster.
        ratio: PAN pixels per MS pixel; None for the integer nearest to the ratio of pixel sizes.
        where: both files, for messages.
        shift: PAN pixels by which the grid's samples are to lie below and right of the centre of
            their PAN pixels; without georeference they are taken to lie so already.
    Raises:
        DataError: only one is georeferenced, no overlap, a PAN coarser than the MS, or a `ratio`
            that is a whole pixel or more away from that of the pixel sizes.
    """
    if not ms.located and not pan.located:
        return _by_index(ms, pan, ratio, where)
    _check_located(ms, pan, where)
    step = _steps(ms, pan, where)  # (2, 2): PAN pixels x, y per MS pixel along x, y
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
    x, y = (places - shift for places in _outline(ms, pan, where))
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
    """Places in pixels of one grid (columns, rows, from corners) in pixels of another."""
    x, y = _applied(source.transform, x, y)
    if source.crs is not None and target.crs is not None and source.crs != target.crs:
        x, y = (np.array(v) for v in rasterio.warp.transform(source.crs, target.crs, x, y))
    return _applied(~target.transform, x, y)


def outline(height: int, width: int, points: int = 21) -> tuple[np.ndarray, np.ndarray]:
    """Points along the border of a rectangle of pixels: columns and rows."""
    t = np.linspace(0, 1, points)
    x = np.concatenate([t, t, 0 * t, 0 * t + 1]) * width
    y = np.concatenate([0 * t, 0 * t + 1, t, t]) * height
    return x, y


def _by_index(ms: RasterGrid, pan: RasterGrid, ratio: int | None, where: str) -> Alignment:
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
        lacking, what = ('MS', 'PAN') if ms.crs is None else ('PAN', 'MS'), 'coordinate system'
    elif ms.located != pan.located:
        lacking, what = ('PAN', 'MS') if ms.located else ('MS', 'PAN'), 'georeference'
    else:
        return
    raise DataError(
        f'{where}: found no {what} in the {lacking[0]}, but one in the {lacking[1]}; expected one '
        f'in both, so assign that of the {lacking[0]} (gdal_edit.py -a_srs, -a_ullr)'
    )


def _steps(ms: RasterGrid, pan: RasterGrid, where: str) -> np.ndarray:
    """Columns: what one MS pixel along x and one along y is in PAN pixels, at the MS's centre."""
    x, y = ms.width / 2, ms.height / 2
    try:
        x, y = to_pixels(ms, pan, np.array([x, x + 1, x]), np.array([y, y, y + 1]))
    except Exception as error:  # GDAL's errors come as many kinds, most of them private
        raise _no_way(ms, pan, where) from error
    step = np.array([[x[1] - x[0], x[2] - x[0]], [y[1] - y[0], y[2] - y[0]]])
    if not np.isfinite(step).all() or not np.linalg.det(step):
        raise _no_way(ms, pan, where)
    return step


def _outline(ms: RasterGrid, pan: RasterGrid, where: str) -> tuple[np.ndarray, np.ndarray]:
    """The MS's border in PAN pixels."""
    try:
        x, y = to_pixels(ms, pan, *outline(ms.height, ms.width))
    except Exception as error:  # GDAL's errors come as many kinds, most of them private
        raise _no_way(ms, pan, where) from error
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise _no_way(ms, pan, where)
    return x, y


def _no_way(ms: RasterGrid, pan: RasterGrid, where: str) -> DataError:
    def named(crs: Any) -> str:
        return 'none' if crs is None else ' '.join(crs.to_string().split())[:60]

    return DataError(
        f'{where}: found no way from the MS grid ({named(ms.crs)}) to that of the PAN '
        f'({named(pan.crs)}); expected georeferences that can be converted, so correct or warp one'
    )


def _applied(transform: Affine, x: Any, y: Any) -> tuple[Any, Any]:
    # Spelt out, since the operator differs between affine 2 and 3.
    return (
        transform.a * x + transform.b * y + transform.c,
        transform.d * x + transform.e * y + transform.f,
    )
