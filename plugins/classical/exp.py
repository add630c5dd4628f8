"""EXP: the upsampled multispectral image itself, the baseline below which no method should fall."""

from __future__ import annotations

from torch import Tensor

from plugins.pansharpening.interfaces import GENERATORS, Generator


@GENERATORS.register
class EXP(Generator):
    """The upsampled multispectral image, unchanged: no detail of the PAN is injected.

    How it was upsampled is the system's `upsample`; the field's EXP is 'interp23tap'.

    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Source: called EXP in Vivone et al., "A Critical Comparison Among Pansharpening Algorithms",
        IEEE TGRS 53(5), 2015.
    """

    halo = 0
    stride = 1

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        return lrms_up
