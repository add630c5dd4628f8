"""A scene reduced by Wald's protocol, whose own multispectral image is then the reference."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from plugins.pansharpening.data.whole_scenes import reduce, reduce_mask, trim_to_reducible
from plugins.pansharpening.imaging.mtf import KERNEL_SIZE
from plugins.pansharpening.scenes.scene import SCENES, Scene
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.scenes.with_reference import SceneWithReference

# Side of the blocks that are reduced at a time, in pixels of the reduced MS.
BLOCK = 64
# What a scene keeps of them: all of it, up to some 12,000 x 12,000 PAN pixels of 8 bands.
KEPT_BYTES = 64 << 20


@SCENES.register
class ReducedScene(SceneWithReference):
    """Scene reduced by its ratio with Wald's protocol, for supervised training.

    The MS through the sensor's MTF and decimated becomes the MS, the PAN brought down by bicubic
    resizing the PAN, the MS itself the reference. Trimmed to multiples of ratio^2 PAN pixels.
    Reduced in blocks at fixed places, as windows of them are read.

    Args:
        scene: which.
    Raises:
        ValueError: the scene is too small to be reduced.
    Source: Wald, Ranchin and Mangolini, PE&RS 63(6), 1997.
    """

    reference_is_ms = True

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.name = f'{scene.name}_reduced'
        self._window = trim_to_reducible(scene, Window.whole(scene.pan_shape))
        self._blocks: dict[tuple[int, int], _Block] = {}
        self._bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_blocks': {}, '_bytes': 0}  # loaders' processes make their own

    @property
    def ms_shape(self) -> tuple[int, int]:
        return (
            self._window.height // self.ratio**2,
            self._window.width // self.ratio**2,
        )

    @property
    def pan_shape(self) -> tuple[int, int]:
        return self._window.height // self.ratio, self._window.width // self.ratio

    def read_ms(self, window: Window | None = None) -> np.ndarray:
        return self._read('lrms', window or Window.whole(self.ms_shape), 1)

    def read_pan(self, window: Window | None = None) -> np.ndarray:
        return self._read('pan', window or Window.whole(self.pan_shape), self.ratio)

    def read_reference(self, window: Window) -> np.ndarray:
        return self.original.read_ms(window)

    def read_mask(self, window: Window | None = None) -> np.ndarray | None:
        """True where no pixel without data had a part in the reduced one."""
        first = Window(0, 0, self.ratio, self.ratio)
        if self.original.read_mask(first) is None:
            return None
        return self._read('mask', window or Window.whole(self.pan_shape), self.ratio)[0]

    def fingerprint(self) -> str:
        return self.original.fingerprint()

    def _read(self, name: str, window: Window, scale: int) -> np.ndarray:
        """An image in a window, put together from blocks of BLOCK * scale of its pixels."""
        side = BLOCK * scale
        result: np.ndarray | None = None
        for block in window.blocks(side):
            image = getattr(self._block(block.row // side, block.col // side), name)
            if result is None:
                result = np.empty((len(image), *window.shape), image.dtype)
            window.paste(result, image, block)
        assert result is not None
        return result

    def _block(self, top: int, left: int) -> _Block:
        block = self._blocks.get((top, left))
        if block is None:
            block = self._reduce(top, left)
            size = sum(image.nbytes for image in block if image is not None)
            if self._bytes + size > KEPT_BYTES:
                self._blocks.clear()
                self._bytes = 0
            self._blocks[top, left] = block
            self._bytes += size
        return block

    def _reduce(self, top: int, left: int) -> _Block:
        """Reduces one block, from its pixels and those within the reach of the MTF filter."""
        ratio = self.ratio
        reach = -(-(KERNEL_SIZE // 2) // ratio)  # in pixels of the reduced MS
        block = Window(top, left, 1, 1).enlarged(BLOCK).intersect(Window.whole(self.ms_shape))
        wide = block.expand(reach, self.ms_shape)
        around = wide.enlarged(ratio)  # in MS pixels
        fine = around.enlarged(ratio)
        ms, pan = (
            torch.from_numpy(image)
            for image in (self.original.read_ms(around), self.original.read_pan(fine))
        )
        valid = self.original.read_mask(fine)
        images = {name: image.numpy() for name, image in reduce(ms, pan, self.original).items()}
        inside = block.relative_to(wide)
        place = (slice(None), *inside.enlarged(ratio).slices)
        mask = None
        if valid is not None:
            mask = reduce_mask(torch.from_numpy(valid)[None], ratio).numpy()[place].copy()
        return _Block(
            images['lrms'][(slice(None), *inside.slices)].copy(), images['pan'][place].copy(), mask
        )


class _Block(NamedTuple):
    """Images of a block at their own scales, (C, h, w), (1, H, W) and (1, H, W) bool."""

    lrms: np.ndarray
    pan: np.ndarray
    mask: np.ndarray | None
