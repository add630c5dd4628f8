"""Overlapping patches of a scene: cut out where a window needs them, and put together again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import EllipsisType

import torch
from torch import Tensor

from plugins.pansharpening.scenes.window import Window


@dataclass(frozen=True)
class Grid:
    """Where patches lie: from the upper left in equal steps, the last ones where the image ends.

    Sides and places are in multispectral pixels; images are at their scale, 1, or at that of the
    PAN, `ratio`, and hold the part that `low_window` or `window` says.

    Args:
        rows: where the patches begin.
        columns: where the patches begin.
        sides: height and width of each; that of the image where it is smaller.
        step: from one to the next.
        ratio: PAN pixels per multispectral pixel.
        first: how many rows and columns of patches come before these.
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
    def of(cls, shape: tuple[int, int], ratio: int, patch: int, overlap: int) -> Grid:
        """That of a whole scene of so many PAN pixels, multiples of the ratio."""
        units, step = [extent // ratio for extent in shape], patch - overlap
        rows, columns = (
            [min(i * step, max(n - patch, 0)) for i in range(max(-(-(n - overlap) // step), 1))]
            for n in units
        )
        sides = (min(patch, units[0]), min(patch, units[1]))
        count = len(rows) * len(columns)
        return cls(rows, columns, sides, step, ratio, (0, 0), len(columns), count)

    def touching(self, window: Window) -> Grid:
        """The patches that cover some of a window of PAN pixels."""
        return self._chosen(
            *(
                [i for i, start in enumerate(starts) if start < end and start + side > begin]
                for starts, side, (begin, end) in zip(*self._places(window))
            )
        )

    def starting_in(self, window: Window) -> Grid | None:
        """The patches whose upper left corner is in a window of PAN pixels; None if none is."""
        rows, columns = (
            [i for i, start in enumerate(starts) if begin <= start < end]
            for starts, _, (begin, end) in zip(*self._places(window))
        )
        return self._chosen(rows, columns) if rows and columns else None

    @property
    def low_window(self) -> Window:
        """The multispectral pixels that the patches cover."""
        height, width = (
            starts[-1] + side - starts[0]
            for starts, side in zip((self.rows, self.columns), self.sides)
        )
        return Window(self.rows[0], self.columns[0], height, width)

    @property
    def window(self) -> Window:
        """The PAN pixels that the patches cover."""
        return Window(*(self.ratio * n for n in self.low_window))

    def evenly(self, limit: int) -> list[tuple[int, int]]:
        """Which of these, by row and column, are among `limit` spread evenly over the scene."""
        kept = min(limit, self.count)
        found = []
        for i in range(len(self.rows)):
            for j in range(len(self.columns)):
                place = (self.first[0] + i) * self.across + self.first[1] + j
                if -(-place * kept // self.count) * self.count // kept == place:
                    found.append((i, j))
        return found

    def row_groups(self, size: int) -> Iterator[range]:
        """All rows, so many at a time that they have about `size` patches."""
        step = max(1, size // len(self.columns))
        for start in range(0, len(self.rows), step):
            yield range(start, min(start + step, len(self.rows)))

    def patches(self, image: Tensor, places: list[tuple[int, int]], scale: int) -> Tensor:
        """Some, (C, H, W) -> (n, C, pixels)."""
        height, width = (side * scale for side in self.sides)
        found = []
        for i, j in places:
            top = (self.rows[i] - self.rows[0]) * scale
            left = (self.columns[j] - self.columns[0]) * scale
            found.append(image[:, top : top + height, left : left + width].flatten(1))
        return torch.stack(found)

    def inside(self, i: int, j: int, window: Window) -> tuple[EllipsisType, slice, slice]:
        """Where in an image of a window of PAN pixels, that begins before it, a patch lies."""
        top = self.rows[i] * self.ratio - window.row
        left = self.columns[j] * self.ratio - window.col
        height, width = (side * self.ratio for side in self.sides)
        return (..., slice(top, top + height), slice(left, left + width))

    def patches_of(self, image: Tensor, rows: range, scale: int) -> Tensor:
        """All of some rows, (C, H, W) -> (n, C, pixels)."""
        places = [(i, j) for i in rows for j in range(len(self.columns))]
        return self.patches(image, places, scale)

    def add(self, total: Tensor, rows: range, patches: Tensor) -> None:
        """Add the patches of some rows where they lie, at PAN's scale.

        In the same order at a pixel wherever the grid begins, so that windows give the same bits.
        """
        regular = [j for j, start in enumerate(self.columns) if start % self.step == 0]
        height, width = (side * self.ratio for side in self.sides)
        for i, row in zip(rows, patches.split(len(self.columns))):
            row = row.view(len(row), -1, height, width)  # (n, C, H', W')
            strip = torch.zeros_like(total[:, :height])
            cells = strip.unflatten(2, (-1, self.ratio))
            parts = row[: len(regular)].unflatten(3, (-1, self.ratio)).permute(1, 2, 0, 3, 4)
            for offset in range(self.sides[1] if regular else 0):
                end = offset + (len(regular) - 1) * self.step + 1
                cells[:, :, offset : end : self.step] += parts[:, :, :, offset]
            if len(regular) < len(row):  # the last one
                strip[:, :, strip.shape[2] - width :] += row[-1]
            top = (self.rows[i] - self.rows[0]) * self.ratio
            total[:, top : top + height] += strip

    def counts(self, like: Tensor) -> Tensor:
        """How many of these patches cover each PAN pixel of theirs, (H, W)."""
        counts = []
        for starts, side in zip((self.rows, self.columns), self.sides):
            covered = like.new_zeros(starts[-1] + side - starts[0])
            for start in starts:
                covered[start - starts[0] : start - starts[0] + side] += 1
            counts.append(covered.repeat_interleave(self.ratio))
        return counts[0][:, None] * counts[1]

    def cut(self, image: Tensor, window: Window) -> Tensor:
        """A window of PAN pixels out of the part that the patches cover."""
        row, col = window.row - self.window.row, window.col - self.window.col
        return image[..., row : row + window.height, col : col + window.width]

    def _places(
        self, window: Window
    ) -> tuple[tuple[Sequence[int], ...], tuple[int, int], list[tuple[float, float]]]:
        ends = [
            (start / self.ratio, (start + length) / self.ratio)
            for start, length in ((window.row, window.height), (window.col, window.width))
        ]
        return (self.rows, self.columns), self.sides, ends

    def _chosen(self, rows: list[int], columns: list[int]) -> Grid:
        return replace(
            self,
            rows=[self.rows[i] for i in rows],
            columns=[self.columns[j] for j in columns],
            first=(self.first[0] + rows[0], self.first[1] + columns[0]),
        )
