"""timm's attention layers as attention parts, and SimAM, which needs no layers."""

from __future__ import annotations

import inspect
from typing import Any, Literal

import torch
from timm.layers import get_attn
from torch import Tensor, nn

from toolkit.errors import ToolkitError, did_you_mean
from toolkit.interfaces import Attention
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


class _Layer(Attention):
    """One of timm's layers on maps (B, C, H, W).

    Args:
        name: timm's of the layer.
        in_channels: C.
        **options: of the layer.
    """

    def __init__(self, name: str, in_channels: int, **options: Any) -> None:
        super().__init__()
        made = get_attn(name)
        if name == 'ge':
            options.setdefault('use_mlp', False)  # timm 1.0.31's own default cannot be built
        taken = inspect.signature(made).parameters
        for option in options:
            if option not in taken or option in ('in_channels', 'channels', 'dim'):
                hint = did_you_mean(option, taken)
                raise ValueError(f'the layer {name!r} of timm takes no {option}{hint}')
        self.layer = made(in_channels, **options)

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
        """The gates in [0, 1] of channels (B, C) and of places (B, 1, H, W), where the layer has
        them."""
        found: dict[str, Tensor] = {}

        def keep(module: nn.Module, inputs: Any, gate: Tensor) -> None:
            channels, places = features.shape[1], features.shape[2:]
            if gate.ndim == 4 and gate.shape[1] == 1 and gate.shape[2:] == places:
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
class SE(_Layer):
    """Squeeze-and-excitation: channels weighed by what their means say.

    Args:
        in_channels: C. Injected by the parent.
        reduction: how many times narrower the hidden layer is; it has a multiple of 8 channels.
    Shape: (B, C, H, W) -> (B, C, H, W).
    Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, arXiv 1709.01507.
    """

    def __init__(self, in_channels: int, reduction: int = 16) -> None:
        super().__init__('se', in_channels, rd_ratio=_ratio(reduction))


@ATTENTIONS.register
class ECA(_Layer):
    """Efficient channel attention: a convolution over neighbouring channels' means.

    Args:
        in_channels: C. Injected by the parent.
        kernel_size: of that convolution, odd; null for the paper's, which grows with log C.
    Shape: (B, C, H, W) -> (B, C, H, W).
    Source: Wang et al., "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural
        Networks", CVPR 2020, arXiv 1910.03151.
    """

    def __init__(self, in_channels: int, kernel_size: int | None = None) -> None:
        if kernel_size is None:
            super().__init__('eca', in_channels)
        else:
            super().__init__('eca', None, kernel_size=_odd(kernel_size))


@ATTENTIONS.register
class CBAM(_Layer):
    """Channel attention on means and maxima, then spatial attention on the same over channels.

    Args:
        in_channels: C. Injected by the parent.
        reduction: how many times narrower the hidden layer of channels is.
        kernel_size: of the spatial convolution, odd.
    Shape: (B, C, H, W) -> (B, C, H, W).
    Source: Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018, arXiv 1807.06521.
    """

    def __init__(self, in_channels: int, reduction: int = 16, kernel_size: int = 7) -> None:
        super().__init__(
            'cbam', in_channels, rd_ratio=_ratio(reduction), spatial_kernel_size=_odd(kernel_size)
        )


@ATTENTIONS.register
class SimAM(Attention):
    """Each neuron weighed by how far it stands out of its channel; it has no parameters.

    Args:
        regularization: lambda of the paper, added to the variance.
    Shape: (B, C, H, W) -> (B, C, H, W).
    Source: Yang et al., "SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural
        Networks", ICML 2021, equation 5 and its listing.
    """

    def __init__(self, regularization: float = 1e-4) -> None:
        super().__init__()
        if regularization <= 0:
            raise ValueError(f'regularization must be above 0, found {regularization}')
        self.regularization = regularization

    def forward(self, features: Tensor) -> Tensor:
        return features * self._weights(features)  # (B, C, H, W)

    def maps(self, features: Tensor) -> dict[str, Tensor]:
        """The mean weight of each place (B, 1, H, W)."""
        return {'spatial': self._weights(features).mean(1, keepdim=True)}

    def _weights(self, features: Tensor) -> Tensor:
        squares = (features - features.mean((2, 3), keepdim=True)).square()  # (B, C, H, W)
        others = max(features.shape[2] * features.shape[3] - 1, 1)
        variance = squares.sum((2, 3), keepdim=True) / others  # (B, C, 1, 1)
        return torch.sigmoid(squares / (4 * (variance + self.regularization)) + 0.5)


@ATTENTIONS.register
class TimmAttention(_Layer):
    """Any layer that timm calls attention and that keeps the shape, by timm's name.

    | name | what |
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

    `halo` and `bat` need maps whose sides are multiples of their `block_size` (8 and 7).

    Args:
        in_channels: C. Injected by the parent.
        name: timm's of the layer.
        reduction: how many times narrower its hidden layer is; null for the layer's own.
        options: what else the layer takes, by timm's names.
    Shape: (B, C, H, W) -> (B, C, H, W).
    Raises:
        ValueError: an option that the layer does not take.
        ToolkitError: in a forward, a map whose sides its blocks do not divide.
    Source: the papers above, in Wightman, "PyTorch Image Models", 2019,
        github.com/huggingface/pytorch-image-models, timm/layers.
    """

    def __init__(
        self,
        in_channels: int,
        name: Name,
        reduction: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        given = dict(options or {})
        if reduction is not None:
            given['rd_ratio'] = _ratio(reduction)
        super().__init__(name, in_channels, **given)


def _ratio(reduction: int) -> float:
    if reduction < 1:
        raise ValueError(f'reduction must be at least 1, found {reduction}')
    return 1 / reduction


def _odd(size: int) -> int:
    if size < 1 or size % 2 == 0:
        raise ValueError(f'kernel_size must be odd, found {size}')
    return size
