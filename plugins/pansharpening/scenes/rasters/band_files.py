"""Reading the bands of an image from raster files by windows."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window as RasterWindow

from plugins.pansharpening.scenes.raster_tags import BandTags, read_band_tags
from plugins.pansharpening.scenes.rasters.alignment import RasterGrid
from plugins.pansharpening.scenes.rasters.raster_handles import open_raster
from plugins.pansharpening.scenes.rasters.raster_names import GdalName, RasterName
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError

# Largest side of a sample of an image, in pixels.
SAMPLE = 512


class Header(NamedTuple):
    """The common header of the files of an image.

    Attributes:
        grid: pixel grid, the same in all files.
        bands: file number and band number of each band that is read.
        masked: true if some pixels may have no data.
        names: descriptions of the bands, '' if a file has none.
        dtype: type that holds the values of all files.
        nodata: value of pixels without data, of the first band that declares one; None if no band
            does.
        tags: of each band.
        alpha_bands: file and band number of the alpha bands that are read as bands.
    """

    grid: RasterGrid
    bands: tuple[tuple[int, int], ...]
    masked: bool
    names: tuple[str, ...]
    dtype: np.dtype[Any]
    nodata: float | None
    tags: tuple[BandTags, ...]
    alpha_bands: frozenset[tuple[int, int]]


class BandFiles:
    """An image with its bands in one raster, or in several rasters of the same grid.

    An alpha band is a mask, unless it is one of the bands that the sensor or the user expects, or
    holds other numbers than a mask does: GDAL tags the fourth band of many images so.

    A pixel without data in one band (by nodata value, mask or alpha band) has no data in any band.
    If the nodata value is 0, which is a digital number too, a pixel has no data only if all of its
    bands are 0.

    Args:
        paths: rasters, in the order of their bands.
        order: numbers of the bands to read, counted from 1 over all files, in the order of the
            result; None for all.
        outside: a VRT may name files outside its folder and on the network.
        count: number of bands of the sensor; None if it may be any.
    """

    def __init__(
        self,
        paths: Sequence[RasterName],
        order: Sequence[int] | None = None,
        outside: bool = False,
        count: int | None = None,
    ) -> None:
        self.paths, self.order, self.outside = tuple(paths), order, outside
        self.count = count

    def __str__(self) -> str:
        first = str(self.paths[0])
        return first if len(self.paths) == 1 else f'{first} and {len(self.paths) - 1} more'

    @functools.cached_property
    def header(self) -> Header:
        """Header of the files, read on first use.

        Raises:
            DataError: a file that cannot be read, files of different grids, no such band.
        """
        bands: list[_Band] = []
        alphas: list[_Band] = []
        grid: RasterGrid | None = None
        for number, path in enumerate(self.paths):
            with open_raster(path, self.outside) as raster:
                here = RasterGrid(raster.height, raster.width, raster.crs, raster.transform)
                for i, colour in enumerate(raster.colorinterp):
                    found = bands if colour != ColorInterp.alpha else alphas
                    found.append(_read_band(raster, number, i))
            grid = grid or here
            if not _is_same(grid, here):
                raise DataError(
                    f'{path}: found {here.height} x {here.width} pixels of {here.pixel()}, but '
                    f'{self.paths[0]} has {grid.height} x {grid.width} of {grid.pixel()} or lies '
                    'elsewhere; expected band files of one grid, so resample them to one'
                )
        kept = self._choose_alphas(len(bands), alphas)
        # Alpha bands have the last numbers, which they have in nearly all files.
        everything = [*bands, *alphas]
        chosen = [*bands, *kept]
        if self.order is not None:
            if any(not 0 < i <= len(everything) for i in self.order):
                raise DataError(
                    f'{self}: found {len(everything)} bands, but bands {list(self.order)} are '
                    'asked for; they are numbered from 1'
                )
            chosen = [everything[i - 1] for i in self.order]
        assert grid is not None
        as_bands = frozenset(band.place for band in kept)
        files = {file for file, _ in as_bands}
        return Header(
            grid,
            tuple(band.place for band in chosen),
            any(band.is_masked(band.place[0] in files) for band in bands),
            tuple(band.name for band in chosen),
            np.result_type(*(band.dtype for band in chosen)),
            next((band.nodata for band in chosen if band.nodata is not None), None),
            tuple(band.tags for band in chosen),
            as_bands,
        )

    def _choose_alphas(self, others: int, alphas: Sequence[_Band]) -> list[_Band]:
        """Chooses the alpha bands that are bands of the image, and no masks."""
        if self.order is not None:
            return [band for i, band in enumerate(alphas, others + 1) if i in self.order]
        if not alphas or self.count == others:
            return []
        if self.count == others + len(alphas):
            return list(alphas)
        return [band for band in alphas if not self._is_mask(band)]

    def _is_mask(self, band: _Band) -> bool:
        """Tells whether a sample of an alpha band holds nothing but 0 and full."""
        file, number = band.place
        with open_raster(self.paths[file], self.outside) as raster:
            shape = tuple(min(side, SAMPLE) for side in raster.shape)
            values = set(np.unique(raster.read(number, out_shape=shape)).tolist())
        full = np.iinfo(band.dtype).max if np.dtype(band.dtype).kind in 'ui' else 1.0
        return len(values) <= 2 and values <= {0, 1, 255, 65535, full}

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray | None]:
        """Reads a window.

        Returns:
            Digital numbers (C, h, w), 0 without data, and the boolean mask (h, w) of pixels with
            data; None if the files declare no nodata.

        Raises:
            DataError: a file cannot be read.
        """
        header = self.header
        place = window.raster_window
        pieces, found, zero = [], [], True
        for number, path in enumerate(self.paths):
            # Runs of bands of one file are read at once.
            indexes = [band for file, band in header.bands if file == number]
            if not indexes:
                continue
            with open_raster(path, self.outside) as raster:
                values = raster.read(indexes, window=place)
                if header.masked:
                    alpha_is_band = any(file == number for file, _ in header.alpha_bands)
                    found.append(_find_valid(raster, values, indexes, place, alpha_is_band))
                    zero &= all(raster.nodatavals[i - 1] == 0 for i in indexes)
            pieces.append(values)
        valid = None
        if header.masked:
            join = np.logical_or if zero else np.logical_and
            valid = join.reduce([join.reduce(bands, axis=0) for bands in found])
        values = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        if len(pieces) > 1:
            read = [pair for n in range(len(self.paths)) for pair in header.bands if pair[0] == n]
            values = values[[read.index(pair) for pair in header.bands]]
        if valid is not None:
            values[:, ~valid] = 0
        return values, valid

    def read_sample(self) -> np.ndarray:
        """Reads up to 512 x 512 pixels from all over the first file: (C, h, w), NaN without data.

        Raises:
            DataError: the file cannot be read.
        """
        number = self.header.bands[0][0]
        indexes = [band for file, band in self.header.bands if file == number]
        with open_raster(self.paths[number], self.outside) as raster:
            shape = (len(indexes), *(min(side, SAMPLE) for side in raster.shape))
            values = raster.read(indexes, out_shape=shape).astype(np.float32)
            for band, i in zip(values, indexes):
                if raster.nodatavals[i - 1] is not None:
                    band[band == raster.nodatavals[i - 1]] = np.nan
        return values

    def files(self) -> list[Path]:
        """Lists the files that are read, including those that a VRT names."""
        found = []
        for path in self.paths:
            if isinstance(path, GdalName):
                found += [] if path.local_file is None else [path.local_file]
                continue
            found.append(path)
            if path.suffix.lower() == '.vrt':
                named = self._list_named_files(path)
                found += [other for other in named if other != path.resolve()]
        return found

    def list_with_sources(self) -> list[Path]:
        """Lists the files and all that they name, at any depth: sources, headers, masks."""
        found: list[Path] = []
        waiting = [path.resolve() for path in self.paths if isinstance(path, Path)]
        waiting += [p for p in self.files() if p not in waiting]
        while waiting:
            path = waiting.pop()
            if path not in found:
                found.append(path)
                # An archive, say, or a text file; within an Env, GDAL prints nothing about it.
                with contextlib.suppress(DataError), rasterio.Env():
                    waiting += self._list_named_files(path)
        return found

    def describe_remote(self) -> str:
        """Describes the rasters that are no files here, whose content is not read for it."""
        remote = [p for p in self.paths if isinstance(p, GdalName) and p.local_file is None]
        return f'{[str(name) for name in remote]} {self.header}' if remote else ''

    def _list_named_files(self, path: Path) -> list[Path]:
        """Lists the existing files that a raster names, resolved and sorted."""
        with open_raster(path, self.outside) as raster:
            named = sorted({Path(name).resolve() for name in raster.files[1:]})
        return [other for other in named if other.is_file()]


class _Band(NamedTuple):
    """A band of a file, and what its file says of it."""

    place: tuple[int, int]
    name: str
    dtype: str
    nodata: float | None
    flags: tuple[MaskFlags, ...]
    tags: BandTags

    def is_masked(self, alpha_is_band: bool) -> bool:
        if alpha_is_band and MaskFlags.alpha in self.flags:
            return False
        return MaskFlags.all_valid not in self.flags


def _read_band(raster: Any, number: int, i: int) -> _Band:
    return _Band(
        (number, i + 1),
        raster.descriptions[i] or '',
        raster.dtypes[i],
        raster.nodatavals[i],
        tuple(raster.mask_flag_enums[i]),
        read_band_tags(raster, i + 1),
    )


def _find_valid(
    raster: Any,
    values: np.ndarray,
    indexes: Sequence[int],
    place: RasterWindow,
    alpha_is_band: bool,
) -> np.ndarray:
    """Finds the pixels with data of each band: (C, h, w) bool."""
    flags = [raster.mask_flag_enums[i - 1] for i in indexes]
    # What GDAL takes from the alpha band says nothing where that is a band.
    flags = [[] if alpha_is_band and MaskFlags.alpha in f else f for f in flags]
    if any(set(f) - {MaskFlags.nodata, MaskFlags.all_valid} for f in flags):
        return raster.read_masks(list(indexes), window=place) > 0
    # From the values at hand, where reading masks would decode the file once more.
    valid = np.ones(values.shape, bool)
    for band, here, i in zip(values, valid, indexes):
        nodata = raster.nodatavals[i - 1]
        if nodata is not None:
            here[:] = ~np.isnan(band) if np.isnan(nodata) else band != nodata
    return valid


def _is_same(first: RasterGrid, second: RasterGrid) -> bool:
    return (
        first[:2] == second[:2]
        and first.crs == second.crs
        and first.transform.almost_equals(second.transform, precision=1e-6)
    )
