"""Overlapping patches of a scene, cut out for a window and put together again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import EllipsisType

import torch
from einops import rearrange
from torch import Tensor

from plugins.pansharpening.scenes.window import Window


@dataclass(frozen=True)
class PatchGrid:
    """Positions of patches: from the upper left in equal steps, the last ones at the image's end.

    Sides and positions are in multispectral pixels. Images have their scale, 1, or that of the PAN,
    `ratio`, and cover `low_window` or `window`.

    Args:
        rows: first row of each row of patches.
        columns: first column of each column of patches.
        sides: height and width of a patch, at most those of the image.
        step: from one patch to the next.
        ratio: PAN pixels per multispectral pixel.
        first: number of rows and of columns of patches before these in the scene.
        across: columns of patches in the whole scene.
        count: patches in the whole scene.
    """

    rows: Sequence[int]
    columns: Sequence[int]
    sides: tuple[int, int]
    step: int
    ratio: int
    first: tuple[int, int]
    across: int
    count: int

    @classmethod
    def of_scene(cls, shape: tuple[int, int], ratio: int, patch: int, overlap: int) -> PatchGrid:
        """Makes the grid of a whole scene; `shape` in PAN pixels, multiples of the ratio."""
        units, step = [extent // ratio for extent in shape], patch - overlap
        rows, columns = (
            [min(i * step, max(n - patch, 0)) for i in range(max(-(-(n - overlap) // step), 1))]
            for n in units
        )
        sides = (min(patch, units[0]), min(patch, units[1]))
        count = len(rows) * len(columns)
        return cls(rows, columns, sides, step, ratio, (0, 0), len(columns), count)

    def overlapping(self, window: Window) -> PatchGrid:
        """Selects the patches that overlap a window of PAN pixels."""
        return self._select(
            *(
                [i for i, start in enumerate(starts) if start < end and start + side > begin]
                for starts, side, (begin, end) in zip(*self._list_starts(window))
            )
        )

    def starting_in(self, window: Window) -> PatchGrid | None:
        """Selects the patches with the upper left corner in a window of PAN pixels, or None."""
        rows, columns = (
            [i for i, start in enumerate(starts) if begin <= start < end]
            for starts, _, (begin, end) in zip(*self._list_starts(window))
        )
        return self._select(rows, columns) if rows and columns else None

    @property
    def low_window(self) -> Window:
        """Multispectral pixels that the patches cover."""
        height, width = (
            starts[-1] + side - starts[0]
            for starts, side in zip((self.rows, self.columns), self.sides)
        )
        return Window(self.rows[0], self.columns[0], height, width)

    @property
    def window(self) -> Window:
        """PAN pixels that the patches cover."""
        return Window(*(self.ratio * n for n in self.low_window))

    def spread_evenly(self, limit: int) -> list[tuple[int, int]]:
        """Selects those of the patches that belong to `limit` patches spread evenly over the scene.

        Returns:
            Their row and column in this grid.
        """
        kept = min(limit, self.count)
        found = []
        for i in range(len(self.rows)):
            for j in range(len(self.columns)):
                place = (self.first[0] + i) * self.across + self.first[1] + j
                if -(-place * kept // self.count) * self.count // kept == place:
                    found.append((i, j))
        return found

    def split_rows(self, size: int) -> Iterator[range]:
        """Splits the rows into groups of about `size` patches."""
        step = max(1, size // len(self.columns))
        for start in range(0, len(self.rows), step):
            yield range(start, min(start + step, len(self.rows)))

    def cut_patches(self, image: Tensor, places: list[tuple[int, int]], scale: int) -> Tensor:
        """Cuts the patches at places (row and column in this grid): (C, H, W) -> (n, C, pixels)."""
        height, width = (side * scale for side in self.sides)
        found = []
        for i, j in places:
            top = (self.rows[i] - self.rows[0]) * scale
            left = (self.columns[j] - self.columns[0]) * scale
            found.append(image[:, top : top + height, left : left + width].flatten(1))
        return torch.stack(found)

    def get_slices(self, i: int, j: int, window: Window) -> tuple[EllipsisType, slice, slice]:
        """Returns the slices of a patch in an image of a window of PAN pixels."""
        top = self.rows[i] * self.ratio - window.row
        left = self.columns[j] * self.ratio - window.col
        height, width = (side * self.ratio for side in self.sides)
        return (..., slice(top, top + height), slice(left, left + width))

    def cut_rows(self, image: Tensor, rows: range, scale: int) -> Tensor:
        """Cuts all patches of some rows: (C, H, W) -> (n, C, pixels)."""
        places = [(i, j) for i in rows for j in range(len(self.columns))]
        return self.cut_patches(image, places, scale)

    def add_patches(self, total: Tensor, rows: range, patches: Tensor) -> None:
        """Adds the patches of some rows to an image at the PAN's scale.

        The order of additions at a pixel does not depend on the first patch of the grid, so that
        all windows give the same bits.
        """
        regular = [j for j, start in enumerate(self.columns) if start % self.step == 0]
        height, width = (side * self.ratio for side in self.sides)
        for i, row in zip(rows, patches.split(len(self.columns))):
            row = rearrange(row, 'n c (h w) -> n c h w', h=height, w=width)
            strip = torch.zeros_like(total[:, :height])
            cells = strip.unflatten(2, (-1, self.ratio))
            parts = rearrange(
                row[: len(regular)], 'n c h (w ratio) -> c h n w ratio', ratio=self.ratio
            )
            for offset in range(self.sides[1] if regular else 0):
                end = offset + (len(regular) - 1) * self.step + 1
                cells[:, :, offset : end : self.step] += parts[:, :, :, offset]
            if len(regular) < len(row):  # the last one
                strip[:, :, strip.shape[2] - width :] += row[-1]
            top = (self.rows[i] - self.rows[0]) * self.ratio
            total[:, top : top + height] += strip

    def count_overlaps(self, like: Tensor) -> Tensor:
        """Counts the patches that cover each PAN pixel, (H, W)."""
        counts = []
        for starts, side in zip((self.rows, self.columns), self.sides):
            covered = like.new_zeros(starts[-1] + side - starts[0])
            for start in starts:
                covered[start - starts[0] : start - starts[0] + side] += 1
            counts.append(covered.repeat_interleave(self.ratio))
        return counts[0][:, None] * counts[1]

    def crop(self, image: Tensor, window: Window) -> Tensor:
        """Crops an image of the covered PAN pixels to a window."""
        row, col = window.row - self.window.row, window.col - self.window.col
        return image[..., row : row + window.height, col : col + window.width]

    def _list_starts(
        self, window: Window
    ) -> tuple[tuple[Sequence[int], ...], tuple[int, int], list[tuple[float, float]]]:
        ends = [
            (start / self.ratio, (start + length) / self.ratio)
            for start, length in ((window.row, window.height), (window.col, window.width))
        ]
        return (self.rows, self.columns), self.sides, ends

    def _select(self, rows: list[int], columns: list[int]) -> PatchGrid:
        return replace(
            self,
            rows=[self.rows[i] for i in rows],
            columns=[self.columns[j] for j in columns],
            first=(self.first[0] + rows[0], self.first[1] + columns[0]),
        )
