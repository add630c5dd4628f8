"""Windows: rectangles of pixels, and all arithmetic with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np
from rasterio.windows import Window as RasterWindow
from torch import Tensor

from plugins.pansharpening.scenes.continuation import pad_image

ImageT = TypeVar('ImageT', np.ndarray, Tensor)


class Window(NamedTuple):
    """A rectangle of pixels of one grid.

    Attributes:
        row: first row.
        col: first column.
        height: number of rows.
        width: number of columns.
    """

    row: int
    col: int
    height: int
    width: int

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Window:
        """Creates the window that covers an image of this height and width."""
        return cls(0, 0, *shape)

    @classmethod
    def between(cls, top: int, left: int, bottom: int, right: int) -> Window:
        """Creates a window from its edges; it is empty if they are in the wrong order."""
        return cls(top, left, max(bottom - top, 0), max(right - left, 0))

    @classmethod
    def fraction(cls, shape: tuple[int, int], region: tuple[float, float, float, float]) -> Window:
        """Creates the window of a part of an image: top, left, bottom, right as fractions of it.

        Raises:
            ValueError: fractions outside 0 to 1, or in the wrong order.
        """
        top, left, bottom, right = region
        if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
            raise ValueError(
                'region is top, left, bottom, right in fractions of the scene, such as '
                f'[0, 0, 1, 0.5] for its left half; found {list(region)}'
            )
        height, width = shape
        return cls.between(*(round(f * n) for f, n in zip(region, (height, width) * 2)))

    @property
    def bottom(self) -> int:
        """Row below the last one."""
        return self.row + self.height

    @property
    def right(self) -> int:
        """Column right of the last one."""
        return self.col + self.width

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices."""
        return slice(self.row, self.bottom), slice(self.col, self.right)

    @property
    def raster_window(self) -> RasterWindow:
        """The same window for rasterio."""
        return RasterWindow(self.col, self.row, self.width, self.height)

    def cut(self, image: ImageT) -> ImageT:
        """Cuts the window out of an image (..., H, W); returns a view."""
        return image[(..., *self.slices)]

    def contains(self, other: Window) -> bool:
        """Tells whether all pixels of another window lie in this one."""
        rows = self.row <= other.row and other.bottom <= self.bottom
        return rows and self.col <= other.col and other.right <= self.right

    def intersect(self, other: Window) -> Window:
        """Returns the pixels that two windows share; empty if there are none."""
        return Window.between(
            max(self.row, other.row),
            max(self.col, other.col),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def shift(self, rows: int, cols: int) -> Window:
        """Moves the window down and to the right."""
        return self._replace(row=self.row + rows, col=self.col + cols)

    def relative_to(self, other: Window) -> Window:
        """Returns the window in pixels that are counted from the corner of another one."""
        return self.shift(-other.row, -other.col)

    def expand(self, margin: int, shape: tuple[int, int]) -> Window:
        """Adds `margin` pixels on each side, as far as an image of this shape has them."""
        wide = Window.between(
            self.row - margin, self.col - margin, self.bottom + margin, self.right + margin
        )
        return wide.intersect(Window.whole(shape))

    def reduced(self, ratio: int) -> Window:
        """Converts to a grid that is `ratio` times coarser.

        Raises:
            ValueError: the window does not start and end at pixels of that grid.
        """
        if any(value % ratio for value in self):
            raise ValueError(f'{self} does not fall on the pixels of a grid {ratio} times coarser')
        return Window(*(value // ratio for value in self))

    def enlarged(self, ratio: int) -> Window:
        """Converts to a grid that is `ratio` times finer."""
        return Window(*(value * ratio for value in self))

    def covering(self, ratio: int) -> Window:
        """Returns all pixels that the window touches on a grid `ratio` times coarser."""
        return Window.between(
            self.row // ratio, self.col // ratio, -(-self.bottom // ratio), -(-self.right // ratio)
        )

    def covered(self, ratio: int) -> Window:
        """Returns the pixels of a grid `ratio` times coarser that lie wholly in the window."""
        return Window.between(
            -(-self.row // ratio), -(-self.col // ratio), self.bottom // ratio, self.right // ratio
        )

    def tiles(self, side: int) -> Iterator[Window]:
        """Divides the window into squares, row by row; the last ones end where it ends."""
        for row in range(self.row, self.bottom, side):
            for col in range(self.col, self.right, side):
                yield Window.between(
                    row, col, min(row + side, self.bottom), min(col + side, self.right)
                )

    def blocks(self, side: int) -> Iterator[Window]:
        """Yields the squares that the window touches, of those at multiples of `side`."""
        for block in self.covering(side).tiles(1):
            yield block.enlarged(side)

    def paste(self, target: np.ndarray, source: np.ndarray, source_window: Window) -> None:
        """Copies the pixels that this window shares with another one.

        Args:
            target: image (..., H, W) of this window.
            source: image of the other window. It may end earlier, at the border of its image.
            source_window: the other window.
        """
        shared = self.intersect(source_window)
        shared.relative_to(self).cut(target)[:] = shared.relative_to(source_window).cut(source)

    def __str__(self) -> str:
        return f'rows {self.row}:{self.bottom}, columns {self.col}:{self.right}'


Read = Callable[[Window], np.ndarray]


def read_around(
    read: Read, window: Window, margin: int, shape: tuple[int, int], slope: float = 0.0
) -> np.ndarray:
    """Reads a window with `margin` pixels on each side; the image is continued beyond its border.

    Args:
        read: reads a window of the image, (C, h, w).
        window: inside the image.
        margin: in pixels.
        shape: height and width of the image.
        slope: see `pad_image`; 0 repeats the border.
    """
    inside = window.expand(margin, shape)
    image = read(inside)
    above, before = margin - (window.row - inside.row), margin - (window.col - inside.col)
    below, after = margin - (inside.bottom - window.bottom), margin - (inside.right - window.right)
    if above or below or before or after:
        return pad_image(image, (above, below), (before, after), slope)
    return image
