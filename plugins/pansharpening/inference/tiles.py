"""Windows of a scene for tiled inference, and the shards of processes."""

from __future__ import annotations

import math
from typing import NamedTuple

from plugins.pansharpening.scenes.window import Window
from toolkit.errors import ToolkitError


class Shard(NamedTuple):
    """Share of a scene that a process computes: number `index` of `count`, from 1."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parses `i/n`, as on the command line.

        Raises:
            ToolkitError: it is not of this form, or i is not between 1 and n.
        """
        first, slash, second = text.partition('/')
        if not (slash and first.isdecimal() and second.isdecimal()):
            raise ToolkitError(f'a shard is i/n such as 2/8, found {text!r}')
        shard = cls(int(first), int(second))
        if not 1 <= shard.index <= shard.count:
            raise ToolkitError(f'a shard i/n has i between 1 and n, found {text}')
        return shard

    def __str__(self) -> str:
        return f'{self.index}/{self.count}'


ALL = Shard()


def tiles(shape: tuple[int, int], side: int, shard: Shard = ALL) -> list[Window]:
    """Lists the windows of a shard: whole rows of windows, so that its result is one file.

    Args:
        shape: height and width of the scene in PAN pixels.
        side: side of a window.
        shard: share of the windows.
    Raises:
        ToolkitError: more shards than rows of windows.
    """
    whole = Window.whole(shape)
    rows = whole.covering(side).height
    if shard.count > rows:
        raise ToolkitError(
            f'the scene has {rows} rows of windows of {side} pixels, which cannot be shared '
            f'by {shard.count}; use at most {rows} shards, or a smaller tile'
        )
    first, last = (rows * i // shard.count * side for i in (shard.index - 1, shard.index))
    return list(Window.between(first, 0, last, whole.right).intersect(whole).tiles(side))


def extent(windows: list[Window]) -> Window:
    """Returns the rectangle that windows of whole rows cover."""
    first, last = windows[0], windows[-1]
    return Window.between(first.row, first.col, last.bottom, last.right)


def around(core: Window, shape: tuple[int, int], halo: int, align: int, least: int) -> Window:
    """Returns a window with the pixels that its result depends on, cut at the scene's borders.

    Args:
        core: window of the result.
        shape: height and width of the scene.
        halo: radius of the receptive field in pixels, rounded up to a multiple of `align`.
        align: corners inside the scene are multiples of it.
        least: smallest side, as far as the scene allows: torch convolves small images by other
            algorithms than large ones, with other rounding.
    """
    halo = align * math.ceil(halo / align)
    spans = []
    for start, length, limit in (
        (core.row, core.height, shape[0]),
        (core.col, core.width, shape[1]),
    ):
        low, high = max(start - halo, 0), min(start + length + halo, limit)
        missing = least - (high - low)
        if missing > 0:
            low = max(low - align * math.ceil(missing / 2 / align), 0)
            high = min(max(high, low + least), limit)
            low = max(min(low, high - least), 0) // align * align
        spans.append((low, high - low))
    (row, height), (col, width) = spans
    return Window(row, col, height, width)
