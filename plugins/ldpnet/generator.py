"""LDP-Net's fusion network: two feature extractors, a dense content block, a reconstruction.

Module names are those of the authors' code, whose weights load by
`plugins.ldpnet.published_weights`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plugins.ldpnet.convolution import Convolution, cast_to_autocast, convolve_3x3, to_channels_last
from plugins.ldpnet.scratch_memory import apply_prelu, concatenate
from plugins.ldpnet.shipped_weights import find_shipped, load_shipped
from plugins.pansharpening.imaging.autocast import without_autocast
from plugins.pansharpening.interfaces import GENERATORS, Generator
from toolkit.ranges import NonNegativeInt, PositiveInt

Activation = Literal['relu', 'tanh', 'identity']
ACTIVATIONS: dict[str, type[nn.Module]] = {
    'relu': nn.ReLU,
    'tanh': nn.Tanh,
    'identity': nn.Identity,
}


@GENERATORS.register
class LDPNet(Generator):
    """LDP-Net's generator; the defaults are those of the June 2022 code.

    The network sees both images at two scales. It pads odd heights and widths by one replicated row
    or column and removes it at the end. Weights are laid out as published; `convolution.py`
    computes the same result, up to rounding, with fewer operations.

    Args:
        width: m, the channels of each extractor at half resolution, a multiple of 4; 16 in the
            June 2022 code, 128 in that of November 2021.
        activation: of the output. 'relu', as in the June 2022 code, can die (see README.md); 'tanh'
            is that of November 2021; 'identity' leaves the output unbounded.
        residual: adds the upsampled image to the output, so that the network learns details alone.
            The last convolution then starts at zero, so that training starts from `lrms_up`. Needs
            an activation other than 'relu', whose gradient at zero is zero.
        pan: 'repeated' to C bands, as published, which only adds weights to the first layers, or
            'single'.
        weights: 'plus' starts from weights that come with the package, trained on a synthetic scene
            as part of `ldpnet_plus`, for any number of bands; see weights/plus.md. They need the
            width 16, the residual and a single PAN.
        tailor: hidden channels of a `Tailor` between features and reconstruction; 0 for none. It
            starts without effect, so that any weights keep their meaning.
        trained: 'tailor' trains the tailor alone, to which the weights must be given.
    Raises:
        ValueError: a width that is no positive multiple of 4, an unknown value of `activation`,
            `pan` or `trained`, a residual with a ReLU, which would never learn, weights of another
            network, or `trained: tailor` without a tailor.
    Source: Ni et al., "LDP-Net: An Unsupervised Pansharpening Network Based on Learnable
        Degradation Processes", IEEE JSTARS 15, 2022, doi 10.1109/JSTARS.2022.3188181.
    """

    # At half resolution the content block sees 4 pixels to each side, 8 at full resolution; before
    # it the extractors add 3 + 1 (three 3x3 convolutions, the 2x2 one), after it the last
    # convolution adds 1, each counted on the side on which it reaches farther: 13 in all.
    halo = 13
    stride = 2

    def __init__(
        self,
        bands: int,
        width: PositiveInt = 16,
        activation: Activation = 'relu',
        residual: bool = False,
        pan: Literal['repeated', 'single'] = 'repeated',
        weights: Literal['plus'] | None = None,
        tailor: NonNegativeInt = 0,
        trained: Literal['all', 'tailor'] = 'all',
    ) -> None:
        super().__init__()
        if tailor < 0:
            raise ValueError(f'tailor must be 0 or more channels, found {tailor}')
        if trained not in ('all', 'tailor'):
            raise ValueError(f'trained must be all or tailor, found {trained!r}')
        if trained == 'tailor' and not tailor:
            raise ValueError(
                "trained: 'tailor' needs a tailor: set tailor to its channels, such as 24"
            )
        if width < 4 or width % 4:
            raise ValueError(f'width must be a positive multiple of 4, found {width}')
        if activation not in ACTIVATIONS:
            known = ', '.join(ACTIVATIONS)
            raise ValueError(f'activation must be one of {known}, found {activation!r}')
        if pan not in ('repeated', 'single'):
            raise ValueError(f'pan must be repeated or single, found {pan!r}')
        if residual and activation == 'relu':
            raise ValueError(
                "residual: true cannot be trained with activation 'relu': the last convolution "
                'starts at zero, where a ReLU passes no gradient; '
                "set activation to 'identity' or 'tanh'"
            )
        self.residual = residual
        self.extractor1 = Extractor(bands, width)
        self.extractor2 = Extractor(bands if pan == 'repeated' else 1, width)
        self.content = ContentBlock(width)
        self.rec = Reconstruction(bands, width, ACTIVATIONS[activation]())
        self.apply(_initialize)
        if residual:
            nn.init.zeros_(self.rec.final_conv.weight)
        self.tailor = Tailor(3 * width // 2, tailor) if tailor else None
        if weights is not None:
            load_shipped(self, weights)
        if trained == 'tailor':
            self.requires_grad_(False)
            self.tailor.requires_grad_(True)

    @classmethod
    def list_files(cls, arguments: Mapping[str, Any]) -> list[Path]:
        """Lists the file of shipped weights, which has no path in a config."""
        name = arguments.get('weights')
        return [] if name is None else [find_shipped(name)]

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        height, width = lrms_up.shape[-2:]
        x = lrms_up
        if height % 2 or width % 2:
            odd = (0, width % 2, 0, height % 2)
            x, pan = (F.pad(image, odd, mode='replicate') for image in (x, pan))
        if x.device.type == 'cpu':  # faster on CPU, whatever the run's memory format
            x, pan = to_channels_last(x), to_channels_last(pan)
        x, pan = cast_to_autocast(x), cast_to_autocast(pan)
        ms_half, ms = self.extractor1(x)  # (B, m, H/2, W/2), (B, m/2, H, W)
        pan_half, pan = self.extractor2(pan)  # (B, m, H/2, W/2), (B, m/2, H, W)
        content = self.content(ms_half, pan_half)  # (B, m/2, H, W)
        if self.tailor is not None:
            content, ms, pan = self.tailor(torch.cat([content, ms, pan], 1)).chunk(3, 1)
        hrms = self.rec(content, ms, pan)[..., :height, :width]  # (B, C, H, W)
        return lrms_up + hrms if self.residual else hrms


class Extractor(nn.Module):
    """Extracts features of one image at half and at full resolution.

    Args:
        bands: C of the image.
        width: m.
    Shape: (B, C, H, W) -> (B, m, H/2, W/2) and (B, m/2, H, W); H and W even. An image (B, 1, H, W)
        counts as repeated to C bands.
    """

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        quarter, half = width // 4, width // 2
        self.bands = bands
        self.conv1 = nn.Conv2d(bands, quarter, 3, padding=1)
        self.relu1 = nn.PReLU()
        self.conv2 = nn.Conv2d(quarter + bands, half, 3, padding=1)
        self.relu2 = nn.PReLU()
        self.conv3 = nn.Conv2d(half + quarter, half, 3, padding=1)
        self.relu3 = nn.PReLU()
        self.conv4 = Convolution(2 * half, width, 2, stride=2)
        self.relu4 = nn.PReLU()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        second, repeated = self.conv2.weight, x
        if x.shape[1] < self.bands:
            # Weights of equal bands add up. The first convolution keeps all bands: torch convolves
            # images of one band by another algorithm, with other rounding in small windows.
            repeated = to_channels_last(x.expand(-1, self.bands, -1, -1))
            own, shared = second.split([self.conv1.out_channels, self.bands], 1)
            second = torch.cat([own, shared.sum(1, keepdim=True)], 1)  # (m/2, m/4 + 1, 3, 3)
        x1 = convolve_3x3(repeated, self.conv1.weight, self.conv1.bias)
        x1 = apply_prelu(x1, self.relu1)  # (B, m/4, H, W)
        x2 = convolve_3x3(concatenate([x1, x]), second, self.conv2.bias)
        x2 = apply_prelu(x2, self.relu2)  # (B, m/2, H, W)
        x3 = convolve_3x3(concatenate([x2, x1]), self.conv3.weight, self.conv3.bias)
        x3 = apply_prelu(x3, self.relu3)  # (B, m/2, H, W)
        x4 = apply_prelu(self.conv4(concatenate([x3, x2])), self.relu4)  # (B, m, H/2, W/2)
        return x4, x3


class ContentBlock(nn.Module):
    """Four densely connected convolutions at half resolution, then back to full resolution.

    Args:
        width: m.
    Shape: two of (B, m, H/2, W/2) -> (B, m/2, H, W).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 2 * width
        self.conv1 = _make_convolution(wide, wide)
        self.conv2 = _make_convolution(2 * wide, wide)
        self.conv3 = _make_convolution(3 * wide, wide)
        self.conv4 = _make_convolution(4 * wide, wide)
        self.up = nn.Sequential(nn.ConvTranspose2d(wide, width // 2, 2, stride=2), nn.PReLU())

    def forward(self, ms: Tensor, pan: Tensor) -> Tensor:
        features = [ms, pan]  # (B, m, H/2, W/2) each
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = apply_prelu(layer[0](concatenate(features)), layer[1])  # (B, 2m, H/2, W/2)
            features.append(x)
        return apply_prelu(self.up[0](x), self.up[1])  # (B, m/2, H, W)


class Tailor(nn.Module):
    """Corrects features by what two 1x1 convolutions add; starts without effect.

    Args:
        channels: of the features.
        hidden: channels between the convolutions.
    Shape: (B, channels, H, W) -> (B, channels, H, W).
    Source: "Training and inference within 1 second: tackle cross-sensor degradation of real-world
        pansharpening with efficient residual feature tailoring", arXiv 2508.07369, 2025, for the
        place between fused features and the image's bands and the frozen network around it.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.conv2 = nn.Conv2d(hidden, channels, 1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv2(F.relu(self.conv1(features)))


class Reconstruction(nn.Module):
    """Reconstructs the image from the features of both scales.

    Args:
        bands: C of the image.
        width: m.
        activation: applied to the image.
    Shape: three of (B, m/2, H, W) -> (B, C, H, W).
    """

    def __init__(self, bands: int, width: int, activation: nn.Module) -> None:
        super().__init__()
        features = 3 * width // 2
        self.conv1 = nn.Conv2d(features, features, 1)
        self.final_conv = nn.Conv2d(features, bands, 3, padding=1)
        self.activation = activation

    def forward(self, content: Tensor, ms: Tensor, pan: Tensor) -> Tensor:
        # Both convolutions are linear, so one computes them. Beyond the border the second one sees
        # zeros and not the bias of the first, so the bias becomes the weights of a channel of ones,
        # which is padded with zeros.
        one = torch.ones_like(content[:, :1])  # (B, 1, H, W)
        x = concatenate([content, ms, pan, one])  # (B, 3m/2 + 1, H, W)
        first = torch.cat([self.conv1.weight[..., 0, 0], self.conv1.bias[:, None]], 1)
        with without_autocast(x):
            weight = torch.einsum('ofyx,fi->oiyx', self.final_conv.weight, first)
        return self.activation(convolve_3x3(x, weight, self.final_conv.bias))  # (B, C, H, W)


def _make_convolution(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(Convolution(channels, out_channels, 3, padding=1), nn.PReLU())


def _initialize(module: nn.Module) -> None:
    # The transposed convolution keeps torch's own initialization, as in the authors' code.
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(module.bias)
