"""Two-pass generators: collect statistics of a whole scene by blocks, then fuse it by windows."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.imaging.autocast import without_autocast
from plugins.pansharpening.imaging.lazy_image import Border, LazyImage
from plugins.pansharpening.imaging.masks import shrink
from plugins.pansharpening.imaging.streaming_statistics import (
    Counter,
    Images,
    Moments,
    Percentile,
    lower_bits,
    upper_bits,
)
from plugins.pansharpening.interfaces import Generator
from plugins.pansharpening.scenes.window import Window

# Side in PAN pixels of the blocks that a scene is measured in. Smaller ones suit a smaller cache,
# but threads then wait for each other's turn in Python between many short operations.
BLOCK = 512
# Side of the areas that are read at a time; multiples of both with a ratio are too.
AREA = 1024
# MS pixels: pixels so near others without data count in no statistics, where some are farther.
INNER = 2
# Function of a block: lrms_up, pan, window, valid pixels (None: all).
Look = Callable[[LazyImage, LazyImage, Window, 'Tensor | None'], Any]
# Applies it to all blocks of a scene; gives the results in the order of `blocks`.
Scan = Callable[[Look], Iterable[Any]]


class TwoPassGenerator(Generator):
    """A method that collects statistics of a whole scene, then fuses it window by window.

    `measure` returns images of a block, whose moments over the whole scene are collected; `solve`
    computes statistics from the moments; `fuse` computes a window from the statistics and the
    images around the window. Blocks lie at fixed positions and filters are those of `lazy_image`,
    so that any window has the bits of the whole. `forward` does the same to images in memory; to
    autograd statistics are constants, and gradients reach the inputs through `fuse` alone.

    Statistics are float64, images are computed in their own dtype, from float32 up. Where the PAN
    is constant over a scene there is no detail to inject, and the result is the upsampled image.

    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W). Heights and widths that are no
        multiple of the ratio are continued by their last row and column and cut again.
    Raises:
        ValueError: bands or ratio below 1.

    Attributes:
        percentile: percentile of the bands of `lrms_up` for `solve`; None for none.
        border: how images in memory are interpolated beyond their border: 'wrap' as in the toolbox,
            whose figures depend on it, or 'replicate'. With 'wrap' methods divide as the toolbox
            does too, else damped near zero. Injected by the system.
        margin: PAN pixels around a window that its computation reads, without interpolation;
            pixels beyond are read too, but more slowly.
    """

    halo: Literal['global'] = 'global'
    unit_range: ClassVar[bool] = True
    percentile: float | None = None
    border: Border = 'replicate'
    margin: int = 0

    def __init__(self, bands: int, ratio: int) -> None:
        super().__init__()
        if bands < 1 or ratio < 1:
            raise ValueError(f'bands and ratio must be at least 1, found {bands} and {ratio}')
        self.bands = bands
        self.ratio = ratio

    @abstractmethod
    def measure(self, lrms_up: LazyImage, pan: LazyImage, window: Window) -> Mapping[str, Images]:
        """Computes the images of a block whose means and co-moments over the scene are collected.

        They are (B, K, h, w) by name, or several of them in the place of one, all at the scale of
        the PAN or all `ratio` times coarser.

        Args:
            lrms_up: (B, C, H, W), the whole.
            pan: (B, 1, H, W), the whole.
            window: block, in PAN pixels.
        """

    @abstractmethod
    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        """Computes the statistics for `fuse` from the moments of the whole scene.

        Args:
            moments: of the images of `measure`.
            percentile: (B, C) of the bands, where `percentile` asks for one.
        Returns:
            float64 tensors by name, small, their first axis B.
        """

    @abstractmethod
    def fuse(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        """Computes a window of the result, (B, C, height, width).

        Args:
            lrms_up: (B, C, H, W), the whole.
            pan: (B, 1, H, W), the whole.
            window: of PAN pixels.
            statistics: in the dtype and on the device of the images.
        """

    # -- for callers ---------------------------------------------------------------------------

    def statistics(self, scan: Scan) -> dict[str, Tensor]:
        """Collects the moments of all blocks of a scene and solves for the statistics.

        The result also has `flat`, which tells whether the PAN is constant, and `count`, the number
        of pixels that counted.
        """
        upper = None if self.percentile is None else Counter()

        def look(
            e: LazyImage, p: LazyImage, window: Window, valid: Tensor | None
        ) -> tuple[Tensor, dict[str, Moments]]:
            if upper is not None:
                upper.add(upper_bits(e.read(window), valid))
            return _extremes(p.read(window), valid), {
                name: Moments.of(images, _valid_at(valid, window, images))
                for name, images in self.measure(e, p, window).items()
            }

        extremes, found = zip(*scan(look), strict=True)
        low, high, count = torch.stack(extremes).unbind(1)  # (blocks, B) each
        moments = {name: Moments.join([part[name] for part in found]) for name in found[0]}
        value = None
        if upper is not None:
            batch = low.shape[1]
            counts = upper.total().view(batch, self.bands, -1)
            percentile, lower = Percentile(float(self.percentile or 0), counts), Counter()
            for _ in scan(lambda e, _, w, v: lower.add(lower_bits(e.read(w), percentile.upper, v))):
                pass
            value = percentile.value(lower.total().view(batch, self.bands, 2, -1))
        flat = low.amin(0) >= high.amax(0)  # (B,)
        return {
            'flat': flat[:, None, None, None],
            'count': count.sum(0)[:, None],
            **self.solve(moments, value),
        }

    def window(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        """Computes a window by `fuse`, or the upsampled image if the PAN is constant.

        Statistics are those of `move_statistics`.
        """
        fused = self.fuse(lrms_up, pan, window, statistics)
        flat = statistics['flat']
        if not (flat.is_meta or torch.compiler.is_exporting() or flat.any()):
            return fused
        return torch.where(flat, lrms_up.read(window), fused)

    def forward(self, lrms_up: Tensor, pan: Tensor, valid: Tensor | None = None) -> Tensor:
        """Fuses images in memory.

        Args:
            lrms_up: (B, C, H, W).
            pan: (B, 1, H, W).
            valid: (B, 1, H, W) bool, pixels that count in the statistics; None for all.
        """
        height, width = lrms_up.shape[-2:]
        dtype = lrms_up.dtype
        odd = (0, -width % self.ratio, 0, -height % self.ratio)
        if any(odd):
            lrms_up, pan = (F.pad(image, odd, mode='replicate') for image in (lrms_up, pan))
            if valid is not None:
                valid = F.pad(valid.float(), odd, mode='replicate') > 0
        with without_autocast(pan):
            wide = torch.promote_types(dtype, torch.float32)
            e, p = (LazyImage.of(image.to(wide), self.border) for image in (lrms_up, pan))
            with torch.no_grad():
                statistics = move_statistics(
                    self.statistics(in_memory(e, p, self.ratio, valid)), lrms_up, wide
                )
            result = self.window(e, p, e.whole, statistics)
        return result[..., :height, :width].to(dtype)


def move_statistics(
    statistics: Mapping[str, Tensor], like: Tensor, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Moves statistics to the device of a tensor and converts numbers to `dtype`."""
    return {
        name: value.to(like.device, value.dtype if value.dtype == torch.bool else dtype)
        for name, value in statistics.items()
    }


def blocks(shape: tuple[int, int], ratio: int) -> Iterator[Window]:
    """Yields the blocks of a scene in PAN pixels, area by area, row by row in each area."""
    for area in Window.whole(shape).tiles(math.lcm(AREA, ratio)):
        yield from area.tiles(math.lcm(BLOCK, ratio))


def in_memory(lrms_up: LazyImage, pan: LazyImage, ratio: int, valid: Tensor | None = None) -> Scan:
    """Returns a scan over images in memory, of the pixels that are `valid` and not near others."""
    if valid is not None and not bool(valid.all()):
        inner = shrink(valid, INNER * ratio)
        assert inner is not None
        valid = torch.where(inner.any((1, 2, 3), keepdim=True), inner, valid)
    else:
        valid = None
    return lambda look: (
        look(lrms_up, pan, window, None if valid is None else window.cut(valid))
        for window in blocks(pan.shape, ratio)
    )


def _extremes(pan: Tensor, valid: Tensor | None) -> Tensor:
    """Finds the least and the largest value of a block, and how many pixels count: (3, B)."""
    lows = highs = pan
    count = pan.new_full((len(pan),), pan[0].numel(), dtype=torch.float64)
    if valid is not None:
        lows, highs = (torch.where(valid, pan, end) for end in (math.inf, -math.inf))
        count = valid.sum((1, 2, 3)).double()
    return torch.stack([lows.amin((1, 2, 3)).double(), highs.amax((1, 2, 3)).double(), count])


def _valid_at(valid: Tensor | None, window: Window, images: Images) -> Tensor | None:
    """Converts the mask of a block to the scale of images; coarse pixels need all fine ones."""
    image = images if isinstance(images, Tensor) else images[0]
    if valid is None or valid.shape[-2:] == image.shape[-2:]:
        return valid
    ratio = window.height // image.shape[-2]
    return valid.unflatten(-2, (-1, ratio)).unflatten(-1, (-1, ratio)).all(-1).all(-2)
