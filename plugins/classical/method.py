"""What the classical methods share: statistics of the whole image first, then a local fusion."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from plugins.pansharpening.precision import without_autocast
from toolkit.interfaces import Generator


class GlobalMethod(Generator):
    """A method without parameters, in two steps, so that a scene can be fused window by window.

    `statistics` looks at whole images, `fuse` at a window of them with `fuse_halo` PAN pixels
    around; `forward` is one after the other. Statistics are constants to autograd: gradients reach
    the inputs through `fuse` alone. Computed in float64, returned in the input's dtype. All methods
    are indifferent to the unit of the images, [0, 1] or digital numbers.

    Where the PAN is constant over an image there is no detail to inject, and the result is the
    upsampled multispectral image.

    Args:
        bands: C.  Wired by the parent.
        ratio: PAN pixels per multispectral pixel.  Wired by the parent.

    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W). `lrms_up` is the upsampling by
        'interp23tap', whose pixels ratio // 2, ratio // 2 + ratio, ... are the image's samples.
    Raises:
        ValueError: bands or ratio below 1.

    Attributes:
        fuse_halo: radius in PAN pixels of what a pixel of `fuse` depends on.
        stride: windows for `fuse` start at multiples of this many PAN pixels.
    """

    halo: Literal['global'] = 'global'
    fuse_halo: int = 0

    def __init__(self, bands: int, ratio: int) -> None:
        super().__init__()
        if bands < 1 or ratio < 1:
            raise ValueError(f'bands and ratio must be at least 1, found {bands} and {ratio}')
        self.bands = bands
        self.ratio = ratio

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        return self.fuse(lrms_up, pan, self.statistics(lrms_up, pan))  # (B, C, H, W)

    @abstractmethod
    def statistics(self, lrms_up: Tensor, pan: Tensor) -> dict[str, Tensor]:
        """What `fuse` needs to know of the whole images.

        Shape: lrms_up (B, C, H, W), pan (B, 1, H, W).
        Returns:
            float64 tensors by name, small, their first axis B.
        """

    @abstractmethod
    def fuse(self, lrms_up: Tensor, pan: Tensor, statistics: Mapping[str, Tensor]) -> Tensor:
        """Fuse images or windows of them with the statistics of the whole.

        Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
        """


class ClassicalMethod(GlobalMethod):
    """A global method that is stated by what it does to float64 images."""

    @torch.no_grad()
    def statistics(self, lrms_up: Tensor, pan: Tensor) -> dict[str, Tensor]:
        with without_autocast(pan):
            found = self._statistics(lrms_up.double(), pan.double())
            return {'flat': is_flat(pan), **found}

    def fuse(self, lrms_up: Tensor, pan: Tensor, statistics: Mapping[str, Tensor]) -> Tensor:
        with without_autocast(pan):
            fused = self._fuse(lrms_up.double(), pan.double(), statistics)
            return torch.where(statistics['flat'], lrms_up, fused.to(lrms_up.dtype))

    @abstractmethod
    def _statistics(self, lrms_up: Tensor, pan: Tensor) -> dict[str, Tensor]: ...

    @abstractmethod
    def _fuse(self, lrms_up: Tensor, pan: Tensor, statistics: Mapping[str, Tensor]) -> Tensor: ...


def is_flat(pan: Tensor) -> Tensor:
    """Whether an image is constant: (B, 1, H, W) -> (B, 1, 1, 1) bool."""
    return pan.amax((2, 3), keepdim=True) == pan.amin((2, 3), keepdim=True)
