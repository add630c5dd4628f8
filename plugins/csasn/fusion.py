"""Ways to make one map of the maps of several branches, all on one grid."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def projections(widths: Mapping[str, int], width: int) -> nn.ModuleDict:
    """A 1 x 1 convolution for each branch, from its own width to a common one."""
    return nn.ModuleDict({name: nn.Conv2d(own, width, 1) for name, own in widths.items()})


class Join(nn.Module):
    """One after the other along the channels.

    Args:
        widths: channels by branch, in the order in which they are joined.
        width: to which each branch is brought first; None leaves them as they are.
    Shape: (B, D_b, h, w) by branch -> (B, sum of D_b, h, w), or (B, branches * width, h, w).
    """

    def __init__(self, widths: Mapping[str, int], width: int | None) -> None:
        super().__init__()
        self.names = tuple(widths)
        self.projections = None if width is None else projections(widths, width)
        self.out_channels = sum(widths.values()) if width is None else len(widths) * width

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        if self.projections is None:
            return torch.cat([maps[name] for name in self.names], 1)
        return torch.cat([self.projections[name](maps[name]) for name in self.names], 1)


class Sum(nn.Module):
    """The sum of the branches, each brought to one width.

    Args:
        widths: channels by branch.
        width: of the sum; None for the widest branch's.
    Shape: (B, D_b, h, w) by branch -> (B, width, h, w).
    """

    def __init__(self, widths: Mapping[str, int], width: int | None) -> None:
        super().__init__()
        self.out_channels = width or max(widths.values())
        self.projections = projections(widths, self.out_channels)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        brought = [project(maps[name]) for name, project in self.projections.items()]
        return torch.stack(brought).sum(0)  # (B, width, h, w)


class Gated(nn.Module):
    """A sum in which every place and channel chooses between the branches: sum over b of
    z_b tanh(W_b x_b), with z = softmax over the branches of V_b [x_1; x_2; ...] (the gated
    multimodal unit, Arevalo et al. 2017, arXiv 1702.01992, for any number of branches).

    Args:
        widths: channels by branch.
        width: of the sum; None for the widest branch's.
    Shape: (B, D_b, h, w) by branch -> (B, width, h, w).
    """

    def __init__(self, widths: Mapping[str, int], width: int | None) -> None:
        super().__init__()
        self.out_channels = width or max(widths.values())
        self.projections = projections(widths, self.out_channels)
        self.gate = nn.Conv2d(sum(widths.values()), len(widths) * self.out_channels, 1)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        brought = [torch.tanh(project(maps[name])) for name, project in self.projections.items()]
        values = torch.stack(brought, 1)  # (B, branches, width, h, w)
        gates = self.gate(torch.cat([maps[name] for name in self.projections], 1))
        gates = gates.unflatten(1, (len(brought), self.out_channels))  # as values
        return (torch.softmax(gates, 1) * values).sum(1)  # (B, width, h, w)


class CrossAttention(nn.Module):
    """Each branch's places look at those of all others, then all are joined: with tokens
    t = W x of every branch, t_b + attention(norm t_b, norm of the others' tokens).

    Args:
        widths: channels by branch, in the order in which they are joined.
        width: of each branch's tokens; None for the narrowest branch's.
        heads: of the attention; must divide the width.
    Shape: (B, D_b, h, w) by branch -> (B, branches * width, h, w).
    Raises:
        ValueError: heads that do not divide the width.
    """

    def __init__(self, widths: Mapping[str, int], width: int | None, heads: int) -> None:
        super().__init__()
        width = width or min(widths.values())
        if heads < 1 or width % heads:
            raise ValueError(f'heads must divide the width {width}, found {heads}')
        self.out_channels = len(widths) * width
        self.projections = projections(widths, width)
        several = widths if len(widths) > 1 else ()  # a single branch has no other to look at
        self.norms = nn.ModuleDict({name: nn.LayerNorm(width) for name in several})
        self.attentions = nn.ModuleDict(
            {name: nn.MultiheadAttention(width, heads, batch_first=True) for name in several}
        )

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        brought = {name: project(maps[name]) for name, project in self.projections.items()}
        grid = next(iter(brought.values())).shape[-2:]
        tokens = {name: x.flatten(2).transpose(1, 2) for name, x in brought.items()}  # (B, N, D)
        normed = {name: norm(tokens[name]) for name, norm in self.norms.items()}
        for name, attention in self.attentions.items():
            others = torch.cat([x for other, x in normed.items() if other != name], 1)
            seen, _ = attention(normed[name], others, others, need_weights=False)  # (B, N, D)
            tokens[name] = tokens[name] + seen
        joined = torch.cat(list(tokens.values()), -1)  # (B, N, branches * width)
        return joined.transpose(1, 2).unflatten(2, grid)
