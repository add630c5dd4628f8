"""Resizing along an axis like MATLAB's `imresize`: bilinear, by a whole ratio."""

from __future__ import annotations

import torch
from torch import Tensor


def downsample(image: Tensor, dim: int, ratio: int) -> Tensor:
    """Applies `imresize` by 1 / ratio along an axis: bilinear, antialiased, mirrored borders."""
    cells = image.unflatten(dim, (-1, ratio))

    def sum_weighted(offset: int) -> Tensor | None:
        """Sums the shares of the pixels of each cell in the sample of the cell `offset` before."""
        total = None
        for j in range(ratio):
            weight = max(0.0, 1 - abs(j + offset * ratio - (ratio - 1) / 2) / ratio) / ratio
            if weight:
                part = weight * cells.select(dim + 1, j)
                total = part if total is None else total.add_(part)
        return total

    low, after, before = sum_weighted(0), sum_weighted(1), sum_weighted(-1)
    if after is None:  # a ratio of one
        return low
    count = low.shape[dim]
    # At a border, the mirrored cell outside adds to the first sample as much as the first cell
    # would add to a sample outside.
    low.narrow(dim, 0, count - 1).add_(after.narrow(dim, 1, count - 1))
    low.narrow(dim, count - 1, 1).add_(before.narrow(dim, count - 1, 1))
    low.narrow(dim, 1, count - 1).add_(before.narrow(dim, 0, count - 1))
    low.narrow(dim, 0, 1).add_(after.narrow(dim, 0, 1))
    return low


def upsample(image: Tensor, dim: int, ratio: int) -> Tensor:
    """Applies `imresize` by the ratio along an axis: bilinear, constant outside the image."""
    count = image.shape[dim]
    before = torch.cat([image.narrow(dim, 0, 1), image.narrow(dim, 0, count - 1)], dim)
    after = torch.cat([image.narrow(dim, 1, count - 1), image.narrow(dim, count - 1, 1)], dim)
    phases = []
    for j in range(ratio):
        place = (j + 0.5) / ratio - 0.5  # from the sample, in samples
        other = before if place < 0 else after
        phases.append((1 - abs(place)) * image + abs(place) * other)
    return torch.stack(phases, dim + 1).flatten(dim, dim + 1)
