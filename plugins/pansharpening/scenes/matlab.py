"""Scenes in MATLAB files, as the field's benchmarks come."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import scipy.io

from plugins.pansharpening.scenes.hdf5 import matlab_variables
from plugins.pansharpening.scenes.scene import (
    SCENES,
    Scene,
    Window,
    check_bit_depth,
    check_pair,
    scaled,
)
from plugins.pansharpening.scenes.sensors import sensor as sensor_named
from toolkit.errors import DataError, did_you_mean
from toolkit.io.data_paths import data_path, file_hash


@SCENES.register
class MatScene(Scene):
    """A .mat file with an MS (h, w, C) and a PAN (H, W); version 7.3 needs the extra `h5`.

    Args:
        path: absolute, or below $TOOLKIT_DATA, or from the working folder.
        sensor: name of the sensor.
        bit_depth: of the digital numbers; None for the sensor's.
        ms_key: variable that holds the MS.
        pan_key: variable that holds the PAN.
    Raises:
        ValueError: no such sensor.
        DataError: no such file; on first use: unreadable, no such variables, shapes
            that do not fit.
    """

    def __init__(
        self,
        path: str,
        sensor: str,
        bit_depth: int | None = None,
        ms_key: str = 'I_MS',
        pan_key: str = 'I_PAN',
    ) -> None:
        self.path = data_path(path)
        self.name = self.path.stem
        self.sensor = sensor_named(sensor)
        self.bits = check_bit_depth(self.sensor.bits if bit_depth is None else bit_depth)
        self.ms_key, self.pan_key = ms_key, pan_key

    @property
    def bands(self) -> int:
        return self._images()[0].shape[0]

    @property
    def ms_shape(self) -> tuple[int, int]:
        h, w = self._images()[0].shape[1:]
        return h, w

    @property
    def pan_shape(self) -> tuple[int, int]:
        h, w = self._images()[1].shape[1:]
        return h, w

    def read_ms(self, window: Window | None = None) -> np.ndarray:
        return self._read(0, self.ms_key, window)

    def read_pan(self, window: Window | None = None) -> np.ndarray:
        return self._read(1, self.pan_key, window)

    def fingerprint(self) -> str:
        return file_hash(self.path)

    def _read(self, which: int, key: str, window: Window | None) -> np.ndarray:
        image = self._images()[which]
        window = window or Window(0, 0, *image.shape[1:])
        return scaled(
            image[(slice(None), *window.slices)], self.bits, f'{self.path}: {key}, {window}'
        )

    def _images(self) -> tuple[np.ndarray, np.ndarray]:
        ms, pan = _load(self.path, self.path.stat().st_mtime_ns, self.ms_key, self.pan_key)
        check_pair(self.sensor, ms.shape, pan.shape[1:], str(self.path))
        return ms, pan


@functools.lru_cache(maxsize=4)
def _load(path: Path, modified: int, ms_key: str, pan_key: str) -> tuple[np.ndarray, np.ndarray]:
    # The datasets of a run share one scene's memory; `modified` only keys the cache.
    try:
        variables = scipy.io.loadmat(path, variable_names=[ms_key, pan_key])
        known = [name for name, *_ in scipy.io.whosmat(path)]
    except NotImplementedError:
        variables, known = matlab_variables(path, (ms_key, pan_key))
    except Exception as error:  # scipy raises many kinds for files that are cut or no .mat at all
        raise DataError(f'{path} cannot be read as a .mat file: {error}') from error
    for key in (ms_key, pan_key):
        if key not in variables:
            raise DataError(
                f'{path} has no variable {key!r}{did_you_mean(key, known)}; there are: '
                f'{", ".join(known) or "none"}; set ms_key and pan_key'
            )
    ms, pan = variables[ms_key], variables[pan_key]
    if ms.ndim != 3 or pan.ndim != 2:
        raise DataError(
            f'{path}: found {ms_key} of shape {ms.shape} and {pan_key} of shape {pan.shape}; '
            'expected an MS (height, width, bands) and a PAN (height, width)'
        )
    return np.ascontiguousarray(ms.transpose(2, 0, 1)), np.ascontiguousarray(pan[None])
