"""timm's attention layers as components, and SimAM, which timm does not have."""

from __future__ import annotations

import inspect
from typing import Any, Literal

import torch
from timm.layers import get_attn
from torch import Tensor, nn

from toolkit.errors import ToolkitError, did_you_mean
from toolkit.interfaces import Attention
from toolkit.ranges import OddInt, PositiveFloat, PositiveInt
from toolkit.registry import ATTENTIONS

Name = Literal[
    'se',
    'ese',
    'eca',
    'ecam',
    'ceca',
    'ge',
    'gc',
    'gca',
    'cbam',
    'lcbam',
    'coord',
    'scoord',
    'ela',
    'strip',
    'sk',
    'splat',
    'lambda',
    'halo',
    'nl',
    'bat',
]


class _AttentionLayer(Attention):
    """An attention layer of timm on maps (B, C, H, W).

    Args:
        name: timm's name of the layer.
        in_channels: C.
        **options: arguments of the layer.
    """

    def __init__(self, name: str, in_channels: int, **options: Any) -> None:
        super().__init__()
        layer = get_attn(name)
        if name == 'ge':
            options.setdefault('use_mlp', False)  # the default of timm 1.0.31 raises an error
        accepted = inspect.signature(layer).parameters
        for option in options:
            if option not in accepted or option in ('in_channels', 'channels', 'dim'):
                hint = did_you_mean(option, accepted)
                raise ValueError(f'the layer {name!r} of timm takes no {option}{hint}')
        self.layer = layer(in_channels, **options)

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim != 4:
            raise ToolkitError(
                f'{type(self).__name__} works on maps (B, C, H, W), found {tuple(features.shape)}'
            )
        try:
            return self.layer(features)  # (B, C, H, W)
        except AssertionError as error:
            height, width = features.shape[2:]
            raise ToolkitError(
                f"timm's {type(self.layer).__name__} does not fit maps of {height} x {width}: its "
                'block_size must divide both sides'
            ) from error

    def maps(self, features: Tensor) -> dict[str, Tensor]:
        """Returns the gates in [0, 1] of the layer.

        Returns:
            `channel` (B, C) and `spatial` (B, 1, H, W), if the layer has them.
        """
        found: dict[str, Tensor] = {}

        def keep(module: nn.Module, inputs: Any, gate: Tensor) -> None:
            channels, grid = features.shape[1], features.shape[2:]
            if gate.ndim == 4 and gate.shape[1] == 1 and gate.shape[2:] == grid:
                found['spatial'] = gate  # (B, 1, H, W)
            elif gate.ndim >= 2 and gate[0].numel() == channels:
                found['channel'] = gate.flatten(1)  # (B, C)

        gates = [m for n, m in self.layer.named_modules() if n.rpartition('.')[2] == 'gate']
        handles = [gate.register_forward_hook(keep) for gate in gates]
        try:
            self(features)
        finally:
            for handle in handles:
                handle.remove()
        return found


@ATTENTIONS.register
class SE(_AttentionLayer):
    """Squeeze-and-excitation: channel weights computed from the channel means.

    Args:
        in_channels: C. Injected by the parent.
        reduction: the hidden layer has about C / reduction channels, a multiple of 8.
    Shape: (B, C, H, W) -> (B, C, H, W).
    Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, arXiv 1709.01507.
    """

    def __init__(self, in_channels: int, reduction: PositiveInt = 16) -> None:
        super().__init__('se', in_channels, rd_ratio=_to_ratio(reduction))


@ATTENTIONS.register
class ECA(_AttentionLayer):
    """Efficient channel attention: a convolution over the means of neighbouring channels.

    Args:
        in_channels: C. Injected by the parent.
        kernel_size: kernel size of the convolution, odd; null for the paper's, which grows with
            log C.
    Shape: (B, C, H, W) -> (B, C, H, W).
    Source: Wang et al., "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural
        Networks", CVPR 2020, arXiv 1910.03151.
    """

    def __init__(self, in_channels: int, kernel_size: OddInt | None = None) -> None:
        if kernel_size is None:
            super().__init__('eca', in_channels)
        else:
            super().__init__('eca', None, kernel_size=_validate_odd(kernel_size))


@ATTENTIONS.register
class CBAM(_AttentionLayer):
    """Channel attention, then spatial attention, each from means and maxima.

    Args:
        in_channels: C. Injected by the parent.
        reduction: the hidden layer of the channel attention has C / reduction channels.
        kernel_size: kernel size of the spatial convolution, odd.
    Shape: (B, C, H, W) -> (B, C, H, W).
    Source: Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018, arXiv 1807.06521.
    """

    def __init__(
        self, in_channels: int, reduction: PositiveInt = 16, kernel_size: OddInt = 7
    ) -> None:
        super().__init__(
            'cbam',
            in_channels,
            rd_ratio=_to_ratio(reduction),
            spatial_kernel_size=_validate_odd(kernel_size),
        )


@ATTENTIONS.register
class SimAM(Attention):
    """Attention without parameters: weights neurons by their distance from the channel mean.

    Args:
        regularization: lambda of the paper, added to the variance.
    Shape: (B, C, H, W) -> (B, C, H, W).
    Source: Yang et al., "SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural
        Networks", ICML 2021, equation 5 and its listing.
    """

    def __init__(self, regularization: PositiveFloat = 1e-4) -> None:
        super().__init__()
        if regularization <= 0:
            raise ValueError(f'regularization must be above 0, found {regularization}')
        self.regularization = regularization

    def forward(self, features: Tensor) -> Tensor:
        return features * self._weights(features)  # (B, C, H, W)

    def maps(self, features: Tensor) -> dict[str, Tensor]:
        """Returns `spatial` (B, 1, H, W), the mean weight of each position."""
        return {'spatial': self._weights(features).mean(1, keepdim=True)}

    def _weights(self, features: Tensor) -> Tensor:
        squares = (features - features.mean((2, 3), keepdim=True)).square()  # (B, C, H, W)
        others = max(features.shape[2] * features.shape[3] - 1, 1)
        variance = squares.sum((2, 3), keepdim=True) / others  # (B, C, 1, 1)
        return torch.sigmoid(squares / (4 * (variance + self.regularization)) + 0.5)


@ATTENTIONS.register
class TimmAttention(_AttentionLayer):
    """An attention layer of timm that keeps the shape, selected by timm's name.

    | name | layer |
    |---|---|
    | se | squeeze-and-excitation, Hu et al., CVPR 2018 |
    | ese | effective SE, one layer, Lee and Park, CVPR 2020, arXiv 1911.06667 |
    | eca, ecam, ceca | ECA, Wang et al., CVPR 2020; with a second layer; circular |
    | ge | gather-excite without parameters, Hu et al., NeurIPS 2018, arXiv 1810.12348 |
    | gc, gca | global context, Cao et al., 2019, arXiv 1904.11492; scaled, added |
    | cbam, lcbam | CBAM, Woo et al., ECCV 2018; a lighter one of timm |
    | coord, scoord | coordinate attention, Hou et al., CVPR 2021, arXiv 2103.02907; simpler |
    | ela | efficient local attention, Xu and Wan, 2024, arXiv 2403.01123 |
    | strip | gates from strip pooling, Hou et al., CVPR 2020, arXiv 2003.13328 |
    | sk | selective kernels, Li et al., CVPR 2019, arXiv 1903.06586 |
    | splat | split attention (ResNeSt), Zhang et al., 2020, arXiv 2004.08955 |
    | lambda | lambda layer with a local context, Bello, ICLR 2021, arXiv 2102.08602 |
    | halo | blocked local self-attention, Vaswani et al., CVPR 2021, arXiv 2103.12731 |
    | nl | non-local block, Wang et al., CVPR 2018, arXiv 1711.07971 |
    | bat | bilinear attention transform, Chi et al., CVPR 2020 |

    `halo` and `bat` need maps with sides that are multiples of their `block_size` (8 and 7).

    Args:
        in_channels: C. Injected by the parent.
        name: timm's name of the layer.
        reduction: factor by which the hidden layer is narrower; null for the layer's default.
        options: other arguments of the layer, by timm's names.
    Shape: (B, C, H, W) -> (B, C, H, W).
    Raises:
        ValueError: an option that the layer does not have.
        ToolkitError: during the forward pass, if the block size does not divide the sides of the
            map.
    Source: the papers above, in Wightman, "PyTorch Image Models", 2019,
        github.com/huggingface/pytorch-image-models, timm/layers.
    """

    def __init__(
        self,
        in_channels: int,
        name: Name,
        reduction: PositiveInt | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        arguments = dict(options or {})
        if reduction is not None:
            arguments['rd_ratio'] = _to_ratio(reduction)
        super().__init__(name, in_channels, **arguments)


def _to_ratio(reduction: int) -> float:
    if reduction < 1:
        raise ValueError(f'reduction must be at least 1, found {reduction}')
    return 1 / reduction


def _validate_odd(size: int) -> int:
    if size < 1 or size % 2 == 0:
        raise ValueError(f'kernel_size must be odd, found {size}')
    return size
