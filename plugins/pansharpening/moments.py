"""Means, co-moments and percentiles of images that are seen block by block.

What is summed up depends on the blocks and their order alone, not on who computes them: a scene
that is streamed gives the same bits as one in memory, with any number of threads or machines.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """Of K images in a batch of B, over the pixels seen so far.

    Attributes:
        count: (B, 1) pixels.
        mean: (B, K).
        comoment: (B, K, K), sums of products of deviations from the mean; exactly zero where an
            image is constant.
    """

    count: Tensor
    mean: Tensor
    comoment: Tensor

    @classmethod
    def of(cls, images: Tensor, valid: Tensor | None = None) -> Moments:
        """Of the pixels of a block, float64 on the CPU.

        Args:
            images: (B, K, h, w).
            valid: (B, 1, h, w) bool, which pixels count; None for all.
        """
        b, k, h, w = images.shape
        # Relative to one of their pixels, so that constants leave no rounding behind.
        start = images[:, :, :1, :1].double()
        lines = torch.empty(b, h, k, w, dtype=torch.float64, device=images.device)
        torch.sub(images.transpose(1, 2), start.transpose(1, 2), out=lines)
        if valid is not None:
            lines *= valid.transpose(1, 2)
        # Line by line: small products that no number of threads cuts in other places.
        lines = lines.view(b * h, k, w)
        products = torch.bmm(lines, lines.transpose(1, 2)).view(b, h, k, k).sum(1)
        sums = lines.sum(2).view(b, h, k).sum(1)  # (B, K)
        if valid is None:
            count = torch.full((b, 1), float(h * w), dtype=torch.float64, device=images.device)
        else:
            count = valid.double().sum((2, 3))
        share = sums / count.clamp(min=1)
        comoment = products - share[:, :, None] * sums[:, None]
        return cls(count, start.flatten(1) + share, comoment)

    def joined(self, other: Moments) -> Moments:
        """Of both sets of pixels (Chan, Golub and LeVeque, "Updating formulae and a pairwise
        algorithm for computing sample variances", 1979)."""
        count = self.count + other.count  # (B, 1)
        share = other.count / count.clamp(min=1)
        step = torch.where(self.count > 0, other.mean - self.mean, 0)
        # Of two equal means nothing may be left over.
        mean = torch.where(self.count > 0, self.mean + share * step, other.mean)
        step = torch.where(other.count > 0, step, 0)
        mean = torch.where(other.count > 0, mean, self.mean)
        between = (self.count * share)[..., None] * step[:, :, None] * step[:, None]
        return Moments(count, mean, self.comoment + other.comoment + between)

    # -- what is asked of them, images by slices of K ------------------------------------------

    def means(self, images: slice) -> Tensor:
        """(B, k)."""
        return self.mean[:, images]

    def covariance(self, first: slice, second: slice) -> Tensor:
        """Of the population, (B, k, l)."""
        return self.comoment[:, first, second] / self.count.clamp(min=1)[..., None]

    def variance(self, images: slice) -> Tensor:
        """Of the population, (B, k)."""
        return self.covariance(images, images).diagonal(dim1=1, dim2=2).clamp(min=0)

    def raw(self, first: slice, second: slice) -> Tensor:
        """Means of products, (B, k, l)."""
        product = self.mean[:, first, None] * self.mean[:, None, second]
        return self.covariance(first, second) + product


def upper_counts(images: Tensor, valid: Tensor | None = None) -> Tensor:
    """How many values of each image have which upper 16 bits, as float32 in ascending order.

    Two looks at all pixels, one at the upper and one at the lower bits of those that matter, find
    any percentile exactly.

    Args:
        images: (B, K, h, w).
        valid: (B, 1, h, w) bool, which pixels count; None for all.
    Returns:
        (B, K, 65536) int64.
    """
    key = _ordered(images) >> 16
    return _counted(key, None if valid is None else valid.expand_as(key))


def lower_counts(images: Tensor, bins: Tensor, valid: Tensor | None = None) -> Tensor:
    """The same by the lower 16 bits, of the values in each of the bins (B, K, n) of the upper ones.

    Returns:
        (B, K n, 65536) int64.
    """
    key = _ordered(images)
    found = []
    for i in range(bins.shape[2]):
        chosen = (key >> 16) == bins[:, :, i, None, None]
        found.append(_counted(key & 0xFFFF, chosen if valid is None else chosen & valid))
    return torch.stack(found, 2).flatten(1, 2)


class Counter:
    """Counts of all blocks, to which several threads may add in any order.

    Attributes:
        total: (B, K, 65536) int64.
    """

    total: Tensor

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def add(self, counts: Tensor) -> None:
        """Those of a block."""
        with self._lock:
            if hasattr(self, 'total'):
                self.total += counts
            else:
                self.total = counts


class Percentile:
    """A percentile of K images as MATLAB's `prctile` has it, from two looks at all pixels.

    The i-th of n sorted values is the percentile 100 (i - 1/2) / n, linear between them.

    Args:
        percent: which one, 0 for the minimum.
        upper: (B, K, 65536) counts by the upper 16 bits.
    """

    def __init__(self, percent: float, upper: Tensor) -> None:
        count = upper.sum(2)  # (B, K)
        place = (percent / 100 * count + 0.5).clamp(min=1).minimum(count.double())
        below = place.floor().clamp(min=1)
        ranks = torch.stack([below, (below + 1).minimum(count.double())], 2).long()  # (B, K, 2)
        self.share = (place - below).clamp(min=0)
        ends = upper.cumsum(2)  # (B, K, 65536)
        self.bins = torch.searchsorted(ends, ranks).clamp(max=65535)  # (B, K, 2)
        self.ranks = ranks - (ends - upper).gather(2, self.bins)  # inside their bins
        self.empty = count == 0

    def value(self, lower: Tensor) -> Tensor:
        """(B, K) float64 from the counts (B, 2 K, 65536) by the lower bits in `bins`; 0 of
        nothing."""
        b, k = self.share.shape
        ends = lower.view(b, k, 2, -1).cumsum(3)
        low_bits = torch.searchsorted(ends, self.ranks[..., None])[..., 0].clamp(max=65535)
        values = _number((self.bins << 16) + low_bits).double()  # (B, K, 2)
        value = values[..., 0] + self.share * (values[..., 1] - values[..., 0])
        return torch.where(self.empty, 0, value)


def _ordered(images: Tensor) -> Tensor:
    """float32 numbers as integers from 0 to 2**32 in the same order, int64."""
    bits = images.float().contiguous().view(torch.int32)
    # The bits of negative numbers ascend the wrong way round.
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long() + 2**31


def _number(ordered: Tensor) -> Tensor:
    bits = (ordered - 2**31).to(torch.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(torch.float32)


def _counted(key: Tensor, chosen: Tensor | None) -> Tensor:
    b, k = key.shape[:2]
    if key.is_meta:
        return key.new_empty(b, k, 65536)
    rows = [
        torch.bincount(
            key[i, j].flatten() if chosen is None else key[i, j][chosen[i, j]], minlength=65536
        )
        for i in range(b)
        for j in range(k)
    ]
    return torch.stack(rows).view(b, k, 65536)
