"""Scenes: pairs of a multispectral and a panchromatic image, read by windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from plugins.pansharpening.scenes.raster_tags import RasterTags
from plugins.pansharpening.scenes.sensors import Sensor
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError
from toolkit.registry import Kind

SCENES = Kind('scene', 'plugins.pansharpening.scenes.scene.Scene')


class Georeference(NamedTuple):
    """Position of the PAN grid: rasterio's CRS (or None) and affine transform."""

    crs: Any
    transform: Any


class Scene(ABC):
    """A multispectral image and a PAN `ratio` times finer that cover the same ground.

    Pixels are float32 digital numbers divided by `scale`, in [0, 1] as the sensor delivers them;
    values are not clipped. Windows are in pixels of the grid that is read.

    Attributes:
        name: short name for tables and file names.
        sensor: sensor that took the images.
        bits: bit depth of the digital numbers.
    """

    contract: ClassVar[str] = 'plugins.pansharpening.contracts.SceneContract'

    name: str
    sensor: Sensor
    bits: int

    @property
    @abstractmethod
    def bands(self) -> int:
        """Number of bands C of the multispectral image."""

    @property
    @abstractmethod
    def ms_shape(self) -> tuple[int, int]:
        """Height h and width w of the multispectral image."""

    @property
    @abstractmethod
    def pan_shape(self) -> tuple[int, int]:
        """Height H and width W of the PAN."""

    @property
    def ratio(self) -> int:
        """PAN pixels per multispectral pixel along each axis."""
        return self.pan_shape[0] // self.ms_shape[0]

    @property
    def scale(self) -> int:
        """The digital number that becomes 1."""
        return 2**self.bits - 1

    @property
    def states_bits(self) -> bool:
        """True if the files state their bit depth."""
        return False

    @property
    def holds_fractions(self) -> bool:
        """True if the images are taken to be reflectances, whose full scale is 1."""
        return self.bits == 1

    def describe_fractions(self) -> str:
        """Says that the images are taken to be reflectances."""
        return (
            f'{self.name} holds fractions, which are taken for reflectances: full scale is 1 '
            '(--bit-depth states another)'
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the multispectral image, and by default of results."""
        return np.dtype(np.uint16 if self.bits <= 16 else np.uint32)

    @property
    def nodata(self) -> float | None:
        """Value that stands for no data in the files; None if they declare none."""
        return None

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands: those of the files, or of the sensor."""
        return self.sensor.names(self.bands)

    @property
    def tags(self) -> RasterTags:
        """Tags of a result on the PAN grid, and what it cannot have of the files."""
        return RasterTags()

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines about choices that were made as the files were read."""
        return ()

    def files(self) -> list[Path]:
        """Lists all files that the scene is read from, including files that they name."""
        return []

    @property
    def samples(self) -> str | None:
        """Position of the MS samples, see `RasterScene`; None if the files do not tell it."""
        return None

    @property
    def georeference(self) -> Georeference | None:
        """Position of the PAN grid; None if it is not known."""
        return None

    @property
    def reference(self) -> np.ndarray | None:
        """The true image (C, H, W) at the resolution of the PAN; None if there is none."""
        return None

    @property
    def has_reference(self) -> bool:
        """True if there is a `reference`, which is not read for it."""
        return self.reference is not None

    def read_reference(self, window: Window) -> np.ndarray:
        """Reads a window of `reference`, in PAN pixels.

        Raises:
            DataError: the scene has no reference.
        """
        reference = self.reference
        if reference is None:
            raise DataError(f'{self.name} has no reference')
        return window.cut(reference).copy()

    @property
    def mask(self) -> np.ndarray | None:
        """Pixels with data (H, W), boolean; None if all pixels have data."""
        return None

    @property
    def masked(self) -> bool:
        """True if some pixels may have no data."""
        return self.read_mask(Window.whole((self.ratio, self.ratio))) is not None

    @abstractmethod
    def read_ms(self, window: Window | None = None) -> np.ndarray:
        """Reads a window of the multispectral image, or all of it: (C, h, w) float32.

        Raises:
            DataError: it cannot be read, or holds values that are not finite or too large.
        """

    @abstractmethod
    def read_pan(self, window: Window | None = None) -> np.ndarray:
        """Reads a window of the PAN, or all of it: (1, H, W) float32; see `read_ms`."""

    def read_mask(self, window: Window | None = None) -> np.ndarray | None:
        """Reads a window of `mask`, in PAN pixels; the rest of the image is not read."""
        mask = self.mask
        return mask if mask is None or window is None else window.cut(mask)

    @abstractmethod
    def fingerprint(self) -> str:
        """Computes a short hash of the files or values of the scene."""

    def version(self) -> str:
        """Returns a text that changes with the scene, without reading all of a large scene."""
        return self.fingerprint()


def scale_to_unit(values: np.ndarray, bits: int, where: str) -> np.ndarray:
    """Divides digital numbers by the largest one of their bit depth, after a check.

    Args:
        values: digital numbers of any numeric type.
        bits: bit depth.
        where: file and window, for messages.
    Returns:
        float32, in [0, 1] unless values are negative, or fractions above the largest.
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
            f'set bit_depth (--bit-depth) to {int(largest).bit_length()} or what the product states'
        )
    return np.divide(values, np.float32(scale), dtype=np.float32)


def check_finite(values: np.ndarray, where: str) -> None:
    """Refuses NaN and infinite values.

    Raises:
        DataError: there are NaN or infinite values.
    """
    if values.dtype.kind == 'f' and not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise DataError(
            f'{where}: {bad} of {values.size} values are NaN or infinite; expected digital '
            'numbers, so repair or crop the image, or declare its nodata value'
        )


def check_pair(sensor: Sensor, ms: tuple[int, int, int], pan: tuple[int, int], where: str) -> None:
    """Checks that the shapes of an image (C, h, w) and its PAN (H, W) fit.

    Raises:
        DataError: the PAN is not the same integer multiple of the image along both axes, or the
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


def check_bit_depth(bits: int) -> int:
    """Checks a bit depth and returns it.

    Raises:
        ValueError: the bit depth is not between 1 and 32.
    """
    if not 1 <= bits <= 32:
        raise ValueError(f'bit_depth must be between 1 and 32, found {bits}')
    return bits


def choose_bits(sensor: Sensor, bit_depth: int | None, sample: np.ndarray) -> int:
    """Chooses the bit depth of a scene: the stated one, or the sensor's, or 1 for reflectances.

    Floating-point values that are fractions, and mostly below 1, are reflectances, which no bit
    depth of a sensor fits: their full scale is 1.

    Args:
        sensor: sensor that took the images.
        bit_depth: the stated one; None for none.
        sample: values of the MS, from all over the image.
    Raises:
        ValueError: the bit depth is not between 1 and 32.
    """
    if bit_depth is not None:
        return check_bit_depth(bit_depth)
    if sample.dtype.kind == 'f':
        values = np.asarray(sample[..., :: max(sample.shape[-2] // 256, 1), :])
        values = values[np.isfinite(values) & (values > 0)]
        if values.size and np.median(values) < 1 and bool((values != np.round(values)).any()):
            return 1
    return sensor.bits


def choose_bands(image: np.ndarray, order: Sequence[int] | None, where: str) -> np.ndarray:
    """Chooses bands (C, ...) by their numbers from 1; None for all.

    Raises:
        DataError: there is no such band.
    """
    if order is None:
        return image
    if wrong := [number for number in order if not 1 <= number <= len(image)]:
        raise DataError(f'{where}: found {len(image)} bands, but band {wrong[0]} is asked for')
    return image[[number - 1 for number in order]]
