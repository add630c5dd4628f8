"""Tiled inference: a window has the same bits as in the result for the whole scene."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.resample import Method, upsampled
from plugins.pansharpening.imaging.two_pass_generator import (
    AREA,
    BLOCK,
    INNER,
    Look,
    TwoPassGenerator,
    move_statistics,
)
from plugins.pansharpening.inference.output.digital_numbers import DigitalFormat, DigitalNumbers
from plugins.pansharpening.inference.thread_pool import Workers
from plugins.pansharpening.inference.tiles import around
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError, ToolkitError

# PAN pixels up to which a network that looks at the whole image at once may be run.
LARGEST_WHOLE = 4096 * 4096
# Sides of windows, in PAN pixels: large enough to be read and written fast, small enough that a
# network's features of several of them fit into memory.
TILE_OF_METHOD, TILE_OF_NETWORK = AREA, 512
# Images of up to 20,480 values torch convolves by other algorithms, with other rounding.
LEAST_SIDE = 144


class Sharpener(Protocol):
    """Interface of the systems for tiled inference; `Pansharpener` implements it."""

    bands: int
    ratio: int
    generator: Any
    upsampling: Method

    def fuse(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        """Fuses images in [0, 1]."""
        ...


class SceneSource:
    """Lazy images of a scene; the pixels around one window are read once and kept.

    Args:
        scene: scene to read.
        window: window in PAN pixels, on the multispectral grid.
        margin: PAN pixels around the window that are read with it; others are read on demand.
        upsampling: interpolation of the multispectral image to the size of the PAN.
        device: device of the tensors.

    Attributes:
        lrms_up: upsampled multispectral image (1, C, H, W).
        pan: PAN (1, 1, H, W).
    """

    # Multispectral pixels: what interpolation looks at, and the rest of its blocks.
    MS_MARGIN = 32

    def __init__(
        self,
        scene: Scene,
        window: Window,
        margin: int,
        upsampling: Method,
        device: torch.device,
    ) -> None:
        ratio = scene.ratio

        def read_ms(part: Window) -> Tensor:
            return torch.from_numpy(scene.read_ms(part))[None].to(device)

        def read_pan(part: Window) -> Tensor:
            return torch.from_numpy(scene.read_pan(part))[None].to(device)

        reach = self.MS_MARGIN + -(-margin // ratio)
        ms = LazyImage(scene.ms_shape, read_ms).kept(window.covering(ratio), reach)
        fine = upsampled(ms, ratio, upsampling, 'extrapolate')
        self.lrms_up = LazyImage(fine.shape, fine.read, window)
        self.pan = LazyImage(scene.pan_shape, read_pan).kept(window, margin)


class TiledInference:
    """Sharpens a scene window by window.

    Args:
        system: system in evaluation mode, on `device`.
        scene: scene to sharpen.
        device: device to compute on.
        context: makes a context for each computation; autocast belongs to a thread.
        dtype: data type of the digital numbers; None for that of the MS.
    Raises:
        ToolkitError: an unknown data type.
        DataError: a network that needs the whole scene at once, and a scene too large for that.
    """

    def __init__(
        self,
        system: Sharpener,
        scene: Scene,
        device: torch.device,
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        dtype: str | None = None,
    ) -> None:
        self.system, self.scene, self.device, self.context = system, scene, device, context
        self.format = DigitalFormat(scene, dtype)
        generator = system.generator
        height, width = scene.pan_shape
        self.method = generator if isinstance(generator, TwoPassGenerator) else None
        self.statistics: Mapping[str, Tensor] | None = None
        self.stride = 1 if self.method else int(getattr(generator, 'stride', 1))
        if self.method is not None or generator.halo == 0:
            self.tile = TILE_OF_METHOD
        elif generator.halo == 'global':
            if height * width > LARGEST_WHOLE:
                raise DataError(
                    f'{scene.name} has {height} x {width} PAN pixels, and '
                    f'{type(generator).__name__} looks at a whole image at once, for which '
                    f'{LARGEST_WHOLE:,} pixels are the limit; crop the scene, or use another method'
                )
            self.tile = max(height, width)
        else:
            self.tile = TILE_OF_NETWORK

    def choose_side(self, tile: int | None) -> int:
        """Chooses the side of the windows in PAN pixels.

        Args:
            tile: the wanted side, rounded up to one that the system can process; None for a side
                that suits it.
        Raises:
            ToolkitError: a side that is not positive.
        """
        if tile is not None and tile < 1:
            raise ToolkitError(f'tile must be at least 1, found {tile}')
        align = math.lcm(self.scene.ratio, self.stride)
        return align * math.ceil((tile or self.tile) / align)

    def measure(self, workers: Workers, advance: Callable[[int], None]) -> None:
        """Collects the statistics of the whole scene, if the method needs them.

        Args:
            workers: threads to compute with.
            advance: called with numbers of PAN pixels that are done.
        """
        if self.method is None or self.statistics is not None:
            return
        with torch.inference_mode(), self.context():
            found = self.method.statistics(lambda look: self._scan(look, workers, advance, True))
            if not bool((found.pop('count') > 0).all()):
                # All that is valid lies near what is not.
                found = self.method.statistics(
                    lambda look: self._scan(look, workers, advance, False)
                )
                found.pop('count')
        self.statistics = found

    def window(self, core: Window) -> DigitalNumbers:
        """Sharpens a window.

        Raises:
            RunError: the network gives values that are not finite.
            DataError: the scene cannot be read.
        """
        scene = self.scene
        valid = scene.read_mask(core)
        if valid is not None and not valid.any():
            return DigitalNumbers(self.format.empty(scene.bands, core.shape), valid, 0)
        with torch.inference_mode(), self.context():
            sharpen = self._two_pass(core) if self.method else self._one_pass(core)
            values, clipped = self._pieces(core, valid, *sharpen)
        return DigitalNumbers(values, valid, clipped)

    # -- inside --------------------------------------------------------------------------------

    def _two_pass(self, core: Window) -> tuple[Callable[[Window], Tensor], int]:
        """Returns a function that sharpens a piece of a window, and the side of the pieces."""
        assert self.method is not None and self.statistics is not None
        source = self._source(core, self.method.margin)
        statistics = move_statistics(
            self.statistics, torch.empty(0, device=self.device), torch.float32
        )
        method = self.method
        return (
            lambda piece: method.window(source.lrms_up, source.pan, piece, statistics)
        ), math.lcm(BLOCK, self.scene.ratio)

    def _one_pass(self, core: Window) -> tuple[Callable[[Window], Tensor], int]:
        """Does the same as `_two_pass` for a network."""
        shape, halo = self.scene.pan_shape, self.system.generator.halo
        if halo == 0:
            source = self._source(core, 0)
            return (
                lambda piece: self.system.fuse(source.lrms_up.read(piece), source.pan.read(piece))
            ), math.lcm(BLOCK, self.scene.ratio)
        window = Window.whole(shape)
        if halo != 'global':
            align = math.lcm(self.scene.ratio, self.stride)
            window = around(core, shape, int(halo), align, LEAST_SIDE)
        source = self._source(window, 0)
        hrms = self.system.fuse(source.lrms_up.read(window), source.pan.read(window))
        return lambda piece: piece.relative_to(window).cut(hrms), max(core.shape)

    def _pieces(
        self,
        core: Window,
        valid: np.ndarray | None,
        sharpen: Callable[[Window], Tensor],
        side: int,
    ) -> tuple[np.ndarray, int]:
        """Sharpens a window in pieces that stay in the cache from one operation to the next.

        Returns:
            The digital numbers, and how many of them the data type cannot hold.
        """
        result = np.empty((self.scene.bands, *core.shape), self.format.dtype)
        clipped = 0
        for piece in core.tiles(side):
            inside = None if valid is None else piece.relative_to(core).cut(valid)
            values = piece.relative_to(core).cut(result)
            clipped += self.format.convert(sharpen(piece)[0], values, inside, piece)
        return result, clipped

    def _source(self, window: Window, margin: int) -> SceneSource:
        return SceneSource(self.scene, window, margin, self.system.upsampling, self.device)

    def _scan(
        self, look: Look, workers: Workers, advance: Callable[[int], None], inner: bool
    ) -> Iterable[Any]:
        """Applies `look` to all blocks, several of which are read together; results in order."""
        scene = self.scene
        assert self.method is not None
        margin = self.method.margin
        areas = Window.whole(scene.pan_shape).tiles(math.lcm(AREA, scene.ratio))

        def work(area: Window) -> list[Any]:
            with torch.inference_mode(), self.context():
                source = self._source(area, margin)
                valid = self._valid(area, INNER * scene.ratio if inner else 0)
                return [
                    look(
                        source.lrms_up,
                        source.pan,
                        block,
                        None if valid is None else block.relative_to(area).cut(valid),
                    )
                    for block in area.tiles(math.lcm(BLOCK, scene.ratio))
                ]

        for area, results in workers.map(lambda area: (area, work(area)), areas):
            advance(area.pixels)
            yield from results

    def _valid(self, area: Window, margin: int) -> Tensor | None:
        """Finds pixels (1, 1, H, W) with data, farther than `margin` from pixels without."""
        scene = self.scene
        wide = area.expand(margin, scene.pan_shape)
        mask = scene.read_mask(wide)
        if mask is None:
            return None
        valid = torch.from_numpy(mask)[None, None].to(self.device)
        if margin and not bool(valid.all()):
            missing = (~valid).float()
            for size in ((2 * margin + 1, 1), (1, 2 * margin + 1)):
                padding = (size[0] // 2, size[1] // 2)
                missing = torch.nn.functional.max_pool2d(missing, size, 1, padding)
            valid = missing == 0
        return area.relative_to(wide).cut(valid)
