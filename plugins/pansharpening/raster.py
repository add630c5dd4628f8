"""Scenes in georeferenced rasters, and writing such rasters."""

from __future__ import annotations

import functools
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window as RasterWindow

from plugins.pansharpening.scene import (
    SCENES,
    Georeference,
    Scene,
    Window,
    check_bit_depth,
    check_pair,
    data_path,
    file_hash,
    scaled,
)
from plugins.pansharpening.sensors import sensor as sensor_named
from toolkit.errors import DataError, RunError


@SCENES.register
class RasterScene(Scene):
    """An MS and a PAN raster (GeoTIFF or what else GDAL reads) of the same extent.

    Args:
        ms: path of the multispectral raster; absolute, or below $TOOLKIT_DATA, or from here.
        pan: path of the PAN raster, one band.
        sensor: name of the sensor.
        bit_depth: of the digital numbers; None for the sensor's.
    Raises:
        ValueError: no such sensor.
        DataError: no such file; on first use: unreadable, sizes that are not integer
            multiples, extents or coordinate systems that differ.
    """

    def __init__(self, ms: str, pan: str, sensor: str, bit_depth: int | None = None) -> None:
        self.ms_path, self.pan_path = data_path(ms), data_path(pan)
        self.name = self.ms_path.stem
        self.sensor = sensor_named(sensor)
        self.bits = check_bit_depth(self.sensor.bits if bit_depth is None else bit_depth)

    @property
    def bands(self) -> int:
        return self._headers[0]['count']

    @property
    def ms_shape(self) -> tuple[int, int]:
        return self._headers[0]['height'], self._headers[0]['width']

    @property
    def pan_shape(self) -> tuple[int, int]:
        return self._headers[1]['height'], self._headers[1]['width']

    @property
    def georeference(self) -> Georeference | None:
        pan = self._headers[1]
        if not _located(pan):
            return None
        return Georeference(pan['crs'], pan['transform'])

    @functools.cached_property
    def mask(self) -> np.ndarray | None:
        if all(header['nodata'] is None for header in self._headers):
            return None
        ms, pan = (_read_mask(path) for path in (self.ms_path, self.pan_path))
        return pan & ms.repeat(self.ratio, 0).repeat(self.ratio, 1)

    def read_ms(self, window: Window | None = None) -> np.ndarray:
        return self._read(self.ms_path, self._headers[0], window)

    def read_pan(self, window: Window | None = None) -> np.ndarray:
        return self._read(self.pan_path, self._headers[1], window)

    def fingerprint(self) -> str:
        return file_hash(self.ms_path, self.pan_path)

    @functools.cached_property
    def _headers(self) -> tuple[dict[str, Any], dict[str, Any]]:
        ms, pan = _header(self.ms_path), _header(self.pan_path)
        where = f'{self.ms_path} and {self.pan_path}'
        if pan['count'] != 1:
            raise DataError(f'{self.pan_path}: found {pan["count"]} bands, expected a PAN of one')
        shape = (ms['count'], ms['height'], ms['width'])
        check_pair(self.sensor, shape, (pan['height'], pan['width']), where)
        if _located(ms) and _located(pan):
            _check_extent(ms, pan, where)
        return ms, pan

    def _read(self, path: Path, header: dict[str, Any], window: Window | None) -> np.ndarray:
        window = window or Window(0, 0, header['height'], header['width'])
        with _reading(path) as raster:
            values = raster.read(
                window=RasterWindow(window.col, window.row, window.width, window.height)
            )
        nodata = header['nodata']
        if nodata is not None:
            empty = np.isnan(values) if np.isnan(nodata) else values == nodata
            values[empty] = 0
        return scaled(values, self.bits, f'{path}: {window}')


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    # Opened for each read: a GDAL handle must not cross into a data loader's process.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', NotGeoreferencedWarning)
            with rasterio.open(path) as raster:
                yield raster
    except RasterioError as error:
        cause = f'{error.__cause__ or error}'.splitlines()[0]
        raise DataError(f'{path} cannot be read: {cause}; it may be cut or no raster') from error


def _header(path: Path) -> dict[str, Any]:
    with _reading(path) as raster:
        return dict(raster.profile)


def _read_mask(path: Path) -> np.ndarray:
    with _reading(path) as raster:
        return raster.dataset_mask() > 0


def _located(header: dict[str, Any]) -> bool:
    return header['crs'] is not None or header['transform'] != Affine.identity()


def _check_extent(ms: dict[str, Any], pan: dict[str, Any], where: str) -> None:
    if ms['crs'] is not None and pan['crs'] is not None and ms['crs'] != pan['crs']:
        raise DataError(
            f'{where}: found the coordinate systems {ms["crs"]} and {pan["crs"]}; expected one, so '
            'warp the MS to that of the PAN'
        )
    ratio = pan['height'] / ms['height']
    apart = 0.0
    for col, row in ((0, 0), (ms['width'], ms['height'])):
        x, y = _applied(~pan['transform'], *_applied(ms['transform'], col, row))
        apart = max(apart, abs(x - ratio * col), abs(y - ratio * row))
    if apart > 0.5:
        raise DataError(
            f'{where}: found extents whose corners lie up to {apart:.1f} PAN pixels apart; '
            'expected the same extent to half a pixel, so crop or warp one to the other'
        )


def _applied(transform: Affine, x: float, y: float) -> tuple[float, float]:
    # Spelt out, since the operator differs between affine 2 and 3.
    return (
        transform.a * x + transform.b * y + transform.c,
        transform.d * x + transform.e * y + transform.f,
    )


def write_geotiff(
    path: Path,
    image: np.ndarray,
    georeference: Georeference | None = None,
    names: Sequence[str] = (),
    nodata: float | None = None,
) -> None:
    """Write an image as a tiled, compressed GeoTIFF; the file appears whole or not at all.

    Args:
        path: where to.
        image: (C, H, W), of the type to be stored.
        georeference: coordinate system and transform of its grid.
        names: descriptions of the bands.
        nodata: value that means no data.
    Raises:
        RunError: the folder cannot be written or the disk is full.
    """
    bands, height, width = image.shape
    profile: dict[str, Any] = {
        'driver': 'GTiff',
        'dtype': image.dtype,
        'count': bands,
        'height': height,
        'width': width,
        'tiled': True,
        'blockxsize': 256,
        'blockysize': 256,
        'compress': 'deflate',
        'predictor': 2,
        'interleave': 'pixel',
        'bigtiff': 'if_safer',
        'nodata': nodata,
        # Any 4-band image would otherwise be taken for one with transparency.
        'photometric': 'minisblack',
    }
    if georeference is not None:
        profile |= {'crs': georeference.crs, 'transform': georeference.transform}
    with replacing(path) as partial, warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        with rasterio.open(partial, 'w', **profile) as raster:
            raster.write(image)
            for i, name in enumerate(names, 1):
                raster.set_band_description(i, name)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when all went well and is removed if not.

    Raises:
        RunError: the folder cannot be written or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f'.{path.stem}-', suffix=path.suffix
        )
        os.close(handle)
    except OSError as error:
        raise RunError(f'cannot write {path}: {error.strerror or error}') from error
    partial = Path(name)
    try:
        yield partial
        # mkstemp makes private files; results have the permissions of any new file.
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o666 & ~mask)
        partial.replace(path)
    except (OSError, RasterioError) as error:
        raise RunError(f'cannot write {path}: {error}') from error
    finally:
        partial.unlink(missing_ok=True)
