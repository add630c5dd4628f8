"""High-pass modulation corrected by a network."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from plugins.pansharpening.data_init import DataInitialized
from plugins.pansharpening.imaging.mtf import get_reach, low_pass_by_mtf
from plugins.pansharpening.imaging.resample import low_pass as low_pass_bicubic
from plugins.pansharpening.interfaces import GENERATORS, Generator
from plugins.pansharpening.scenes.sensors import SensorSpec, get_sensor
from toolkit.ranges import Gt
from toolkit.registry import Slot

LowPass = Literal['bicubic', 'mtf']
# Lower bound of the low-pass PAN, a divisor: half a digital number of 11 bits.
DARKEST = 0.5 / 2047
# Deviations and slopes below it are none.
LEAST = 1e-3


@GENERATORS.register
class Modulated(Generator, DataInitialized):
    """High-pass modulation, E_k + g_k (P - P_low), corrected by a network.

    E is the upsampled image and P_low the PAN after the low-pass filter of a bicubic reduction, or
    for each band after a Gaussian with the MTF gain of the sensor. The gain g_k is the quotient
    (E_k - h_k) / P_low, estimated where P_low nears zero:

        g_k = ((E_k - h_k) P_low + D_k s_k) / (P_low^2 + D_k),  at least 0

    The offsets h stand for the haze: light that the atmosphere adds to a band must not be
    modulated. Before training a regression of each band on the PAN, at the scale of the
    multispectral image, gives h_k, its constant, which is trained further, s_k, its slope, and D_k,
    the variance that it leaves over s_k^2. Until then h and D are 0. The network gets the modulated
    image in place of E. A network that adds details and starts with none, such as `LDPNet` with
    `residual`, thus starts training with the details of the PAN.

    Args:
        network: corrects the modulated image; null for the modulation alone.
        limit: largest P / P_low, for pixels that are dark in P_low and bright in P.
        low_pass: filter of the PAN, 'bicubic' or 'mtf'. An MTF passes less, so that training starts
            with more detail.
        sensor: sensor (see `get_sensor`), for the MTF gains of its bands.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> hrms (B, C, H, W), in [0, 1].
    Raises:
        ValueError: a limit of 1 or less, an unknown filter or sensor, or a network that needs the
            whole image.
        DataError: the sensor has another number of bands.
    Source: Aiazzi et al., PE&RS 72(5), 2006, for the modulation; Lolli et al., IEEE GRSL 14(12),
        2017, for its offsets, which they estimate from the image; for the estimate of the gain see
        `plugins.classical.numerics.modulation`.
    """

    unit_range: ClassVar[bool] = True

    def __init__(
        self,
        bands: int,
        ratio: int,
        network: Slot[Generator] | None = None,
        limit: Annotated[float, Gt(1)] = 4.0,
        low_pass: LowPass = 'bicubic',
        sensor: SensorSpec = 'generic',
    ) -> None:
        super().__init__()
        if limit <= 1:
            raise ValueError(f'limit must be above 1, found {limit}')
        if low_pass not in get_args(LowPass):
            raise ValueError(f'low_pass must be bicubic or mtf, found {low_pass!r}')
        self.ratio, self.limit = ratio, limit
        self.network = network(bands=bands, ratio=ratio) if network else None
        network_halo = 0 if self.network is None else self.network.halo
        if network_halo == 'global':
            raise ValueError(
                f'{type(self.network).__name__} needs the whole image; network must be a generator '
                'that works on windows'
            )
        self.haze = nn.Parameter(torch.zeros(bands))
        self.register_buffer('slope', torch.ones(bands))
        self.register_buffer('damping', torch.zeros(bands))
        self.register_buffer('fitted', torch.tensor(False))
        self.sensor = get_sensor(sensor) if low_pass == 'mtf' else None
        self.gains = None if self.sensor is None else self.sensor.gains(bands)
        reach = 2 * ratio - 1 if self.gains is None else get_reach(min(self.gains), ratio)
        self.halo = network_halo + reach
        self.stride = 1 if self.network is None else self.network.stride

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        low = self._low_pass(pan).clamp(min=DARKEST)  # (B, 1 or C, H, W)
        sharp = torch.minimum(pan.clamp(min=0), self.limit * low)  # (B, 1 or C, H, W)
        haze, slope, damping = (v[:, None, None] for v in (self.haze, self.slope, self.damping))
        gain = ((lrms_up - haze) * low + damping * slope) / (low * low + damping)
        hrms = lrms_up + gain.clamp(min=0) * (sharp - low)  # (B, C, H, W)
        return hrms if self.network is None else self.network(hrms, pan)

    def _low_pass(self, pan: Tensor) -> Tensor:
        if self.gains is None:
            return low_pass_bicubic(pan, self.ratio)
        return low_pass_by_mtf(pan, self.gains, self.ratio)

    def learn(self, ms: Tensor, pan: Tensor) -> str:
        """Regresses each band on the PAN; a band that does not follow it gets no offset."""
        means, mean = ms.mean(0), pan.mean()
        variance = (pan - mean).square().mean()
        covariance = ((ms - means) * (pan - mean)[:, None]).mean(0)  # (C,)
        slope = (covariance / variance.clamp(min=LEAST**2)).clamp(min=0)
        noise = ((ms - means) - slope * (pan - mean)[:, None]).square().mean(0)
        follows = slope > LEAST
        with torch.no_grad():
            self.haze.copy_(torch.where(follows, means - slope * mean, 0))
            self.slope.copy_(slope)
            self.damping.copy_(noise / slope.clamp(min=LEAST).square())
        offsets = ', '.join(f'{offset:+.4f}' for offset in self.haze.tolist())
        return f'bands are modulated above {offsets}'
