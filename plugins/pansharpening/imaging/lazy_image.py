"""Lazy images, computed for the window that is read, and filters in blocks at fixed positions.

A filter cuts its result into blocks that begin at multiples of their size, and computes each block
whole, by the same operations on the same numbers. So a window of any size at any place holds the
same bits as the whole image, and a scene too large for memory is filtered window by window.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Literal

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from plugins.pansharpening.imaging.autocast import without_autocast
from plugins.pansharpening.scenes.continuation import MS_SLOPE, compute_ramp
from plugins.pansharpening.scenes.window import Window

# How an image goes on beyond its border: by its opposite side, by its outermost pixels, mirrored
# with the outermost pixels twice, or as an MS does (see `scenes.continuation`).
Border = Literal['wrap', 'replicate', 'mirror', 'extrapolate']

# Products of matrices with less than some ten columns are made in another order of additions.
NARROW = 64


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
def _runs(places: range, extent: int, border: Border) -> tuple[list[range], _Placed | None]:
    """Finds the runs of neighbouring positions of an axis to read, and the index into them joined.

    The index is None if it would change nothing.
    """
    if places.start >= 0 and places.stop <= extent:
        return [places], None
    index = np.arange(places.start, places.stop)
    if border == 'replicate':
        index = index.clip(0, extent - 1)
    elif border == 'wrap':
        index = index % extent
    else:
        index = index % (2 * extent)
        index = np.where(index < extent, index, 2 * extent - 1 - index)
    unique = np.unique(index)
    parts = np.split(unique, np.nonzero(np.diff(unique) > 1)[0] + 1)
    return [range(part[0], part[-1] + 1) for part in parts], _Placed(np.searchsorted(unique, index))


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
        ramp = _ramp(count, last == 0).like(image)
        outer = x0 + (ramp[:, None] if dim == -2 else ramp) * (x0 - x1)
        parts.insert(0, outer) if last == 0 else parts.append(outer)
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


@functools.lru_cache(256)
def _ramp(count: int, reverse: bool) -> _Placed:
    ramp = compute_ramp(count, MS_SLOPE)
    return _Placed(ramp[::-1].copy() if reverse else ramp)


class Blocks:
    """Cuts the input of a filter into overlapping blocks, and joins those of its result.

    Args:
        size: side of a block of the result.
        taken: side of the block of the input that it is made of.
        step: input pixels from one block to the next.
        first: where, relative to `step` times its number, a block of the input begins.
        border: how the input goes on beyond its border.
    """

    def __init__(self, size: int, taken: int, step: int, first: int, border: Border) -> None:
        self.size, self.taken, self.step, self.first = size, taken, step, first
        self.border: Border = border

    @property
    def sides(self) -> tuple[int, int, int]:
        """`size`, `taken` and `step`."""
        return self.size, self.taken, self.step

    def covering(self, window: Window) -> Window:
        """Returns all pixels of the blocks that a window of the result touches."""
        return window.covering(self.size).enlarged(self.size)

    def needed(self, window: Window) -> tuple[range, range]:
        """Returns the rows and columns of the input of all blocks that a window touches."""
        return self._needed(window.row, window.height), self._needed(window.col, window.width)

    def cut(self, field: LazyImage, window: Window) -> Tensor:
        """Cuts the input of a window of the result into blocks.

        Returns:
            (B, C, rows of blocks, columns of blocks, taken, taken), a view.
        """
        image = field.continued(*self.needed(window), self.border)
        return image.unfold(-2, self.taken, self.step).unfold(-2, self.taken, self.step)

    def join(self, blocks: Tensor, window: Window) -> Tensor:
        """Joins blocks of the result into a window.

        Shape: (B, C, rows, columns, size, size) -> (B, C, height, width).
        """
        b, c, rows, cols = blocks.shape[:4]
        image = blocks.transpose(3, 4).reshape(b, c, rows * self.size, cols * self.size)
        return window.relative_to(self.covering(window)).cut(image)

    def _needed(self, start: int, length: int) -> range:
        block, last = start // self.size, (start + length - 1) // self.size
        begin = block * self.step + self.first
        return range(begin, begin + (last - block) * self.step + self.taken)


class SeparableFilter:
    """A linear filter that is a sum of products of one along the rows and one along the columns.

    Result pixel `phases * k + p` of an axis is the sum over t of `kernel[p, t]` times the input
    pixel `stride * k + first + t`: `phases` enlarges, `stride` reduces.

    Args:
        vertical: (terms, phases, taps), down the rows.
        horizontal: (terms, phases, taps), along the columns.
        stride: input pixels per step.
        first: place of the first tap.
        border: how the input goes on beyond its border.
        steps: k of a block; larger ones multiply by more zeros, smaller ones are more calls.
    """

    def __init__(
        self,
        vertical: np.ndarray,
        horizontal: np.ndarray,
        stride: int,
        first: int,
        border: Border,
        steps: int = 16,
    ) -> None:
        terms, phases, taps = vertical.shape
        taken = stride * (steps - 1) + taps
        self.stride, self.phases, self.terms = stride, phases, terms
        self.blocks = Blocks(phases * steps, taken, stride * steps, first, border)
        down, along = np.zeros((2, terms, phases * steps, taken))
        for matrix, kernel in ((down, vertical), (along, horizontal)):
            for k in range(steps):
                matrix[:, phases * k : phases * (k + 1), stride * k : stride * k + taps] = kernel
        # One product with all terms side by side, then one that sums over them.
        self._along = _Placed(along.transpose(2, 0, 1).reshape(taken, -1))  # (taken, terms size)
        self._down = _Placed(down.transpose(1, 2, 0).reshape(phases * steps, -1))

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Returns the shape of the result for an input shape that is a multiple of `stride`."""
        return shape[0] // self.stride * self.phases, shape[1] // self.stride * self.phases

    def of(self, field: LazyImage) -> LazyImage:
        """Returns the filtered image, lazy."""
        return LazyImage(self.shape(field.shape), lambda window: self(field, window))

    def __call__(self, field: LazyImage, window: Window) -> Tensor:
        """Computes a window of the result, (B, C, height, width)."""
        blocks = self.blocks
        wide = window._replace(width=max(window.width, NARROW))
        image = field.continued(*blocks.needed(wide), blocks.border)
        # Half precision would cost 11-bit images their last bits.
        with without_autocast(image):
            image = self._product(image)
        return window.relative_to(blocks.covering(window)).cut(image)

    def _product(self, image: Tensor) -> Tensor:
        """Filters the input of whole blocks: (B, C, m, n) -> (B, C, H, W)."""
        b, c, m, _ = image.shape
        size, taken, step, terms = *self.blocks.sides, self.terms
        down, along = self._down.like(image), self._along.like(image)
        rows = image.unfold(-1, taken, step)  # (B, C, m, blocks, taken)
        across = rows.shape[3]
        rows = rows.reshape(-1, taken) @ along  # (B C m blocks, terms size)
        rows = rows.view(b * c, m, across, terms, size).transpose(2, 3)
        rows = rows.reshape(b * c, m * terms, across * size)
        # Blocks of rows overlap; each is a matrix as it lies in memory.
        cut = rows.unfold(1, taken * terms, step * terms).transpose(-1, -2)
        factor = down.expand(cut.shape[1], -1, -1)  # (blocks, size, taken terms)
        if rows.requires_grad:
            result = torch.stack([torch.bmm(factor, part) for part in cut])
        else:
            result = image.new_empty(b * c, len(factor), size, across * size)
            for part, place in zip(cut, result):
                torch.bmm(factor, part, out=place)
        return result.view(b, c, -1, across * size)


class FourierFilter:
    """Convolution with a large symmetric kernel by spectra of blocks; the border is replicated.

    Args:
        kernel: (taps, taps), taps odd, symmetric in both axes.
        size: side of a block of the result.
    """

    def __init__(self, kernel: np.ndarray, size: int = 256) -> None:
        reach = kernel.shape[-1] // 2
        self.reach = reach
        # Results that wrap around land in the margin that is cut off.
        taken = next_fast_len(size + 2 * reach, real=True)
        self.blocks = Blocks(size, taken, size, -reach, 'replicate')
        self._response = _Placed(np.fft.rfft2(kernel, s=(taken, taken)))

    def of(self, field: LazyImage) -> LazyImage:
        """Returns the filtered image, lazy."""
        return LazyImage(field.shape, lambda window: self(field, window))

    def __call__(self, field: LazyImage, window: Window) -> Tensor:
        """Computes a window of the result, (B, C, height, width)."""
        blocks = self.blocks.cut(field, window)
        with without_autocast(blocks):
            spectrum = torch.fft.rfft2(blocks)
            spectrum = spectrum * self._response.like(spectrum)
            result = torch.fft.irfft2(spectrum, s=(self.blocks.taken,) * 2)
        inside = slice(2 * self.reach, 2 * self.reach + self.blocks.size)
        return self.blocks.join(result[..., inside, inside], window)


class _Placed:
    """An array as a tensor of any dtype and device, made once for each."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self._tensors: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def like(self, tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        key = (dtype or tensor.dtype, tensor.device)
        if key not in self._tensors:
            with torch.inference_mode(False):  # what is kept may have to let gradients through
                made = torch.from_numpy(np.ascontiguousarray(self._array))
                self._tensors[key] = made.to(device=tensor.device, dtype=key[0])
        return self._tensors[key]
