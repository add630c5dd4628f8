"""Conversion of sharpened images to digital numbers: data type, range, nodata."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plugins.pansharpening.scenes.scene import Scene
from toolkit.errors import RunError, ToolkitError

# Data types of a GeoTIFF that can hold an image.
DTYPES = ('uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32', 'float32', 'float64')
# Largest share of values that may be changed because the data type cannot hold them.
MAX_CLIPPED = 0.01
# float64 counts without gaps up to here.
EXACT = 2**53


class DigitalNumbers(NamedTuple):
    """A window of an image as it is written.

    Attributes:
        values: (C, H, W).
        valid: (H, W) bool, True where there is data; None where there is data everywhere.
        clipped: number of valid values that the data type cannot hold.
    """

    values: np.ndarray
    valid: np.ndarray | None
    clipped: int

    @property
    def count(self) -> int:
        """Number of valid values."""
        pixels = self.values[0].size if self.valid is None else int(self.valid.sum())
        return pixels * len(self.values)


class DigitalFormat:
    """Converts images in [0, 1] to digital numbers.

    Integers are rounded. A value that an integer type cannot hold becomes the nearest one that it
    can, and is counted; so is a number between 0 and 1 of a scene of floats, such as a
    reflectance, that is rounded to 0. Nothing is clipped to the bit depth. Where there is no data
    the result is `nodata`; valid values that equal it are changed to the next number.

    Args:
        scene: the scene whose image it is.
        dtype: name of the data type; None for that of the MS.
    Raises:
        ToolkitError: an unknown data type.

    Attributes:
        dtype: data type of the result.
        nodata: value of pixels without data: the scene's, if the data type can hold it; else None.
        masked: whether a mask is needed beside the values, since `nodata` cannot tell where there
            is no data.
    """

    def __init__(self, scene: Scene, dtype: str | None = None) -> None:
        if dtype is not None and dtype not in DTYPES:
            raise ToolkitError(f'dtype is one of {", ".join(DTYPES)}; found {dtype!r}')
        found = scene.dtype if dtype is None else np.dtype(dtype)
        # GeoTIFF has no half precision, and stores its own byte order.
        self.dtype = np.dtype(np.float32) if found == np.float16 else found.newbyteorder('=')
        self.is_chosen = dtype is not None and self.dtype != scene.dtype
        self.scale, self.name = scene.scale, scene.name
        self.nodata = _representable(scene.nodata, self.dtype)
        self.masked = scene.masked and self.nodata is None
        self.is_integer = self.dtype.kind != 'f'
        # float32 holds 24 bits.
        wide = scene.bits > 20 or (self.dtype.itemsize > 2 and self.dtype != np.float32)
        self._precision = torch.float64 if wide else torch.float32
        self._counts_zeros = self.is_integer and scene.dtype.kind == 'f'

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest number that the data type holds."""
        if not self.is_integer:
            return -float('inf'), float('inf')
        limits = np.iinfo(self.dtype)
        return max(limits.min, -EXACT), min(limits.max, EXACT)

    def empty(self, bands: int, shape: tuple[int, int]) -> np.ndarray:
        """Creates an image (C, H, W) without data."""
        return np.full((bands, *shape), 0 if self.nodata is None else self.nodata, self.dtype)

    def convert(
        self, image: Tensor, values: np.ndarray, valid: np.ndarray | None, where: object
    ) -> int:
        """Converts an image.

        Args:
            image: (C, H, W) in [0, 1]; values outside are allowed.
            values: (C, H, W) of `dtype`, which is filled.
            valid: (H, W) bool, where there is data; None for everywhere.
            where: the window, for errors.
        Returns:
            The number of valid values that the data type cannot hold.
        Raises:
            RunError: the image has NaN or infinite values.
        """
        # Contiguous, whatever the order of the image's axes in memory is.
        numbers = image.new_empty(image.shape, dtype=self._precision)
        torch.mul(image.to(self._precision), self.scale, out=numbers)
        smallest, largest = (float(value) for value in torch.aminmax(numbers))
        if not np.isfinite([smallest, largest]).all():
            raise RunError(
                f'the network gives NaN or infinite values for {self.name}, {where}; its weights '
                'are spoilt, so choose another checkpoint'
            )
        clipped = 0
        if self.is_integer:
            unrounded = numbers.cpu().numpy() if self._counts_zeros else None
            numbers = numbers.round() if self._counts_zeros else numbers.round_()
            low, high = self.range
            if smallest < low - 0.5 or largest >= high + 0.5 or unrounded is not None:
                array = numbers.cpu().numpy()
                lost = (array < low) | (array > high)
                if unrounded is not None:
                    lost |= (array == 0) & (unrounded != 0)
                if valid is not None:
                    lost &= valid
                clipped = int(np.count_nonzero(lost))
                numbers = numbers.clamp_(low, high)
        np.copyto(values, numbers.cpu().numpy(), casting='unsafe')
        if self.nodata is not None:
            self._mark(values, valid)
        elif valid is not None:
            values[:, ~valid] = 0
        return clipped

    def check_share(self, clipped: int, count: int) -> None:
        """Refuses a result of which a data type that the user chose cannot hold too much.

        In the MS's own type, methods fall below 0 in dark areas; that is reported, no error.

        Args:
            clipped: number of values that it cannot hold.
            count: number of values.
        Raises:
            RunError: the share is above `MAX_CLIPPED`.
        """
        if self.is_chosen and clipped > MAX_CLIPPED * count:
            raise RunError(
                f'{self.describe(clipped, count)}; expected at most {MAX_CLIPPED:.0%}, so name a '
                'type that holds them, such as --dtype float32'
            )

    def describe(self, clipped: int, count: int) -> str:
        """Says how many values the data type cannot hold."""
        low, high = self.range
        return (
            f'{clipped:,} of {count:,} values of {self.name} ({clipped / max(count, 1):.2%}) do '
            f'not fit into {self.dtype}, whole numbers from {low:,} to {high:,}'
        )

    def _mark(self, values: np.ndarray, valid: np.ndarray | None) -> None:
        """Sets pixels without data to `nodata`, and no others."""
        assert self.nodata is not None
        nodata = np.array(self.nodata, self.dtype)
        equal = values == nodata
        if equal.any():
            if self.is_integer:
                step = 1 if nodata < np.iinfo(self.dtype).max else -1
                values[equal] = nodata + self.dtype.type(step)
            else:
                values[equal] = np.nextafter(nodata, np.array(np.inf, self.dtype))
        if valid is not None:
            values[:, ~valid] = nodata


def _representable(nodata: float | None, dtype: np.dtype[Any]) -> float | None:
    """Returns a nodata value if a data type can hold it, else None."""
    if nodata is None:
        return None
    if dtype.kind == 'f':
        return nodata
    limits = np.iinfo(dtype)
    fits = float(nodata).is_integer() and limits.min <= nodata <= limits.max
    return nodata if fits else None
