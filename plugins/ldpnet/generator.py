"""LDP-Net's fusion network: two feature extractors, a dense content block, a reconstruction.

Module names are those of the authors' code, whose weights load by `plugins.ldpnet.published`.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.interfaces import Generator
from toolkit.registry import GENERATORS

Activation = Literal['relu', 'tanh', 'identity']
ACTIVATIONS: dict[str, type[nn.Module]] = {
    'relu': nn.ReLU,
    'tanh': nn.Tanh,
    'identity': nn.Identity,
}


@GENERATORS.register
class LDPNet(Generator):
    """LDP-Net's generator: the June 2022 code with its defaults.

    Both images are seen at two scales; the PAN enters repeated to C channels. Odd heights and
    widths are padded by one replicated row or column, which is cut off again at the end.

    Args:
        bands: C. Wired by the parent.
        width: m, the channels of each extractor at half resolution, a multiple of 4; 16 in the
            June 2022 code.
        activation: of the output; 'relu' in the June 2022 code, which can die (see README.md),
            'tanh' in that of November 2021, 'identity' leaves the output unbounded.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> hrms (B, C, H, W), any H and W.
    Raises:
        ValueError: a width that is no positive multiple of 4, or an unknown activation.
    Source: Ni et al., "LDP-Net: An Unsupervised Pansharpening Network Based on Learnable
        Degradation Processes", IEEE JSTARS 15, 2022, doi 10.1109/JSTARS.2022.3188181.
    """

    # At half resolution the content block sees 4 pixels to each side, 8 at full resolution; before
    # it the extractors add 3 + 1 (three 3x3 convolutions, the 2x2 one), after it the last
    # convolution adds 1, each counted on the side on which it reaches farther: 13 in all.
    halo = 13
    stride = 2

    def __init__(self, bands: int, width: int = 16, activation: Activation = 'relu') -> None:
        super().__init__()
        if width < 4 or width % 4:
            raise ValueError(f'width must be a positive multiple of 4, found {width}')
        if activation not in ACTIVATIONS:
            known = ', '.join(ACTIVATIONS)
            raise ValueError(f'activation must be one of {known}, found {activation!r}')
        self.extractor1 = Extractor(bands, width)
        self.extractor2 = Extractor(bands, width)
        self.content = ContentBlock(width)
        self.rec = Reconstruction(bands, width, ACTIVATIONS[activation]())
        self.apply(_initialize)

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        height, width = lrms_up.shape[-2:]
        if height % 2 or width % 2:
            odd = (0, width % 2, 0, height % 2)
            lrms_up, pan = (F.pad(image, odd, mode='replicate') for image in (lrms_up, pan))
        pan = pan.expand_as(lrms_up)  # (B, C, H, W)
        ms_half, ms = self.extractor1(lrms_up)  # (B, m, H/2, W/2), (B, m/2, H, W)
        pan_half, pan = self.extractor2(pan)  # (B, m, H/2, W/2), (B, m/2, H, W)
        content = self.content(torch.cat([ms_half, pan_half], 1))  # (B, m/2, H, W)
        hrms = self.rec(torch.cat([content, ms, pan], 1))  # (B, C, H, W)
        return hrms[..., :height, :width]


class Extractor(nn.Module):
    """Features of one image at half and at full resolution.

    Args:
        bands: C of the image.
        width: m.
    Shape: (B, C, H, W) -> (B, m, H/2, W/2) and (B, m/2, H, W); H and W even.
    """

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        quarter, half = width // 4, width // 2
        self.conv1 = nn.Conv2d(bands, quarter, 3, padding=1)
        self.relu1 = nn.PReLU()
        self.conv2 = nn.Conv2d(quarter + bands, half, 3, padding=1)
        self.relu2 = nn.PReLU()
        self.conv3 = nn.Conv2d(half + quarter, half, 3, padding=1)
        self.relu3 = nn.PReLU()
        self.conv4 = nn.Conv2d(2 * half, width, 2, stride=2)
        self.relu4 = nn.PReLU()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x1 = self.relu1(self.conv1(x))  # (B, m/4, H, W)
        x2 = self.relu2(self.conv2(torch.cat([x1, x], 1)))  # (B, m/2, H, W)
        x3 = self.relu3(self.conv3(torch.cat([x2, x1], 1)))  # (B, m/2, H, W)
        x4 = self.relu4(self.conv4(torch.cat([x3, x2], 1)))  # (B, m, H/2, W/2)
        return x4, x3


class ContentBlock(nn.Module):
    """Four densely connected convolutions at half resolution, then back to full resolution.

    Args:
        width: m.
    Shape: (B, 2m, H/2, W/2) -> (B, m/2, H, W).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 2 * width
        self.conv1 = _convolution(wide, wide)
        self.conv2 = _convolution(2 * wide, wide)
        self.conv3 = _convolution(3 * wide, wide)
        self.conv4 = _convolution(4 * wide, wide)
        self.up = nn.Sequential(nn.ConvTranspose2d(wide, width // 2, 2, stride=2), nn.PReLU())

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.conv1(x)  # (B, 2m, H/2, W/2)
        x2 = self.conv2(torch.cat([x, x1], 1))  # (B, 2m, H/2, W/2)
        x3 = self.conv3(torch.cat([x, x1, x2], 1))  # (B, 2m, H/2, W/2)
        x4 = self.conv4(torch.cat([x, x1, x2, x3], 1))  # (B, 2m, H/2, W/2)
        return self.up(x4)  # (B, m/2, H, W)


class Reconstruction(nn.Module):
    """Features of both scales -> image.

    Args:
        bands: C of the image.
        width: m.
        activation: applied to the image.
    Shape: (B, 3m/2, H, W) -> (B, C, H, W).
    """

    def __init__(self, bands: int, width: int, activation: nn.Module) -> None:
        super().__init__()
        features = 3 * width // 2
        self.conv1 = nn.Conv2d(features, features, 1)
        self.final_conv = nn.Conv2d(features, bands, 3, padding=1)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.final_conv(self.conv1(x)))  # (B, C, H, W)


def _convolution(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out_channels, 3, padding=1), nn.PReLU())


def _initialize(module: nn.Module) -> None:
    # The transposed convolution keeps torch's own initialization, as in the authors' code.
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(module.bias)
