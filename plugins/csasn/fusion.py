"""Fusion of the maps of several branches on one grid."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def build_projections(widths: Mapping[str, int], width: int) -> nn.ModuleDict:
    """Builds a 1 x 1 convolution for each branch, from its width to a common width."""
    return nn.ModuleDict({name: nn.Conv2d(own, width, 1) for name, own in widths.items()})


class JoinFusion(nn.Module):
    """Concatenation of the branches along the channels.

    Args:
        widths: channels by branch, in the order of concatenation.
        width: channels to which each branch is projected first; None for no projection.
    Shape: (B, D_b, h, w) by branch -> (B, sum of D_b, h, w), or (B, branches * width, h, w).
    """

    def __init__(self, widths: Mapping[str, int], width: int | None) -> None:
        super().__init__()
        self.names = tuple(widths)
        self.projections = None if width is None else build_projections(widths, width)
        self.out_channels = sum(widths.values()) if width is None else len(widths) * width

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        if self.projections is None:
            return torch.cat([maps[name] for name in self.names], 1)
        return torch.cat([self.projections[name](maps[name]) for name in self.names], 1)


class SumFusion(nn.Module):
    """Sum of the branches after projection to a common width.

    Args:
        widths: channels by branch.
        width: channels of the sum; None for the width of the widest branch.
    Shape: (B, D_b, h, w) by branch -> (B, width, h, w).
    """

    def __init__(self, widths: Mapping[str, int], width: int | None) -> None:
        super().__init__()
        self.out_channels = width or max(widths.values())
        self.projections = build_projections(widths, self.out_channels)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        projected = [project(maps[name]) for name, project in self.projections.items()]
        return torch.stack(projected).sum(0)  # (B, width, h, w)


class GatedFusion(nn.Module):
    """Sum of the branches with weights for each position and channel.

    The sum over b of z_b tanh(W_b x_b), with z = softmax over the branches of V_b [x_1; x_2; ...]:
    the gated multimodal unit for any number of branches.

    Args:
        widths: channels by branch.
        width: channels of the sum; None for the width of the widest branch.
    Shape: (B, D_b, h, w) by branch -> (B, width, h, w).
    Source: Arevalo et al. 2017, "Gated Multimodal Units for Information Fusion", arXiv 1702.01992.
    """

    def __init__(self, widths: Mapping[str, int], width: int | None) -> None:
        super().__init__()
        self.out_channels = width or max(widths.values())
        self.projections = build_projections(widths, self.out_channels)
        self.gate = nn.Conv2d(sum(widths.values()), len(widths) * self.out_channels, 1)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        projected = [torch.tanh(project(maps[name])) for name, project in self.projections.items()]
        values = torch.stack(projected, 1)  # (B, branches, width, h, w)
        gates = self.gate(torch.cat([maps[name] for name in self.projections], 1))
        gates = gates.unflatten(1, (len(projected), self.out_channels))  # as values
        return (torch.softmax(gates, 1) * values).sum(1)  # (B, width, h, w)


class CrossAttentionFusion(nn.Module):
    """Concatenation of the branches after attention of each branch to all others.

    With tokens t = W x of each branch, the new tokens are
    t_b + attention(norm t_b, norm of the tokens of the other branches).

    Args:
        widths: channels by branch, in the order of concatenation.
        width: channels of each branch's tokens; None for the width of the narrowest branch.
        heads: number of attention heads; must divide the width.
    Shape: (B, D_b, h, w) by branch -> (B, branches * width, h, w).
    Raises:
        ValueError: heads do not divide the width.
    """

    def __init__(self, widths: Mapping[str, int], width: int | None, heads: int) -> None:
        super().__init__()
        width = width or min(widths.values())
        if heads < 1 or width % heads:
            raise ValueError(f'heads must divide the width {width}, found {heads}')
        self.out_channels = len(widths) * width
        self.projections = build_projections(widths, width)
        several = widths if len(widths) > 1 else ()  # a single branch has no other branch
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in several})
        self.attentions = nn.ModuleDict(
            {name: nn.MultiheadAttention(width, heads, batch_first=True) for name in several}
        )

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        projected = {name: project(maps[name]) for name, project in self.projections.items()}
        grid = next(iter(projected.values())).shape[-2:]
        tokens = {name: x.flatten(2).transpose(1, 2) for name, x in projected.items()}  # (B, N, D)
        normed = {name: norm(tokens[name]) for name, norm in self.norms.items()}
        for name, attention in self.attentions.items():
            others = torch.cat([x for other, x in normed.items() if other != name], 1)
            attended, _ = attention(normed[name], others, others, need_weights=False)  # (B, N, D)
            tokens[name] = tokens[name] + attended
        joined = torch.cat(list(tokens.values()), -1)  # (B, N, branches * width)
        return joined.transpose(1, 2).unflatten(2, grid)
