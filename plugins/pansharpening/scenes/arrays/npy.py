"""Scenes in numpy files."""

from __future__ import annotations

import functools
import zipfile
import zlib
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from plugins.pansharpening.scenes.scene import (
    SCENES,
    Scene,
    check_pair,
    choose_bands,
    choose_bits,
    scale_to_unit,
)
from plugins.pansharpening.scenes.sensors import SensorSpec, get_sensor
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError, did_you_mean
from toolkit.io.data_paths import find_data_file
from toolkit.io.verification.hashing import hash_files
from toolkit.io.verification.packed_arrays import check_npz
from toolkit.ranges import Ge, Le, PositiveInt


@SCENES.register
class ArrayScene(Scene):
    """An MS (C, h, w) and a PAN (H, W) or (1, H, W) in two .npy files or in one .npz.

    .npy files are read by windows, whatever their size; an .npz is held in memory.

    Args:
        ms: path of the .npy with the MS, or of the .npz with both; absolute, or below
            $TOOLKIT_DATA, or below the current folder.
        pan: path of the .npy with the PAN; None for an .npz.
        sensor: name of the sensor, or its description; see `get_sensor`.
        bit_depth: of the digital numbers; None for the sensor's.
        ms_key: name of the MS in an .npz.
        pan_key: name of the PAN in an .npz.
        channels_last: the MS is (h, w, C).
        ratio: PAN pixels per MS pixel that the images must have; None for any.
        bands: numbers of the bands that are used, from 1, in the order of the sensor; None for all.
    Raises:
        ValueError: no such sensor, or other kinds of files.
        DataError: no such file, unreadable, arrays that are missing or of other shapes.
    """

    def __init__(
        self,
        ms: str,
        pan: str | None = None,
        sensor: SensorSpec = 'generic',
        bit_depth: Annotated[int, Ge(1), Le(32)] | None = None,
        ms_key: str = 'ms',
        pan_key: str = 'pan',
        channels_last: bool = False,
        ratio: PositiveInt | None = None,
        bands: list[PositiveInt] | None = None,
    ) -> None:
        suffixes = [Path(path).suffix.lower() for path in (ms, pan) if path is not None]
        if suffixes not in (['.npz'], ['.npy', '.npy']):
            raise ValueError(
                f'found {" and ".join(str(p) for p in (ms, pan) if p is not None)}; expected one '
                '.npz, or two .npy files: the MS and the PAN'
            )
        self.paths = [find_data_file(path) for path in (ms, pan) if path is not None]
        self.name = self.paths[0].stem
        self.sensor = get_sensor(sensor)
        self._keys, self._channels_last, self.order = (ms_key, pan_key), channels_last, bands
        where = ' and '.join(str(path) for path in self.paths)
        images = self._arrays()
        shape, fine = images[0].shape, images[1].shape
        if len(shape) != 3 or len(fine) not in (2, 3) or fine[:-2] not in ((), (1,)):
            raise DataError(
                f'{where}: found an MS of shape {shape} and a PAN of shape {fine}; expected '
                '(bands, height, width), or (height, width, bands) with channels_last '
                '(--channels-last), and (height, width)'
            )
        count, height, width = (shape[2], *shape[:2]) if channels_last else shape
        ms = images[0].transpose(2, 0, 1) if channels_last else images[0]
        chosen = choose_bands(ms, bands, where)
        self._bands, self._ms_shape, self._pan_shape = len(chosen), (height, width), fine[-2:]
        try:
            check_pair(self.sensor, (len(chosen), height, width), self._pan_shape, where)
        except DataError as error:
            if channels_last or count < shape[2] or shape[2] >= shape[0]:
                raise
            raise DataError(
                f'{error}; if {shape} is (height, width, bands), set channels_last '
                '(--channels-last)'
            ) from error
        if ratio not in (None, self._pan_shape[0] // height):
            found = self._pan_shape[0] // height
            raise DataError(f'{where}: found images of ratio {found}, but ratio is {ratio}')
        self.bits = choose_bits(self.sensor, bit_depth, chosen)

    @property
    def bands(self) -> int:
        return self._bands

    @property
    def ms_shape(self) -> tuple[int, int]:
        return self._ms_shape

    @property
    def pan_shape(self) -> tuple[int, int]:
        return self._pan_shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._arrays()[0].dtype

    def files(self) -> list[Path]:
        return list(self.paths)

    def read_ms(self, window: Window | None = None) -> np.ndarray:
        window = window or Window.whole(self.ms_shape)
        image = self._arrays()[0]
        image = image.transpose(2, 0, 1) if self._channels_last else image
        values = np.ascontiguousarray(choose_bands(window.cut(image), self.order, self.name))
        return scale_to_unit(values, self.bits, f'{self.paths[0]}: MS, {window}')

    def read_pan(self, window: Window | None = None) -> np.ndarray:
        window = window or Window.whole(self.pan_shape)
        image = self._arrays()[1].reshape(1, *self.pan_shape)
        values = np.ascontiguousarray(window.cut(image))
        return scale_to_unit(values, self.bits, f'{self.paths[-1]}: PAN, {window}')

    def fingerprint(self) -> str:
        return hash_files(*self.paths)

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        if len(self.paths) == 1:
            path = self.paths[0]
            return _load_pair(path, path.stat().st_mtime_ns, *self._keys)
        # Mapped anew for each read: a loader's process would be sent a copy of the whole array.
        ms, pan = (_load(path) for path in self.paths)
        return ms, pan


# What numpy raises for files that are cut, damaged, or state an absurd size.
_DAMAGED = (
    *(
        ValueError,
        OSError,
        EOFError,
        AttributeError,
        MemoryError,
        OverflowError,
        NotImplementedError,
    ),
    *(zipfile.BadZipFile, zlib.error),
)


def _load(path: Path) -> np.ndarray:
    """Maps an array on disk into memory, so that only the used part is read."""
    try:
        return np.load(path, mmap_mode='r', allow_pickle=False)
    except _DAMAGED as error:
        raise DataError(f'{path} cannot be read as an .npy file: {error}') from error


@functools.lru_cache(maxsize=4)
def _load_pair(
    path: Path, modified: int, ms_key: str, pan_key: str
) -> tuple[np.ndarray, np.ndarray]:
    # The datasets of a run share one scene's memory; `modified` only keys the cache.
    try:
        check_npz(path, (ms_key, pan_key))
        with np.load(path, allow_pickle=False) as file:
            for key in (ms_key, pan_key):
                if key not in file:
                    raise DataError(
                        f'{path} has no array {key!r}{did_you_mean(key, file.files)}; there are: '
                        f'{", ".join(file.files) or "none"}; set ms_key and pan_key '
                        '(--ms-key, --pan-key)'
                    )
            return file[ms_key], file[pan_key]
    except _DAMAGED as error:
        raise DataError(f'{path} cannot be read as an .npz file: {error}') from error
