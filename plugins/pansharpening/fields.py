"""Fields: images that are computed where they are looked at, and filters in blocks at fixed places.

A filter cuts its result into blocks that begin at multiples of their size, and computes each block
whole, by the same operations on the same numbers. So a window of any size at any place holds the
same bits as the whole image, and a scene too large for memory is filtered window by window.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Literal

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from plugins.pansharpening.precision import without_autocast
from plugins.pansharpening.scene import Window

# How an image goes on beyond its border: by its opposite side, by its outermost pixels, or mirrored
# with the outermost pixels twice.
Border = Literal['wrap', 'replicate', 'mirror']


class Field:
    """An image of which any window can be had.

    Args:
        shape: H and W.
        read: window inside the image -> (B, C, height, width).
        area: the window that is worked on; the whole where None.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        read: Callable[[Window], Tensor],
        area: Window | None = None,
    ) -> None:
        self.shape = shape
        self.read = read
        self.area = area or self.whole
        self._derived: dict[Hashable, Field] = {}

    def derived(self, name: Hashable, make: Callable[[Field], Field]) -> Field:
        """A field made of this one, the same each time: what it keeps is not computed again."""
        if name not in self._derived:
            self._derived[name] = make(self)
        return self._derived[name]

    def kept(self, window: Window, margin: int) -> Field:
        """The field with a window and what lies around it read now, and only once."""
        image, inside = self.around(window, margin)
        top, left = window.row - inside[0].start, window.col - inside[1].start
        height, width = image.shape[-2:]

        def read(part: Window) -> Tensor:
            row, col = part.row - top, part.col - left
            if row < 0 or col < 0 or row + part.height > height or col + part.width > width:
                return self.read(part)
            return image[..., row : row + part.height, col : col + part.width]

        return Field(self.shape, read, window)

    @classmethod
    def of(cls, image: Tensor) -> Field:
        """An image (B, C, H, W) that is there."""
        return cls((image.shape[-2], image.shape[-1]), lambda window: image[(..., *window.slices)])

    @property
    def whole(self) -> Window:
        """The window that is all of it."""
        return Window(0, 0, *self.shape)

    def continued(self, rows: range, cols: range, border: Border) -> Tensor:
        """Pixels at places that may lie outside, (B, C, len(rows), len(cols))."""
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
                image = image.index_select(dim, torch.from_numpy(index).to(image.device))
        return image

    def around(self, window: Window, margin: int) -> tuple[Tensor, tuple[slice, slice]]:
        """A window with `margin` pixels on each side as far as there are any, and where in that
        the window lies: for filters that continue an image beyond its border by themselves."""
        top, left = max(window.row - margin, 0), max(window.col - margin, 0)
        bottom = min(window.row + window.height + margin, self.shape[0])
        right = min(window.col + window.width + margin, self.shape[1])
        inside = window._replace(row=window.row - top, col=window.col - left)
        return self.read(Window(top, left, bottom - top, right - left)), inside.slices


def _runs(places: range, extent: int, border: Border) -> tuple[list[range], np.ndarray | None]:
    """The runs of neighbouring places of an axis that are needed, and the index into them joined;
    None where that index would change nothing."""
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
    return [range(part[0], part[-1] + 1) for part in parts], np.searchsorted(unique, index)


class Blocks:
    """Cutting the input of a filter into overlapping blocks, and joining those of its result.

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

    def cut(self, field: Field, window: Window) -> Tensor:
        """The input of all blocks that a window of the result touches.

        Returns:
            (B, C, rows of blocks, columns of blocks, taken, taken), a view.
        """
        rows, cols = (
            self._needed(start, length)
            for start, length in ((window.row, window.height), (window.col, window.width))
        )
        image = field.continued(rows, cols, self.border)
        return image.unfold(-2, self.taken, self.step).unfold(-2, self.taken, self.step)

    def join(self, blocks: Tensor, window: Window) -> Tensor:
        """(B, C, rows, columns, size, size) -> (B, C, height, width) of the window."""
        b, c, rows, cols = blocks.shape[:4]
        image = blocks.transpose(3, 4).reshape(b, c, rows * self.size, cols * self.size)
        row, col = window.row % self.size, window.col % self.size
        return image[..., row : row + window.height, col : col + window.width]

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
        self.stride, self.phases = stride, phases
        self.blocks = Blocks(phases * steps, taken, stride * steps, first, border)
        down, along = np.zeros((2, terms, phases * steps, taken))
        for matrix, kernel in ((down, vertical), (along, horizontal)):
            for k in range(steps):
                matrix[:, phases * k : phases * (k + 1), stride * k : stride * k + taps] = kernel
        # One product with all terms side by side, then one that sums over them.
        self._along = along.transpose(2, 0, 1).reshape(taken, -1)  # (taken, terms size)
        self._down = down.transpose(1, 2, 0).reshape(phases * steps, -1)  # (size, taken terms)
        self._cache: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Of the result for an input of a shape that is a multiple of `stride`."""
        return shape[0] // self.stride * self.phases, shape[1] // self.stride * self.phases

    def of(self, field: Field) -> Field:
        """The filtered field."""
        return Field(self.shape(field.shape), lambda window: self(field, window))

    def __call__(self, field: Field, window: Window) -> Tensor:
        """A window of the result, (B, C, height, width)."""
        return self.blocks.join(self.product(self.blocks.cut(field, window)), window)

    def product(self, blocks: Tensor) -> Tensor:
        """Blocks of the input -> blocks of the result; (..., taken, taken) -> (..., size, size)."""
        size, taken = self.blocks.size, self.blocks.taken
        down, along = self._matrices(blocks)
        # Half precision would cost 11-bit images their last bits.
        with without_autocast(blocks):
            rows = blocks.reshape(-1, taken) @ along  # (N taken, terms size)
            rows = rows.view(-1, down.shape[1], size)  # (N, taken terms, size)
            result = torch.bmm(down.expand(len(rows), -1, -1), rows)  # (N, size, size)
        return result.view(*blocks.shape[:-2], size, size)

    def _matrices(self, like: Tensor) -> tuple[Tensor, Tensor]:
        key = (like.dtype, like.device)
        found = self._cache.get(key)
        if found is None:
            with torch.inference_mode(False):  # what is kept may have to let gradients through
                down, along = (torch.from_numpy(m) for m in (self._down, self._along))
                found = self._cache[key] = (down.to(*key[::-1]), along.to(*key[::-1]))
        return found


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
        self._response = np.fft.rfft2(kernel, s=(taken, taken))

    def of(self, field: Field) -> Field:
        """The filtered field."""
        return Field(field.shape, lambda window: self(field, window))

    def __call__(self, field: Field, window: Window) -> Tensor:
        """A window of the result, (B, C, height, width)."""
        blocks = self.blocks.cut(field, window)
        with without_autocast(blocks):
            spectrum = torch.fft.rfft2(blocks)
            spectrum = spectrum * torch.from_numpy(self._response).to(spectrum)
            result = torch.fft.irfft2(spectrum, s=(self.blocks.taken,) * 2)
        inside = slice(2 * self.reach, 2 * self.reach + self.blocks.size)
        return self.blocks.join(result[..., inside, inside], window)
