"""Reading the bands of raster files on another grid, interpolated by GDAL's warp."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject

from plugins.pansharpening.scenes.rasters.alignment import RasterGrid, to_pixels, trace_outline
from plugins.pansharpening.scenes.rasters.band_files import BandFiles
from plugins.pansharpening.scenes.scene import scale_to_unit
from plugins.pansharpening.scenes.window import Window

Interpolation = Literal['nearest', 'bilinear', 'cubic', 'cubic_spline', 'lanczos']

# Side of the blocks that are warped at a time, in pixels of the result.
BLOCK = 128
# Blocks that are kept for the next window; 16 MB for 8 bands.
KEPT = 32
# Source pixels around a block that its interpolation depends on: Lanczos needs three.
REACH = 5


class WarpedBands:
    """The bands of files on another grid, interpolated by GDAL's warp.

    Blocks at fixed positions are warped, so that a window has the same bits as the whole image.

    Args:
        files: source.
        target: grid of the result.
        resampling: interpolation of GDAL.
        bits: bit depth of the digital numbers.
    """

    def __init__(
        self, files: BandFiles, target: RasterGrid, resampling: Interpolation, bits: int
    ) -> None:
        self.files, self.target, self.bits = files, target, bits
        self.resampling = Resampling[resampling]
        self._blocks: dict[tuple[int, int], np.ndarray] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_blocks': {}}  # loaders' processes make their own

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Reads a window of the target grid.

        Returns:
            Values (C, h, w) in [0, 1], float32, 0 without data, and the mask (h, w) of pixels with
            data.
        Raises:
            DataError: the files cannot be read, or have values that `scale_to_unit` refuses.
        """
        bands = len(self.files.header.bands)
        result = np.empty((bands, *window.shape), np.float32)
        for block in window.blocks(BLOCK):
            window.paste(result, self._block(block.row, block.col), block)
        valid = np.isfinite(result).all(0)
        result[:, ~valid] = 0
        return result, valid

    def _block(self, top: int, left: int) -> np.ndarray:
        block = self._blocks.get((top, left))
        if block is None:
            if len(self._blocks) >= KEPT:
                self._blocks.clear()
            block = self._blocks[top, left] = self._warp(top, left)
        return block

    def _warp(self, top: int, left: int) -> np.ndarray:
        """Warps one block (C, BLOCK, BLOCK); NaN without data."""
        header = self.files.header
        source, block = header.grid, self.target.part(top, left, BLOCK, BLOCK)
        result = np.full((len(header.bands), BLOCK, BLOCK), np.nan, np.float32)
        x, y = to_pixels(block, source, *trace_outline(BLOCK, BLOCK))
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return result
        # A warp to coarser pixels takes in proportionally more of the finer ones.
        reach = math.ceil(REACH * max(1, np.ptp(x) / BLOCK, np.ptp(y) / BLOCK))
        edges = (*(math.floor(v.min()) for v in (y, x)), *(math.ceil(v.max()) for v in (y, x)))
        around = Window.between(*edges).expand(reach, (source.height, source.width))
        if not around.pixels:
            return result
        values, valid = self.files.read(around)
        values = scale_to_unit(values, self.bits, f'{self.files}: {around}')
        low, high = min(values.min(), 0), max(values.max(), 1)
        if valid is not None:
            values[:, ~valid] = np.nan
        # Grids without a coordinate system share one, whichever it is.
        anywhere = CRS.from_epsg(3857)
        reproject(
            values,
            result,
            src_transform=source.part(*around).transform,
            src_crs=source.crs or anywhere,
            src_nodata=np.nan,
            dst_transform=block.transform,
            dst_crs=block.crs or anywhere,
            dst_nodata=np.nan,
            resampling=self.resampling,
            tolerance=0,  # exact coordinates for each pixel
            num_threads=1,
        )
        # Cubic weights overshoot at edges; digital numbers do not.
        return np.clip(result, low, high)
