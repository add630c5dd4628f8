"""Lazy images, computed for the window that is read, and their continuation beyond the border."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.scenes.continuation import MS_SLOPE, compute_ramp
from plugins.pansharpening.scenes.window import Window

# How an image goes on beyond its border: by its opposite side, by its outermost pixels, mirrored
# with the outermost pixels twice, or as an MS does (see `scenes.continuation`).
Border = Literal['wrap', 'replicate', 'mirror', 'extrapolate']


class LazyImage:
    """An image that is computed for the window that is read.

    Args:
        shape: H and W.
        read: window inside the image -> (B, C, height, width).
        area: window that is worked on; None for the whole image.
        border: how `interp23tap` continues it, and what is made of it, beyond its border.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        read: Callable[[Window], Tensor],
        area: Window | None = None,
        border: Border = 'replicate',
    ) -> None:
        self.shape = shape
        self.read = read
        self.area = area or self.whole
        self.border: Border = border
        self._derived: dict[Hashable, LazyImage] = {}

    def derived(self, name: Hashable, make: Callable[[LazyImage], LazyImage]) -> LazyImage:
        """Returns an image made of this one, which is made once and kept under its name."""
        if name not in self._derived:
            self._derived[name] = make(self)
        return self._derived[name]

    def kept(self, window: Window, margin: int) -> LazyImage:
        """Returns the image with a window and a margin around it read now, and only once."""
        kept = window.expand(margin, self.shape)
        image = self.read(kept)

        def read(part: Window) -> Tensor:
            return part.relative_to(kept).cut(image) if kept.contains(part) else self.read(part)

        return LazyImage(self.shape, read, window, self.border)

    @classmethod
    def of(cls, image: Tensor, border: Border = 'replicate') -> LazyImage:
        """Wraps an image (B, C, H, W) in memory."""
        shape = (image.shape[-2], image.shape[-1])
        return cls(shape, lambda window: window.cut(image), border=border)

    @property
    def whole(self) -> Window:
        """Window that covers the image."""
        return Window.whole(self.shape)

    def continued(self, rows: range, cols: range, border: Border) -> Tensor:
        """Reads rows and columns that may lie outside the image: (B, C, len(rows), len(cols))."""
        if border == 'extrapolate':
            return self._extrapolated(rows, cols)
        if border == 'replicate':
            return self._replicated(rows, cols)
        (row_runs, row_index), (col_runs, col_index) = (
            _runs(places, extent, border) for places, extent in zip((rows, cols), self.shape)
        )
        pieces = [
            [self.read(Window(r.start, c.start, len(r), len(c))) for c in col_runs]
            for r in row_runs
        ]
        joined = [line[0] if len(line) == 1 else torch.cat(line, -1) for line in pieces]
        image = joined[0] if len(joined) == 1 else torch.cat(joined, -2)
        for dim, index in ((-2, row_index), (-1, col_index)):
            if index is not None:
                image = image.index_select(dim, index.like(image, torch.long))
        return image

    def framed(self, margin: int) -> LazyImage:
        """Returns the image in a frame of `margin` pixels, which repeats its outermost pixels."""

        def read(part: Window) -> Tensor:
            rows = range(part.row - margin, part.bottom - margin)
            return self.continued(rows, range(part.col - margin, part.right - margin), 'replicate')

        shape = (self.shape[0] + 2 * margin, self.shape[1] + 2 * margin)
        return LazyImage(shape, read, self.area.shift(margin, margin), self.border)

    def _replicated(self, rows: range, cols: range) -> Tensor:
        spans = [
            (min(max(places.start, 0), extent - 1), max(min(places.stop, extent), 1))
            for places, extent in zip((rows, cols), self.shape)
        ]
        (top, bottom), (left, right) = spans
        image = self.read(Window.between(top, left, bottom, right))
        around = (left - cols.start, cols.stop - right, top - rows.start, rows.stop - bottom)
        return F.pad(image, around, mode='replicate') if any(around) else image

    def _extrapolated(self, rows: range, cols: range) -> Tensor:
        inside = [
            # The two outermost pixels where the image is continued.
            range(
                min(max(places.start, 0), max(extent - 2, 0)),
                max(min(places.stop, extent), min(2, extent)),
            )
            for places, extent in zip((rows, cols), self.shape)
        ]
        image = self.read(Window(inside[0].start, inside[1].start, len(inside[0]), len(inside[1])))
        for dim, places, kept, extent in zip((-2, -1), (rows, cols), inside, self.shape):
            image = _extrapolate(image, dim, places, kept.start, extent)
        return image

    def around(self, window: Window, margin: int) -> tuple[Tensor, tuple[slice, slice]]:
        """Reads a window with up to `margin` pixels on each side, as far as the image reaches.

        For filters that continue an image beyond its border by themselves.

        Returns:
            The pixels, and the slices of the window in them.
        """
        wide = window.expand(margin, self.shape)
        return self.read(wide), window.relative_to(wide).slices


@functools.lru_cache(256)  # a copy of an index to a GPU would wait for it at each call
def _runs(places: range, extent: int, border: Border) -> tuple[list[range], PlacedArray | None]:
    """Finds the runs of neighbouring positions of an axis to read, and the index into them joined.

    The index is None if it would change nothing.
    """
    if places.start >= 0 and places.stop <= extent:
        return [places], None
    index = np.arange(places.start, places.stop)
    if border == 'wrap':
        index = index % extent
    else:
        index = index % (2 * extent)
        index = np.where(index < extent, index, 2 * extent - 1 - index)
    unique = np.unique(index)
    parts = np.split(unique, np.nonzero(np.diff(unique) > 1)[0] + 1)
    return [range(part[0], part[-1] + 1) for part in parts], PlacedArray(
        np.searchsorted(unique, index)
    )


def _extrapolate(image: Tensor, dim: int, places: range, first: int, extent: int) -> Tensor:
    """Cuts and continues an axis to `places`; the image begins at `first`."""
    before, after = max(-places.start, 0), max(places.stop - extent, 0)
    begin, end = max(places.start, 0), min(places.stop, extent)
    parts = [image.narrow(dim, begin - first, end - begin)]
    for count, last, inner in (
        (before, 0, min(1, extent - 1)),
        (after, extent - 1, max(extent - 2, 0)),
    ):
        if not count:
            continue
        x0, x1 = (image.narrow(dim, place - first, 1) for place in (last, inner))
        outer = _continue_line(x0, x1, dim, count, last == 0)
        parts.insert(0, outer) if last == 0 else parts.append(outer)
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def extend(image: Tensor, before: int, after: int, border: Border) -> Tensor:
    """Continues an image in memory beyond its borders, by operations that a graph can record.

    Args:
        image: (B, C, H, W), of at least two rows and columns; for 'wrap', as many as are added.
        before: rows and columns that are added above and on the left.
        after: below and on the right.
        border: not 'mirror'.
    Returns:
        (B, C, H + before + after, W + before + after).
    """
    if border != 'extrapolate':
        mode = {'replicate': 'replicate', 'wrap': 'circular'}[border]
        return F.pad(image, (before, after, before, after), mode=mode)
    for dim in (-2, -1):
        (top, below), (bottom, above) = (
            [image.select(dim, place).unsqueeze(dim) for place in places]
            for places in ((0, 1), (-1, -2))
        )
        outer = _continue_line(top, below, dim, before, True)
        image = torch.cat([outer, image, _continue_line(bottom, above, dim, after, False)], dim)
    return image


def _continue_line(x0: Tensor, x1: Tensor, dim: int, count: int, reverse: bool) -> Tensor:
    """Extrapolates `count` rows or columns from the outermost one and the one inside of it."""
    ramp = _ramp(count, reverse).like(x0)
    step = (x0 - x1).clamp(-x0.abs(), x0.abs())
    return x0 + (ramp[:, None] if dim == -2 else ramp) * step


@functools.lru_cache(256)
def _ramp(count: int, reverse: bool) -> PlacedArray:
    ramp = compute_ramp(count, MS_SLOPE)
    return PlacedArray(ramp[::-1].copy() if reverse else ramp)


class PlacedArray:
    """An array as a tensor of any dtype and device, made once for each."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self._tensors: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def like(self, tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Returns it on the device of a tensor, in its dtype or the stated one."""
        key = (dtype or tensor.dtype, tensor.device)
        if torch.compiler.is_exporting():  # a tensor of the graph is of no use after it
            return torch.tensor(self._array, dtype=key[0], device=key[1])
        if key not in self._tensors:
            with torch.inference_mode(False):  # what is kept may have to let gradients through
                made = torch.from_numpy(np.ascontiguousarray(self._array))
                self._tensors[key] = made.to(device=tensor.device, dtype=key[0])
        return self._tensors[key]
