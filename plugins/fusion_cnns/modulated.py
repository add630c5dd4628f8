"""A network that corrects what high-pass modulation makes, in place of starting from no detail."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from plugins.pansharpening.imaging.resample import low_pass
from plugins.pansharpening.interfaces import GENERATORS, Generator
from toolkit.registry import Slot

# A low-passed PAN of half a digital number in 11 bits is taken to be no darker than that.
DARKEST = 0.5 / 2047


@GENERATORS.register
class Modulated(Generator):
    """High-pass modulation, h_k + (E_k - h_k) P / P_low, corrected by a network.

    E is the upsampled image and P_low the PAN through the filter of a bicubic reduction. The
    offsets h start at zero and are learned: light that the atmosphere adds to a band is not to be
    modulated. The network sees the modulated image in place of E; one that adds details to what it
    sees and starts with none (`LDPNet` with `residual`) starts with the PAN's details in place.

    Args:
        bands: C. Injected by the parent.
        ratio: PAN pixels per multispectral pixel. Injected by the parent.
        network: what corrects the modulated image; null for nothing: the modulation alone.
        limit: P / P_low is at most that, for places that are dark at the coarse scale alone.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> hrms (B, C, H, W), in [0, 1].
    Raises:
        ValueError: a limit of 1 or less, or a network that needs the whole image.
    Source: the modulation Aiazzi et al., PE&RS 72(5), 2006; its offsets Lolli et al., IEEE GRSL
        14(12), 2017, who measure what is learned here.
    """

    unit_range: ClassVar[bool] = True

    def __init__(
        self,
        bands: int,
        ratio: int,
        network: Slot[Generator] | None = None,
        limit: float = 4.0,
    ) -> None:
        super().__init__()
        if limit <= 1:
            raise ValueError(f'limit must be above 1, found {limit}')
        self.ratio, self.limit = ratio, limit
        self.network = network(bands=bands, ratio=ratio) if network else None
        beyond = 0 if self.network is None else self.network.halo
        if beyond == 'global':
            raise ValueError(
                f'{type(self.network).__name__} looks at the whole image; network must be one that '
                'works on windows'
            )
        self.haze = nn.Parameter(torch.zeros(bands))
        self.halo = beyond + 2 * ratio - 1  # of the bicubic filter's taps
        self.stride = 1 if self.network is None else self.network.stride

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        low = low_pass(pan, self.ratio)  # (B, 1, H, W)
        modulation = (pan / low.clamp(min=DARKEST)).clamp(0, self.limit)  # (B, 1, H, W)
        haze = self.haze[:, None, None]
        hrms = haze + (lrms_up - haze) * modulation  # (B, C, H, W)
        return hrms if self.network is None else self.network(hrms, pan)
