"""Quality index of Wang and Bovik: in sliding windows, on blocks, and for spectra (Q2n)."""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from plugins.pansharpening.imaging.masks import (
    Image,
    by_strips,
    inner_windows,
    mean,
    pair,
    window_sums,
)

# Numbers below this throughout are no digital numbers, of which rounding would leave nothing.
LEAST_NUMBER = 2.0
# A window is constant if its variance over its squared mean is below this: rounding in float64.
ROUNDING = 1e-13


def q(image: Image, reference: Image, block: int = 32, mask: Image | None = None) -> Tensor:
    """Universal quality index: mean over all windows inside the image, then over bands.

    Args:
        block: side of the sliding windows, in pixels.
        mask: windows that touch an invalid pixel are left out.
    Returns:
        Between -1 and 1, higher is better. Two constant windows have the similarity of their
        means, two windows of zeros have 1.
    Raises:
        ValueError: the image is smaller than a window.

    Source: Wang and Bovik, "A universal image quality index", IEEE SPL 9(3), 2002.
    """
    x, y, valid, lead = pair(image, reference, mask)
    if not 1 < block <= min(x.shape[-2:]):
        raise ValueError(f'no windows of {block} x {block} pixels in {tuple(x.shape[-2:])}')
    values = by_strips(lambda a, b: _map_q(a, b, block), x, y, block)
    return mean(values, inner_windows(valid, block)).mean(1).reshape(lead)


def compare_bands(
    images: Tensor, others: Tensor | None, block: int, valid: Tensor | None = None
) -> Tensor:
    """Computes the index of every band of one image with every band of another, on distinct blocks.

    Args:
        images: (B, C, H, W) float64.
        others: (B, D, H, W) float64; None for the image itself.
        block: side of the blocks; the last ones are smaller if the size is not a multiple.
        valid: (B, 1, H, W) bool; blocks that hold an invalid pixel are left out.
    Returns:
        (B, C, D), means over the blocks; NaN if none is valid.
    """
    ones = images.new_ones(1, 1, *images.shape[-2:])
    count = _cut_zero_padded_blocks(ones, block).sum(-1)[..., None]
    x = _cut_zero_padded_blocks(images, block)  # (B, blocks, C, pixels)
    y = x if others is None else _cut_zero_padded_blocks(others, block)
    mean_x, power_x = x.sum(-1, keepdim=True) / count, x.square().sum(-1, keepdim=True) / count
    mean_y, power_y = mean_x, power_x
    if others is not None:
        mean_y, power_y = y.sum(-1, keepdim=True) / count, y.square().sum(-1, keepdim=True) / count
    mean_y, power_y = mean_y.transpose(-1, -2), power_y.transpose(-1, -2)  # (B, blocks, 1, D)
    means, squares = mean_x * mean_y, mean_x.square() + mean_y.square()  # (B, blocks, C, D)
    covariance = x @ y.transpose(-1, -2) / count - means
    quality = _compare_moments(covariance, power_x + power_y - squares, means, squares)
    return _average_blocks(quality, valid, block)


def q2n(
    image: Image,
    reference: Image,
    block: int = 32,
    mask: Image | None = None,
    rounded: bool = True,
) -> Tensor:
    """Q2n (Q4, Q8): correlation, brightness and contrast of spectra as hypercomplex numbers.

    Args:
        image: in digital numbers.
        reference: likewise; its blocks set the normalization.
        block: side of the distinct blocks, in pixels; the last ones are completed by mirroring.
        mask: blocks that hold an invalid pixel are left out.
        rounded: whether images are rounded to uint16 first, as in the toolbox; images whose
            reference is below `LEAST_NUMBER` throughout are reflectances and never rounded.
    Returns:
        Mean of the blocks' moduli, at most 1. Higher is better.

    Source: Garzelli and Nencini, "Hypercomplex quality assessment of multi/hyperspectral images",
    IEEE GRSL 6(4), 2009.
    """
    x, y, valid, lead = pair(image, reference, mask)
    if rounded and bool(y.abs().max() >= LEAST_NUMBER):
        x, y = _round_to_uint16(x), _round_to_uint16(y)
    bands = x.shape[1]
    n = 1 << (bands - 1).bit_length()
    pad = (0, 0, 0, n - bands)
    x, y = (F.pad(_cut_mirrored_blocks(t, block), pad) for t in (y, x))  # x is the reference
    pixels = block * block  # x, y: (B, blocks, n, pixels)

    # Everything follows from sums of products, which are exact for integers.
    sum_x, sum_y = x.sum(-1), y.sum(-1)  # (B, blocks, n)
    unbiased = 1 / (pixels * (pixels - 1))
    var_x = (unbiased * (pixels * x.square().sum(-1) - sum_x.square())).clamp(min=0)
    var_y = (unbiased * (pixels * y.square().sum(-1) - sum_y.square())).clamp(min=0)
    cross = pixels * (x @ y.transpose(-1, -2)) - sum_x.unsqueeze(-1) * sum_y.unsqueeze(-2)
    cross = unbiased * cross  # (B, blocks, n, n)

    # Both are normalized by the reference's mean and deviation, and 1 is added; to a band that is
    # zero throughout the reference, 1 is only added.
    mean_x, mean_y = sum_x / pixels, sum_y / pixels
    deviation = var_x.sqrt()
    gain_x = 1 / deviation.where(deviation > 0, torch.full_like(deviation, np.finfo(float).eps))
    gain_y = gain_x.where(mean_x != 0, torch.ones_like(gain_x))
    power_x = torch.full_like(sum_x[..., 0], n)
    power_y = ((mean_y - mean_x) * gain_y + 1).square().sum(-1)
    variance = (var_x * gain_x.square() + var_y * gain_y.square()).sum(-1)
    conjugate = torch.cat([torch.ones(1), -torch.ones(n - 1)]).to(cross)
    cross = cross * gain_x.unsqueeze(-1) * (gain_y * conjugate).unsqueeze(-2)
    # The hypercomplex product is bilinear, so its mean needs only the n x n covariances.
    table = _build_cayley_dickson(n).to(cross)
    covariance = torch.einsum('bkij,ijm->bkm', cross, table).norm(dim=-1)
    bias = 2 * (power_x * power_y).sqrt() / (power_x + power_y)
    flat = variance == 0
    quality = bias * torch.where(
        flat, torch.ones_like(bias), 2 * covariance / variance.where(~flat, torch.ones_like(bias))
    )
    if valid is None:
        return quality.mean(1).reshape(lead)
    whole = _cut_mirrored_blocks(valid, block).all(-1).squeeze(-1)  # (B, blocks)
    quality = quality.where(whole, torch.zeros_like(quality))
    return (quality.sum(1) / whole.sum(1)).reshape(lead)


def _map_q(x: Tensor, y: Tensor, block: int) -> Tensor:
    """Computes the index of all windows: (B, C, H, W) twice -> (B, C, H - block + 1, ...)."""
    sum_x, sum_y = window_sums(x, block), window_sums(y, block)
    means, squares = sum_x * sum_y, sum_x.square() + sum_y.square()
    covariance = block**2 * window_sums(x * y, block) - means
    variances = block**2 * window_sums(x.square() + y.square(), block) - squares
    return _compare_moments(covariance, variances, means, squares)


def _compare_moments(
    covariance: Tensor, variances: Tensor, means: Tensor, squares: Tensor
) -> Tensor:
    """Computes 4 cov mean mean / ((var + var)(mean^2 + mean^2)), with 1 for a factor of 0 / 0."""
    one = torch.ones((), dtype=squares.dtype, device=squares.device)
    flat = variances <= ROUNDING * squares
    dark = squares == 0
    bias = torch.where(dark, one, 2 * means / squares.where(~dark, one))
    return bias * torch.where(flat, one, 2 * covariance / variances.where(~flat, one))


def _cut_zero_padded_blocks(image: Tensor, block: int) -> Tensor:
    """Cuts an image, padded with zeros: (B, C, H, W) -> (B, blocks, C, block * block)."""
    height, width = image.shape[-2:]
    if height % block or width % block:
        image = F.pad(image, (0, -width % block, 0, -height % block))
    return _cut_blocks(image, block)


def _average_blocks(values: Tensor, valid: Tensor | None, block: int) -> Tensor:
    """Averages over the blocks without an invalid pixel: (B, blocks, C, D) -> (B, C, D)."""
    if valid is None:
        return values.mean(1)
    # An integer type, since not every operation on blocks takes booleans on every device.
    whole = _cut_zero_padded_blocks((~valid).to(torch.uint8), block).sum(-1)[..., None] == 0
    return values.where(whole, torch.zeros_like(values)).sum(1) / whole.sum(1)


@functools.cache
def _build_cayley_dickson(n: int) -> Tensor:
    """Builds the constants (n, n, n) of e_i e_j = sum_m table[i, j, m] e_m, n a power of two."""
    if n == 1:
        return torch.ones(1, 1, 1, dtype=torch.float64)
    half = n // 2
    smaller = _build_cayley_dickson(half)
    sign = -torch.ones(half, dtype=torch.float64)
    sign[0] = 1  # conjugation keeps the real part
    table = torch.zeros(n, n, n, dtype=torch.float64)
    swapped = smaller.transpose(0, 1)
    # (a, b)(c, d) = (a c - conj(d) b, conj(a) conj(d) + c conj(b)), the toolbox's convention.
    table[:half, :half, :half] = smaller
    table[half:, half:, :half] = -(swapped * sign[None, :, None])
    table[:half, half:, half:] = smaller * sign[:, None, None] * sign[None, :, None]
    table[half:, :half, half:] = swapped * sign[:, None, None]
    return table


def _cut_mirrored_blocks(image: Tensor, block: int) -> Tensor:
    """Cuts an image, padded by its mirror image: (B, C, H, W) -> (B, blocks, C, block * block)."""
    h, w = image.shape[-2:]
    for dim, grow in ((2, -h % block), (3, -w % block)):
        if grow:
            extent = image.shape[dim]
            index = torch.arange(extent + grow, device=image.device).remainder(2 * extent)
            index = torch.where(index < extent, index, 2 * extent - 1 - index)
            image = image.index_select(dim, index)
    return _cut_blocks(image, block)


def _cut_blocks(image: Tensor, block: int) -> Tensor:
    """Cuts an image whose size is a multiple of the blocks'."""
    return rearrange(image, 'b c (rows h) (cols w) -> b (rows cols) c (h w)', h=block, w=block)


def _round_to_uint16(image: Tensor) -> Tensor:
    """Rounds as MATLAB does: halves away from zero, saturating."""
    return (image + 0.5).floor().clamp(0, 65535)
