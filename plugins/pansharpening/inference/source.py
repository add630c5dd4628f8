"""A scene as fields that are read as they are looked at."""

from __future__ import annotations

import torch
from torch import Tensor

from plugins.pansharpening.imaging.lazy_image import Field
from plugins.pansharpening.imaging.resample import Method, upsampled
from plugins.pansharpening.scenes.scene import Scene, Window


class Source:
    """What a part of a scene shows: its images around a window are read once and kept.

    Args:
        scene: to read from.
        window: of PAN pixels that is worked on; on the multispectral grid.
        margin: PAN pixels around it that are read with it. What is asked for beyond is read then.
        upsampling: how the multispectral image is brought to the PAN's size.
        device: of the tensors.

    Attributes:
        lrms_up: field (1, C, H, W).
        pan: field (1, 1, H, W).
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
        top, left = window.row // ratio, window.col // ratio
        bottom, right = (
            -(-(start + length) // ratio)
            for start, length in ((window.row, window.height), (window.col, window.width))
        )
        coarse = Window(top, left, bottom - top, right - left)

        def read_ms(part: Window) -> Tensor:
            return torch.from_numpy(scene.read_ms(part))[None].to(device)

        def read_pan(part: Window) -> Tensor:
            return torch.from_numpy(scene.read_pan(part))[None].to(device)

        reach = self.MS_MARGIN + -(-margin // ratio)
        ms = Field(scene.ms_shape, read_ms).kept(coarse, reach)
        fine = upsampled(ms, ratio, upsampling)
        self.lrms_up = Field(fine.shape, fine.read, window)
        self.pan = Field(scene.pan_shape, read_pan).kept(window, margin)
