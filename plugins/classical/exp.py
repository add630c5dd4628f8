"""EXP: the upsampled multispectral image, the baseline that every method should surpass."""

from __future__ import annotations

from torch import Tensor

from plugins.pansharpening.interfaces import GENERATORS, Generator


@GENERATORS.register
class EXP(Generator):
    """The upsampled multispectral image, unchanged: no detail of the PAN is injected.

    The system's `upsample` is its interpolation; 'interp23tap' gives the EXP of the literature.

    Source: called EXP in Vivone et al., "A Critical Comparison Among Pansharpening Algorithms",
        IEEE TGRS 53(5), 2015.
    """

    halo = 0
    stride = 1

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        return lrms_up
