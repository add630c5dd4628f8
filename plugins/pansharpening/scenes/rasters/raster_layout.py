"""Layout of the two rasters of a scene on one grid, and reading of windows by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from plugins.pansharpening.scenes.rasters.alignment import Alignment, align
from plugins.pansharpening.scenes.rasters.band_files import BandFiles
from plugins.pansharpening.scenes.rasters.band_names import check_order
from plugins.pansharpening.scenes.rasters.warped_bands import BLOCK, Interpolation, WarpedBands
from plugins.pansharpening.scenes.scene import check_pair, scale_to_unit
from plugins.pansharpening.scenes.sensors import Sensor
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError

# Position of MS samples, see `RasterScene`; 'auto' only where a scene is opened.
Samples = Literal['centre', 'interp23tap']
ChosenSamples = Literal['auto', 'centre', 'interp23tap']


class RasterLayout(NamedTuple):
    """Files and alignment of the two rasters of a scene.

    Attributes:
        ms_files: of the MS.
        pan_files: of the PAN.
        bits: bit depth of the digital numbers.
        alignment: grid on which both are read.
        warped: MS on that grid; None if its own pixels lie on it.
        masked: some pixels may have no data.
        samples: position of the MS samples; None without a georeference.
        offset: MS pixels by which its samples are moved down and right as they are read.
        note: see `check_order`.
    """

    ms_files: BandFiles
    pan_files: BandFiles
    bits: int
    alignment: Alignment
    warped: WarpedBands | None
    masked: bool
    samples: Samples | None
    offset: float
    note: str | None

    @property
    def bands(self) -> int:
        """Number of bands of the MS."""
        return len(self.ms_files.header.bands)

    def read_ms(self, window: Window) -> tuple[np.ndarray, np.ndarray | None]:
        """Reads a window of the MS, and the mask of pixels with data."""
        if self.warped is not None:
            return self.warped.read(window)
        window = window.shift(*(self.alignment.ms_origin or (0, 0)))
        values, valid = self.ms_files.read(window)
        return scale_to_unit(values, self.bits, f'{self.ms_files}: {window}'), valid

    def read_pan(self, window: Window) -> tuple[np.ndarray, np.ndarray | None]:
        """Reads a window of the PAN, and the mask of pixels with data."""
        window = window.shift(*self.alignment.pan_origin)
        values, valid = self.pan_files.read(window)
        return scale_to_unit(values, self.bits, f'{self.pan_files}: {window}'), valid

    def read_mask(self, window: Window) -> np.ndarray:
        """Reads where both hold data, in a window of PAN pixels."""
        ratio = self.alignment.ratio
        coarse = window.covering(ratio)
        ms = self.read_ms(coarse)[1]
        pan = self.pan_files.read(window.shift(*self.alignment.pan_origin))[1]
        mask = np.ones(window.shape, bool) if pan is None else pan
        if ms is not None:
            fine = ms.repeat(ratio, 0).repeat(ratio, 1)
            mask = mask & window.relative_to(coarse.enlarged(ratio)).cut(fine)
        return mask

    def is_empty(self) -> bool:
        """Tells whether the two nowhere both hold data."""
        # From the middle outwards, where most scenes hold data in the first rows that are read.
        height, width = self.alignment.shape
        rows = sorted(range(0, height, BLOCK), key=lambda row: abs(row + BLOCK / 2 - height / 2))
        pieces = (Window(row, 0, min(BLOCK, height - row), width) for row in rows)
        return not any(
            self.read_mask(piece.enlarged(self.alignment.ratio)).any() for piece in pieces
        )


def lay_out(
    ms_files: BandFiles,
    pan_files: BandFiles,
    sensor: Sensor,
    choose_bits: Callable[[], int],
    ratio: int | None,
    samples: ChosenSamples,
    resampling: Interpolation,
) -> RasterLayout:
    """Lays out two rasters on one grid; the arguments are those of `RasterScene`.

    Args:
        choose_bits: finds the bit depth, once the files are known to fit each other.

    Raises:
        DataError: rasters that do not fit each other or the sensor, or share no pixel with data.
    """
    ms, pan = ms_files.header, pan_files.header
    where = f'{ms_files} and {pan_files}'
    if len(pan.bands) != 1:
        raise DataError(f'{pan_files}: found {len(pan.bands)} bands, expected a PAN of one')
    colours = [band.colour.name for band in ms.tags]
    note = check_order(sensor, ms.names, str(ms_files), ms_files.order, colours)
    found, offset, shift = align(ms.grid, pan.grid, ratio, where), 0.0, 0.0
    placed = _place_samples(samples, pan.grid.located, found.ratio)
    if placed == 'interp23tap' and found.ratio % 2 == 0:
        if found.ms_origin is None:
            found, shift = align(ms.grid, pan.grid, ratio, where, 0.5), 0.5
        else:
            offset = 0.5 / found.ratio
    height, width = found.shape
    fine = (height * found.ratio, width * found.ratio) if pan.grid.located else pan.grid[:2]
    check_pair(sensor, (len(ms.bands), height, width), fine, where)
    bits, warped = choose_bits(), None
    if found.ms_origin is None:
        row, col = (corner + shift for corner in found.pan_origin)
        grid = pan.grid.part(row, col, height, width, step=found.ratio)
        warped = WarpedBands(ms_files, grid, resampling, bits)
    masked = warped is not None or ms.masked or pan.masked
    layout = RasterLayout(ms_files, pan_files, bits, found, warped, masked, placed, offset, note)
    if masked and layout.is_empty():
        raise DataError(
            f'{where}: found nodata in the one or the other everywhere; expected pixels where '
            'both hold data, so check their nodata values and masks'
        )
    return layout


def _place_samples(stated: ChosenSamples, located: bool, ratio: int) -> Samples | None:
    if not located:
        return None
    if stated != 'auto':
        return stated
    return 'interp23tap' if ratio > 1 and ratio & (ratio - 1) == 0 else 'centre'
