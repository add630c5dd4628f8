"""Generators: networks and methods that fuse a multispectral image with a panchromatic one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from toolkit.registry import Kind

GENERATORS = Kind(
    'generator', 'plugins.pansharpening.interfaces.Generator', injected=('bands', 'ratio')
)


class Generator(nn.Module, ABC):
    """Fuses an upsampled multispectral image with a panchromatic image (PAN).

    Images are in [0, 1], or in [-1, 1] where the system is `symmetric`.

    Args:
        bands: C. Injected by the parent.
        ratio: PAN pixels per multispectral pixel. Injected by the parent.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> hrms (B, C, H, W).

    Attributes:
        halo: radius of the receptive field in PAN pixels, or 'global' if an output pixel depends on
            the whole image.
        stride: windows start at multiples of this number of PAN pixels.
        unit_range: images must be in [0, 1], since the method takes their ratios.
        exports: False if no graph for images of any size can be made of it (`toolkit export`).
        border: only of classes that declare it, whose system then sets it: 'wrap' where borders and
            divisions are those of the toolbox, else 'replicate'.
        sensor: only of methods that use the MTF gains of a `Sensor`, which is this one; whoever
            predicts is told if they are assumed.
    """

    contract: ClassVar[str] = 'plugins.pansharpening.contracts.GeneratorContract'
    halo: int | Literal['global']
    stride: int = 1
    unit_range: ClassVar[bool] = False
    exports: ClassVar[bool] = True

    @abstractmethod
    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor: ...
