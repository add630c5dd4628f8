"""High-pass modulation corrected by a network."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from plugins.pansharpening.imaging.resample import low_pass
from plugins.pansharpening.interfaces import GENERATORS, Generator
from toolkit.ranges import Gt
from toolkit.registry import Slot

# Lower bound of the low-pass PAN, a divisor: half a digital number of 11 bits.
DARKEST = 0.5 / 2047


@GENERATORS.register
class Modulated(Generator):
    """High-pass modulation, h_k + (E_k - h_k) P / P_low, corrected by a network.

    E is the upsampled image and P_low the PAN after the low-pass filter of a bicubic reduction. The
    offsets h are learned and start at zero. They stand for the haze: light that the atmosphere adds
    to a band must not be modulated. The network gets the modulated image in place of E. A network
    that adds details and starts with none, such as `LDPNet` with `residual`, thus starts training
    with the details of the PAN.

    Args:
        network: corrects the modulated image; null for the modulation alone.
        limit: largest P / P_low, for pixels that are dark in P_low and bright in P.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> hrms (B, C, H, W), in [0, 1].
    Raises:
        ValueError: a limit of 1 or less, or a network that needs the whole image.
    Source: Aiazzi et al., PE&RS 72(5), 2006, for the modulation; Lolli et al., IEEE GRSL 14(12),
        2017, for its offsets, which they estimate from the image.
    """

    unit_range: ClassVar[bool] = True

    def __init__(
        self,
        bands: int,
        ratio: int,
        network: Slot[Generator] | None = None,
        limit: Annotated[float, Gt(1)] = 4.0,
    ) -> None:
        super().__init__()
        if limit <= 1:
            raise ValueError(f'limit must be above 1, found {limit}')
        self.ratio, self.limit = ratio, limit
        self.network = network(bands=bands, ratio=ratio) if network else None
        network_halo = 0 if self.network is None else self.network.halo
        if network_halo == 'global':
            raise ValueError(
                f'{type(self.network).__name__} needs the whole image; network must be a generator '
                'that works on windows'
            )
        self.haze = nn.Parameter(torch.zeros(bands))
        self.halo = network_halo + 2 * ratio - 1  # of the bicubic filter's taps
        self.stride = 1 if self.network is None else self.network.stride

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        low = low_pass(pan, self.ratio)  # (B, 1, H, W)
        modulation = (pan / low.clamp(min=DARKEST)).clamp(0, self.limit)  # (B, 1, H, W)
        haze = self.haze[:, None, None]
        hrms = haze + (lrms_up - haze) * modulation  # (B, C, H, W)
        return hrms if self.network is None else self.network(hrms, pan)
