"""Means, co-moments and percentiles of images that are seen block by block.

What is summed up depends on the blocks and their order alone, not on who computes them: a scene
that is streamed gives the same bits as one in memory, with any number of threads or machines.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# An image (B, K, h, w), or several whose bands come one after the other.
Images = Tensor | Sequence[Tensor]


class Moments(NamedTuple):
    """Means and co-moments of K images in a batch of B, over the pixels added so far.

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
    def of(cls, images: Images, valid: Tensor | None = None) -> Moments:
        """Computes the moments of a block; sums of its lines are added up in float64.

        Args:
            images: of K bands together.
            valid: (B, 1, h, w) bool, pixels that count; None for all.
        """
        parts = [images] if isinstance(images, Tensor) else images
        bands = [part.shape[1] for part in parts]
        b, _, h, w = parts[0].shape
        # Relative to about their means: float32 has few digits left where all pixels are far from
        # what is subtracted, such as a bright one. Of constants nothing is left, or the same digit.
        start = torch.cat([_compute_means(part, valid) for part in parts], 1)  # (B, K, 1, 1)
        relative = start.new_empty(b, sum(bands), h, w)
        for part, first, place in zip(parts, start.split(bands, 1), relative.split(bands, 1)):
            torch.sub(part, first, out=place)
        if valid is not None:
            relative *= valid
        # Line by line: small products that no number of threads cuts in other places. A line of
        # float32 has some hundred pixels, so that its sum keeps the digits that they have.
        lines = relative.transpose(1, 2).reshape(b * h, -1, w)  # (B h, K, w)
        if lines.is_cuda:  # where `precision: tf32` would round float32 products to ten bits
            lines = lines.double()
        products = torch.bmm(lines, lines.transpose(1, 2)).double().unflatten(0, (b, h)).sum(1)
        sums = lines.sum(2).double().unflatten(0, (b, h)).sum(1)  # (B, K)
        if valid is None:
            count = torch.full((b, 1), float(h * w), dtype=torch.float64, device=start.device)
        else:
            count = valid.double().sum((2, 3))
        share = sums / count.clamp(min=1)
        comoment = products - share[:, :, None] * sums[:, None]
        return cls(count, start.flatten(1).double() + share, comoment)

    @classmethod
    def join(cls, parts: Sequence[Moments]) -> Moments:
        """Merges the moments of blocks.

        Means are compared with that of a block that counts, so that of equal ones nothing is left.
        """
        counts, means, comoments = (torch.stack(values) for values in zip(*parts, strict=True))
        count = counts.sum(0)  # (B, 1)
        some = (counts > 0).to(torch.uint8).argmax(0)[None].expand_as(means[:1])  # (1, B, K)
        base = means.gather(0, some)
        steps = torch.where(counts > 0, means - base, 0)
        mean = (counts * steps).sum(0) / count.clamp(min=1)  # (B, K), from the base
        rest = torch.where(counts > 0, steps - mean, 0)
        between = (counts[..., None] * rest[..., None] * rest[..., None, :]).sum(0)
        return cls(count, base[0] + mean, comoments.sum(0) + between)

    # -- statistics of images, selected by slices of K -----------------------------------------

    def means(self, images: slice) -> Tensor:
        """Returns the means, (B, k)."""
        return self.mean[:, images]

    def covariance(self, first: slice, second: slice) -> Tensor:
        """Computes the covariance of the population, (B, k, l)."""
        return self.comoment[:, first, second] / self.count.clamp(min=1)[..., None]

    def variance(self, images: slice) -> Tensor:
        """Computes the variance of the population, (B, k)."""
        return self.covariance(images, images).diagonal(dim1=1, dim2=2).clamp(min=0)

    def raw(self, first: slice, second: slice) -> Tensor:
        """Computes the means of products, (B, k, l)."""
        product = self.mean[:, first, None] * self.mean[:, None, second]
        return self.covariance(first, second) + product


def _compute_means(image: Tensor, valid: Tensor | None) -> Tensor:
    """Computes the means of every 8th line, in the precision of the image: (B, C, 1, 1)."""
    some = image[:, :, ::8]
    if valid is None:
        return some.mean(3).double().mean(2)[..., None, None].to(image.dtype)
    chosen = valid[:, :, ::8]
    sums = (some * chosen).sum(3).double().sum(2)
    return (sums / chosen.sum((2, 3)).clamp(min=1))[..., None, None].to(image.dtype)


class Counter:
    """Counts 16-bit values in each of several images.

    Blocks may come in any order and from several threads. Two passes over all pixels, one over the
    upper 16 bits of float32 numbers and one over the lower bits of the relevant ones, find any
    percentile exactly.
    """

    SIZE = 65536
    # Blocks whose numbers are gathered before they are counted, since the counts are many too.
    GATHERED = 8

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[list[Tensor]] = []
        self._counts: Tensor | None = None

    def add(self, rows: list[Tensor]) -> None:
        """Adds the values of a block: for each image, integers from 0 to 65535."""
        with self._lock:
            self._waiting.append(rows)
            if len(self._waiting) >= self.GATHERED:
                self._count()

    def total(self) -> Tensor:
        """Returns the counts of all added values: (images, 65536) int64."""
        with self._lock:
            self._count()
        assert self._counts is not None
        return self._counts

    def _count(self) -> None:
        joined = [torch.cat(rows) for rows in zip(*self._waiting)]
        self._waiting.clear()
        if not joined:
            return
        if joined[0].is_meta:
            found = joined[0].new_empty(len(joined), self.SIZE, dtype=torch.int64)
        else:
            found = torch.stack([torch.bincount(row, minlength=self.SIZE) for row in joined])
        self._counts = found if self._counts is None else self._counts.add_(found)


def upper_bits(images: Tensor, valid: Tensor | None = None) -> list[Tensor]:
    """Extracts the upper 16 bits of float32 numbers, for `Counter`.

    Args:
        images: (B, K, h, w).
        valid: (B, 1, h, w) bool, which pixels count; None for all.
    Returns:
        Of each of the B K images, those of all pixels that count.
    """
    bits = (_bits(images) >> 16) & 0xFFFF
    return _rows(bits, None if valid is None else valid.expand_as(bits))


def lower_bits(images: Tensor, upper: Tensor, valid: Tensor | None = None) -> list[Tensor]:
    """Extracts the lower 16 bits of numbers with given upper bits (B, K, n), for `Counter`.

    Returns:
        Of each of the B K images n times: those of all pixels that count.
    """
    bits = _bits(images)
    high = (bits >> 16) & 0xFFFF
    rows = []
    for i in range(upper.shape[2]):
        chosen = high == upper[:, :, i, None, None].to(torch.int32)
        rows.append(_rows(bits & 0xFFFF, chosen if valid is None else chosen & valid))
    return [row for group in zip(*rows) for row in group]


class Percentile:
    """A percentile of K images as MATLAB's `prctile` defines it, from two passes over all pixels.

    The i-th of n sorted values is the percentile 100 (i - 1/2) / n, linear between them.

    Args:
        percent: percentile, 0 for the minimum.
        counts: (B, K, 65536) of the upper 16 bits.

    Attributes:
        upper: (B, K, 2), the upper bits of the two numbers between which it lies.
    """

    def __init__(self, percent: float, counts: Tensor) -> None:
        # Negative numbers come first, and their bits ascend the wrong way round.
        positive, negative = counts.split(32768, 2)
        ordered = torch.cat([negative.flip(2), positive], 2)
        count = ordered.sum(2)  # (B, K)
        place = (percent / 100 * count + 0.5).clamp(min=1).minimum(count.double())
        below = place.floor().clamp(min=1)
        ranks = torch.stack([below, (below + 1).minimum(count.double())], 2).long()  # (B, K, 2)
        self._share = (place - below).clamp(min=0)
        ends = ordered.cumsum(2)  # (B, K, 65536)
        bins = torch.searchsorted(ends, ranks).clamp(max=65535)  # (B, K, 2)
        self._ranks = ranks - (ends - ordered).gather(2, bins)  # inside their bins
        self._negative = bins < 32768
        self.upper = torch.where(self._negative, 65535 - bins, bins - 32768)
        self._empty = count == 0

    def value(self, counts: Tensor) -> Tensor:
        """Computes the percentile (B, K) from counts (B, K, 2, 65536) of lower bits; 0 if empty."""
        ordered = torch.where(self._negative[..., None], counts.flip(3), counts)
        lower = torch.searchsorted(ordered.cumsum(3), self._ranks[..., None])[..., 0]
        lower = lower.clamp(max=65535)
        lower = torch.where(self._negative, 65535 - lower, lower)
        bits = (self.upper << 16) + lower
        values = bits.to(torch.int32).view(torch.float32).double()  # (B, K, 2)
        value = values[..., 0] + self._share * (values[..., 1] - values[..., 0])
        return torch.where(self._empty, 0, value)


def _bits(images: Tensor) -> Tensor:
    return images.float().contiguous().view(torch.int32)


def _rows(bits: Tensor, chosen: Tensor | None) -> list[Tensor]:
    flat = bits.flatten(0, 1)  # (B K, h, w)
    if chosen is None or flat.is_meta:
        return [row.flatten() for row in flat]
    return [row[some] for row, some in zip(flat, chosen.flatten(0, 1))]
