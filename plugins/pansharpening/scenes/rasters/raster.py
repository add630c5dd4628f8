"""Scenes in georeferenced rasters."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np

from plugins.pansharpening.scenes.continuation import MS_SLOPE
from plugins.pansharpening.scenes.grid_shift import SHIFT_REACH, read_shifted
from plugins.pansharpening.scenes.raster_tags import RasterTags, move_control, read_raster_tags
from plugins.pansharpening.scenes.rasters.band_files import BandFiles
from plugins.pansharpening.scenes.rasters.nodata_fill import FILL_REACH, read_filled
from plugins.pansharpening.scenes.rasters.raster_handles import open_raster
from plugins.pansharpening.scenes.rasters.raster_layout import (
    ChosenSamples,
    RasterLayout,
    Samples,
    lay_out,
)
from plugins.pansharpening.scenes.rasters.raster_names import find_raster
from plugins.pansharpening.scenes.rasters.warped_bands import Interpolation
from plugins.pansharpening.scenes.scene import (
    SCENES,
    Georeference,
    Scene,
    check_bit_depth,
    choose_bits,
)
from plugins.pansharpening.scenes.sensors import SensorSpec, get_sensor
from plugins.pansharpening.scenes.window import Window
from toolkit.io.verification.hashing import hash_files, hash_json
from toolkit.ranges import Ge, Le, PositiveInt


@SCENES.register
class RasterScene(Scene):
    """Aligned MS and PAN rasters: GeoTIFF, VRT and all other formats of GDAL.

    If both have a georeference, the scene is their common area, cropped to whole MS pixels of
    `ratio` x `ratio` PAN pixels. The MS is warped to such a grid as it is read if its pixels do
    not fall on whole PAN pixels (to a tenth of one), if it has another coordinate system, or if
    the ratio is no integer. The PAN is never resampled. Without georeference both begin at the
    same corner, and the PAN must be an integer multiple of the MS.

    Pixels without data are read with the values of their neighbours (`read_filled`), so that no
    filter takes in a nodata value; `mask` says which they are.

    Args:
        ms: path of the multispectral raster, or of several that hold its bands in this order;
            absolute, or below $TOOLKIT_DATA, or below the current folder; or names that GDAL
            resolves, such as `/vsizip/a.zip/ms.tif`, `s3://...`, or a subdataset. Alpha bands are
            left out.
        pan: path of the PAN raster, one band.
        sensor: name of the sensor, or its description; see `get_sensor`.
        bit_depth: of the digital numbers; None for the sensor's.
        ratio: PAN pixels per MS pixel; None for the integer nearest to the ratio of pixel sizes.
        bands: numbers of the bands that are used, from 1, in the order of the sensor; None for
            all bands in the order of the files.
        resampling: GDAL's interpolation, if the MS is warped.
        samples: position in which the MS samples of a georeferenced pair are read: at the 'centre'
            of their PAN pixels, as bicubic upsampling assumes, or half a PAN pixel below and right
            of it, as 'interp23tap' and the indices assume; the MS is interpolated there unless its
            samples lie so already, as Landsat's do. 'auto' is 'interp23tap' for the ratios that it
            can enlarge by, powers of two, and else 'centre'.
        outside: a VRT may name files outside its folder and on the network.
    Raises:
        ValueError: no such sensor, or arguments out of range.
        DataError: no such file; on first use: unreadable, no overlap, a coordinate system in only
            one of the two, a PAN coarser than the MS, sizes that do not fit, bands in an order
            that is not the sensor's, no pixel with data in both.
    """

    def __init__(
        self,
        ms: str | list[str],
        pan: str,
        sensor: SensorSpec,
        bit_depth: Annotated[int, Ge(1), Le(32)] | None = None,
        ratio: PositiveInt | None = None,
        bands: list[PositiveInt] | None = None,
        resampling: Interpolation = 'lanczos',
        samples: ChosenSamples = 'auto',
        outside: bool = False,
    ) -> None:
        paths = [ms] if isinstance(ms, str | Path) else list(ms)
        if not paths:
            raise ValueError('ms is one path or several, found an empty list')
        if ratio is not None and ratio < 1:
            raise ValueError(f'ratio must be at least 1, found {ratio}')
        if bands is not None and (not bands or min(bands) < 1):
            raise ValueError(f'bands are numbers from 1, found {bands}')
        for name, value, known in (
            ('resampling', resampling, get_args(Interpolation)),
            ('samples', samples, get_args(ChosenSamples)),
        ):
            if value not in known:
                raise ValueError(f'{name} must be one of {", ".join(known)}; found {value!r}')
        self.ms_files = BandFiles([find_raster(path) for path in paths], bands, outside)
        self.pan_files = BandFiles([find_raster(pan)], outside=outside)
        self.ms_path, self.pan_path = self.ms_files.paths[0], self.pan_files.paths[0]
        self.name = self.ms_path.stem
        self.sensor = get_sensor(sensor)
        self.ms_files.count = len(self.sensor.band_names) or None
        self.stated_bits = None if bit_depth is None else check_bit_depth(bit_depth)
        self.stated_ratio, self.resampling = ratio, resampling
        self.stated_samples: ChosenSamples = samples

    @functools.cached_property
    def bits(self) -> int:  # type: ignore[override]
        is_float = self.stated_bits is None and self.ms_files.header.dtype.kind == 'f'
        sample = self.ms_files.read_sample() if is_float else np.empty((0, 0, 0))
        return choose_bits(self.sensor, self.stated_bits, sample)

    @property
    def bands(self) -> int:
        return self._layout.bands

    @property
    def ratio(self) -> int:
        return self._layout.alignment.ratio

    @property
    def ms_shape(self) -> tuple[int, int]:
        return self._layout.alignment.shape

    @property
    def pan_shape(self) -> tuple[int, int]:
        (height, width), ratio = self.ms_shape, self.ratio
        return height * ratio, width * ratio

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.ms_files.header.dtype

    @property
    def nodata(self) -> float | None:
        ms, pan = self.ms_files.header.nodata, self.pan_files.header.nodata
        return pan if ms is None else ms

    @property
    def band_names(self) -> tuple[str, ...]:
        named = self.ms_files.header.names
        of_sensor = self.sensor.names(len(named))
        return tuple(name or other for name, other in zip(named, of_sensor))

    @property
    def notes(self) -> tuple[str, ...]:
        note, alphas = self._layout.note, self.ms_files.header.alpha_bands
        notes = [] if note is None else [note]
        if alphas:
            numbers = ', '.join(str(band) for _, band in sorted(alphas))
            notes.append(
                f'{self.ms_files}: band {numbers} is tagged as alpha and read as a band, not as a '
                'mask; --bands chooses others'
            )
        return tuple(notes)

    @property
    def tags(self) -> RasterTags:
        grid, place = self.pan_files.header.grid, self._layout.alignment.pan_origin
        with open_raster(self.pan_files.paths[0], self.pan_files.outside) as raster:
            gcps, rpcs = move_control(raster, *place, grid.located)
            lost = [f'the ground control points of {self.pan_path}'] * (
                bool(raster.gcps[0]) and gcps is None
            )
        tags: dict[str, str] = {}
        for path in self.ms_files.paths:
            with open_raster(path, self.ms_files.outside) as raster:
                tags |= read_raster_tags(raster)
                if raster.gcps[0]:
                    lost.append(f'the ground control points of {path}, which are of its own pixels')
                if raster.rpcs is not None and rpcs is None:
                    lost.append(f'the RPCs of {path}, which are of its own pixels')
        return RasterTags(self.ms_files.header.tags, tags, gcps, rpcs, tuple(lost))

    def files(self) -> list[Path]:
        return [*self.ms_files.list_with_sources(), *self.pan_files.list_with_sources()]

    @property
    def georeference(self) -> Georeference | None:
        grid = self.pan_files.header.grid
        if not grid.located:
            return None
        row, col = self._layout.alignment.pan_origin
        return Georeference(grid.crs, grid.part(row, col, *self.pan_shape).transform)

    @property
    def masked(self) -> bool:
        return self._layout.masked

    @property
    def samples(self) -> Samples | None:
        return self._layout.samples

    @property
    def warped(self) -> bool:
        """True if the MS is interpolated to a grid that fits the PAN."""
        return self._layout.warped is not None

    @property
    def mask(self) -> np.ndarray | None:
        return self.read_mask()

    def read_ms(self, window: Window | None = None) -> np.ndarray:
        layout, window = self._layout, window or Window.whole(self.ms_shape)
        offset = layout.offset

        def read(part: Window) -> np.ndarray:
            reach = -(-FILL_REACH // self.ratio)
            return read_filled(layout.read_ms, part, self.ms_shape, reach, MS_SLOPE)

        return (
            read_shifted(read, window, self.ms_shape, (offset, offset), MS_SLOPE)
            if offset
            else read(window)
        )

    def read_pan(self, window: Window | None = None) -> np.ndarray:
        window = window or Window.whole(self.pan_shape)
        return read_filled(self._layout.read_pan, window, self.pan_shape, FILL_REACH)

    def read_mask(self, window: Window | None = None) -> np.ndarray | None:
        if not self._layout.masked:
            return None
        return self._layout.read_mask(window or Window.whole(self.pan_shape))

    def fingerprint(self) -> str:
        remote = self.ms_files.describe_remote() + self.pan_files.describe_remote()
        hashed = hash_files(*self.ms_files.files(), *self.pan_files.files())
        return hashed if not remote else hash_json([hashed, remote])

    def version(self) -> str:
        files = [*self.ms_files.files(), *self.pan_files.files()]
        states = [(str(file.resolve()), file.stat()) for file in files]
        marks = [(name, state.st_size, state.st_mtime_ns) for name, state in states]
        layout = self._layout
        settings = (self.bits, layout.alignment, layout.offset, self.ms_files.order)
        remote = self.ms_files.describe_remote() + self.pan_files.describe_remote()
        return (
            f'{marks} {settings} {self.resampling} {SHIFT_REACH} {FILL_REACH} {MS_SLOPE} {remote}'
        )

    @functools.cached_property
    def _layout(self) -> RasterLayout:
        return lay_out(
            self.ms_files,
            self.pan_files,
            self.sensor,
            lambda: self.bits,
            self.stated_ratio,
            self.stated_samples,
            self.resampling,
        )
