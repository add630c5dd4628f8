"""Scenes: pairs of a multispectral and a panchromatic image, read by windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plugins.pansharpening.scenes.sensors import Sensor
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError
from toolkit.registry import Kind

SCENES = Kind('scene', 'plugins.pansharpening.scenes.scene.Scene')


class Georeference(NamedTuple):
    """Where the PAN grid lies: rasterio's CRS (or None) and affine transform."""

    crs: Any
    transform: Any


class Scene(ABC):
    """A multispectral image and a PAN `ratio` times finer that cover the same ground.

    Pixels are float32 digital numbers divided by `scale`, in [0, 1] as the sensor delivers them;
    values are not clipped. Windows are in pixels of the grid that is read.

    Attributes:
        name: short, for tables and file names.
        sensor: whose image it is.
        bits: bit depth of the digital numbers.
    """

    name: str
    sensor: Sensor
    bits: int

    @property
    @abstractmethod
    def bands(self) -> int:
        """C of the multispectral image."""

    @property
    @abstractmethod
    def ms_shape(self) -> tuple[int, int]:
        """h and w of the multispectral image."""

    @property
    @abstractmethod
    def pan_shape(self) -> tuple[int, int]:
        """H and W of PAN."""

    @property
    def ratio(self) -> int:
        """PAN pixels per multispectral pixel along each axis."""
        return self.pan_shape[0] // self.ms_shape[0]

    @property
    def scale(self) -> int:
        """The digital number that is 1."""
        return 2**self.bits - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the multispectral image, and so of images made of it."""
        return np.dtype(np.uint16 if self.bits <= 16 else np.uint32)

    @property
    def nodata(self) -> float | None:
        """Value that stands for no data in the files; None if they declare none."""
        return None

    def files(self) -> list[Path]:
        """Lists all files that the scene is read from, including files that they name."""
        return []

    @property
    def georeference(self) -> Georeference | None:
        """Where the PAN grid lies; None where that is not known."""
        return None

    @property
    def reference(self) -> np.ndarray | None:
        """The true image at PAN's resolution (C, H, W), for scenes that were simulated."""
        return None

    @property
    def has_reference(self) -> bool:
        """Whether `reference` is there, without it being read."""
        return self.reference is not None

    def read_reference(self, window: Window) -> np.ndarray:
        """`reference` in a window of PAN pixels, a copy; only where `has_reference`."""
        reference = self.reference
        if reference is None:
            raise DataError(f'{self.name} has no reference')
        return window.cut(reference).copy()

    @property
    def mask(self) -> np.ndarray | None:
        """Boolean (H, W), True where there is data; None where there is everywhere."""
        return None

    @property
    def masked(self) -> bool:
        """Whether some pixels may hold no data."""
        return self.read_mask(Window.whole((self.ratio, self.ratio))) is not None

    @abstractmethod
    def read_ms(self, window: Window | None = None) -> np.ndarray:
        """(C, h, w) float32; the whole image without a window.

        Raises:
            DataError: it cannot be read, or holds values that are not finite or too large.
        """

    @abstractmethod
    def read_pan(self, window: Window | None = None) -> np.ndarray:
        """(1, H, W) float32; otherwise as `read_ms`."""

    def read_mask(self, window: Window | None = None) -> np.ndarray | None:
        """`mask` in a window of PAN pixels, without what lies around it being read."""
        mask = self.mask
        return mask if mask is None or window is None else window.cut(mask)

    @abstractmethod
    def fingerprint(self) -> str:
        """A short hash of what is read."""

    def version(self) -> str:
        """Differs once the scene does; found without reading all of a large one."""
        return self.fingerprint()


def scaled(values: np.ndarray, bits: int, where: str) -> np.ndarray:
    """Digital numbers as float32 in units of the largest, after checking them.

    Args:
        values: digital numbers of any numeric type.
        bits: bit depth that they should have.
        where: file and window, for errors.
    Raises:
        DataError: NaN or infinite values, or integers that need more bits.
    """
    scale = 2**bits - 1
    if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise DataError(f'{where}: found values of type {values.dtype}, expected real numbers')
    check_finite(values, where)
    largest = values.max(initial=0)
    if largest > scale and (values.dtype.kind != 'f' or bool((values == np.round(values)).all())):
        raise DataError(
            f'{where}: found the digital number {largest:g}, but {bits} bits end at {scale}; '
            f'set bit_depth to {int(largest).bit_length()} or what the product states'
        )
    return values.astype(np.float32) / np.float32(scale)


def check_finite(values: np.ndarray, where: str) -> None:
    """Refuse NaN and infinite values.

    Raises:
        DataError: there are some.
    """
    if values.dtype.kind == 'f' and not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise DataError(
            f'{where}: {bad} of {values.size} values are NaN or infinite; expected digital '
            'numbers, so repair or crop the image, or declare its nodata value'
        )


def check_pair(sensor: Sensor, ms: tuple[int, int, int], pan: tuple[int, int], where: str) -> None:
    """Check that the shapes of an image (C, h, w) and its PAN (H, W) belong together.

    Raises:
        DataError: PAN is no integer multiple of the image, or not the same along both axes, or the
            sensor has another number of bands.
    """
    bands, h, w = ms
    ratio = pan[0] // h if h else 0
    if ratio < 1 or pan != (ratio * h, ratio * w):
        raise DataError(
            f'{where}: found an MS of {h} x {w} and a PAN of {pan[0]} x {pan[1]} pixels; expected '
            'a PAN that is the same integer multiple along both axes, so crop both to the '
            'ground that they share'
        )
    if sensor.band_names and len(sensor.band_names) != bands:
        raise DataError(
            f'{where}: found {bands} bands, but {sensor.title} has {len(sensor.band_names)} '
            f"({', '.join(sensor.band_names)}); name the sensor that took it, or 'generic'"
        )


def check_order(
    sensor: Sensor, names: Sequence[str], where: str, numbers: Sequence[int] | None = None
) -> None:
    """Check bands that a file names as the sensor does against the sensor's order.

    Args:
        sensor: whose bands they should be.
        names: descriptions of the bands; anything else than the sensor's names says nothing.
        where: the file, for errors.
        numbers: of these bands in the file; None for 1, 2, ...
    Raises:
        DataError: the names are the sensor's in another order.
    """
    expected = [name.lower() for name in sensor.band_names]
    found = [name.strip().lower() for name in names]
    if found != expected and sorted(found) == sorted(expected):
        numbers = numbers or range(1, len(found) + 1)
        order = [numbers[found.index(name)] for name in expected]
        raise DataError(
            f'{where}: found the bands {", ".join(found)}; {sensor.title} has them as '
            f'{", ".join(expected)}, so set bands: {order}'
        )


def check_bit_depth(bits: int) -> int:
    """`bits` where digital numbers can have it.

    Raises:
        ValueError: it is not between 1 and 32.
    """
    if not 1 <= bits <= 32:
        raise ValueError(f'bit_depth must be between 1 and 32, found {bits}')
    return bits
