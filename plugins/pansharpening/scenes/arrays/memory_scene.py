"""Scenes in memory."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from plugins.pansharpening.scenes.scene import Scene, check_pair, choose_bits, scale_to_unit
from plugins.pansharpening.scenes.sensors import SensorSpec, get_sensor
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError


class MemoryScene(Scene):
    """An MS (C, h, w) and a PAN (H, W) or (1, H, W) in numpy arrays of digital numbers.

    The arrays are not copied. `ArrayScene` reads such arrays from files.

    Args:
        ms: multispectral image.
        pan: panchromatic image, `ratio` times larger along both axes.
        sensor: name of the sensor, or its description; see `get_sensor`.
        bit_depth: of the digital numbers; None for the sensor's, or 1 for reflectances
            (`choose_bits`).
        name: for messages.
    Raises:
        ValueError: no such sensor, or a bit depth out of range.
        DataError: arrays of other shapes.
    """

    def __init__(
        self,
        ms: np.ndarray,
        pan: np.ndarray,
        sensor: SensorSpec = 'generic',
        bit_depth: int | None = None,
        name: str = 'the scene',
    ) -> None:
        if ms.ndim != 3 or pan.ndim not in (2, 3) or pan.shape[:-2] not in ((), (1,)):
            raise DataError(
                f'found an MS of shape {ms.shape} and a PAN of shape {pan.shape}; expected '
                '(bands, height, width) and (height, width)'
            )
        self.name = name
        self.sensor = get_sensor(sensor)
        self.bits = choose_bits(self.sensor, bit_depth, ms)
        self._ms, self._pan = ms, pan.reshape(1, *pan.shape[-2:])
        _check_layout(ms, self.pan_shape)
        check_pair(self.sensor, (self.bands, *self.ms_shape), self.pan_shape, name)

    @property
    def bands(self) -> int:
        return self._ms.shape[0]

    @property
    def ms_shape(self) -> tuple[int, int]:
        return self._ms.shape[1:]

    @property
    def pan_shape(self) -> tuple[int, int]:
        return self._pan.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._ms.dtype

    def read_ms(self, window: Window | None = None) -> np.ndarray:
        window = window or Window.whole(self.ms_shape)
        return scale_to_unit(window.cut(self._ms), self.bits, f'MS, {window}')

    def read_pan(self, window: Window | None = None) -> np.ndarray:
        window = window or Window.whole(self.pan_shape)
        return scale_to_unit(window.cut(self._pan), self.bits, f'PAN, {window}')

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for image in (self._ms, self._pan):
            digest.update(f'{image.dtype.str} {image.shape} '.encode())
            digest.update(np.ascontiguousarray(image))
        return digest.hexdigest()[:16]


def _check_layout(ms: np.ndarray, pan_shape: tuple[int, int]) -> None:
    """Checks that the bands of an MS come first.

    Raises:
        DataError: the bands are the last axis, since only then the PAN is a multiple.
    """

    def fits(h: int, w: int) -> bool:
        ratio = pan_shape[0] // max(h, 1)
        return ratio >= 1 and pan_shape == (ratio * h, ratio * w)

    if not fits(*ms.shape[1:]) and fits(*ms.shape[:2]):
        raise DataError(
            f'found an MS of shape {ms.shape} whose bands are the last axis; expected (bands, '
            'height, width): give ms.transpose(2, 0, 1)'
        )
