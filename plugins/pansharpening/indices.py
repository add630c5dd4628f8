"""Quality indices against a reference, in the field's definitions (variant `toolbox`).

All take torch tensors or numpy arrays of one image (C, H, W) or a batch (B, C, H, W), compute in
float64 and return one value per image, shape () or (B,). `ratio`, blocks and digital numbers are as
in the DLPan toolbox (Deng et al., IEEE GRSM 2022), whose figures they reproduce.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Image = Tensor | np.ndarray


def sam(image: Image, reference: Image) -> Tensor:
    """Spectral angle mapper: mean angle between the two spectra of each pixel, in degrees.

    Pixels where either spectrum is zero are left out; NaN where all are. Lower is better, 0 best.

    Source: Yuhas, Goetz and Boardman, 1992.
    """
    x, y, lead = _pair(image, reference)
    dot = (x * y).sum(1)
    norm = (x.square().sum(1) * y.square().sum(1)).sqrt()  # (B, H, W)
    seen = norm > 0
    angle = torch.acos((dot / norm.where(seen, torch.ones_like(norm))).clamp(-1, 1))
    total = angle.where(seen, torch.zeros_like(angle)).sum((1, 2))
    return torch.rad2deg(total / seen.sum((1, 2))).reshape(lead)


def ergas(image: Image, reference: Image, ratio: int) -> Tensor:
    """Relative dimensionless global error: 100 / ratio sqrt(mean_b(MSE_b / mean_b(reference)^2)).

    Lower is better, 0 best; infinite or NaN where a band of the reference has mean 0.

    Source: Wald, "Data Fusion", 2002.
    """
    x, y, lead = _pair(image, reference)
    relative = (x - y).square().mean((2, 3)) / y.mean((2, 3)).square()  # (B, C)
    return (100 / ratio * relative.mean(1).sqrt()).reshape(lead)


def q2n(image: Image, reference: Image, block: int = 32) -> Tensor:
    """Q2n (Q4, Q8): correlation, brightness and contrast of spectra as hypercomplex numbers.

    Args:
        image: in digital numbers; rounded to uint16 as the toolbox does.
        reference: the same; its blocks set the normalisation.
        block: side of the distinct blocks, in pixels; the last ones are completed by mirroring.
    Returns:
        Mean of the blocks' moduli, at most 1. Higher is better.

    Source: Garzelli and Nencini, "Hypercomplex quality assessment of multi/hyperspectral images",
    IEEE GRSL 6(4), 2009.
    """
    x, y, lead = _pair(image, reference)
    bands = x.shape[1]
    n = 1 << (bands - 1).bit_length()
    pad = (0, 0, 0, n - bands)
    x, y = (F.pad(_blocks(_as_uint16(t), block), pad) for t in (y, x))  # x is the reference
    pixels = block * block  # x, y: (B, blocks, n, pixels)

    # Everything follows from sums of products, which are exact: the values are integers.
    sum_x, sum_y = x.sum(-1), y.sum(-1)  # (B, blocks, n)
    unbiased = 1 / (pixels * (pixels - 1))
    var_x = unbiased * (pixels * x.square().sum(-1) - sum_x.square())
    var_y = unbiased * (pixels * y.square().sum(-1) - sum_y.square())
    cross = pixels * (x @ y.transpose(-1, -2)) - sum_x.unsqueeze(-1) * sum_y.unsqueeze(-2)
    cross = unbiased * cross  # (B, blocks, n, n)

    # Both are normalised by the reference's mean and deviation, and one is added; a band that is
    # zero throughout the reference is only moved by one in the image.
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
    covariance = torch.einsum('bkij,ijm->bkm', cross, _cayley_dickson(n).to(cross)).norm(dim=-1)
    bias = 2 * (power_x * power_y).sqrt() / (power_x + power_y)
    flat = variance == 0
    q = bias * torch.where(
        flat, torch.ones_like(bias), 2 * covariance / variance.where(~flat, torch.ones_like(bias))
    )
    return q.mean(1).reshape(lead)


@functools.cache
def _cayley_dickson(n: int) -> Tensor:
    """Structure constants (n, n, n): e_i e_j = sum_m table[i, j, m] e_m, for n a power of two."""
    if n == 1:
        return torch.ones(1, 1, 1, dtype=torch.float64)
    half = n // 2
    smaller = _cayley_dickson(half)
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


def _blocks(image: Tensor, block: int) -> Tensor:
    """(B, C, H, W) -> (B, blocks, C, block * block), completed by mirroring the last pixels."""
    b, c, h, w = image.shape
    rows, cols = math.ceil(h / block), math.ceil(w / block)
    for dim, grow in ((2, rows * block - h), (3, cols * block - w)):
        if grow:
            extent = image.shape[dim]
            index = torch.arange(extent + grow, device=image.device).remainder(2 * extent)
            index = torch.where(index < extent, index, 2 * extent - 1 - index)
            image = image.index_select(dim, index)
    tiles = image.reshape(b, c, rows, block, cols, block).permute(0, 2, 4, 1, 3, 5)
    return tiles.reshape(b, rows * cols, c, block * block)


def _as_uint16(image: Tensor) -> Tensor:
    """MATLAB's conversion: halves away from zero, saturating."""
    return (image + 0.5).floor().clamp(0, 65535)


def _pair(image: Image, reference: Image) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Both as (B, C, H, W) float64, and the shape of the result."""
    x, y = (torch.as_tensor(t).detach().to(torch.float64) for t in (image, reference))
    if x.shape != y.shape or x.ndim not in (3, 4):
        raise ValueError(
            f'an image and its reference have one shape, (C, H, W) or (B, C, H, W); found '
            f'{tuple(x.shape)} and {tuple(y.shape)}'
        )
    lead = tuple(x.shape[:-3])
    return x.reshape(-1, *x.shape[-3:]), y.reshape(-1, *y.shape[-3:]), lead
