"""Statistics of whole images, and divisions that a flat image does not break.

Images are (B, C, H, W); a statistic of each band is (B, C, 1, 1), so that it multiplies the image.
Deviations and covariances are those of the population: only their quotients are used.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

# Directions in which the regressors hold less than this share of their variance are left out.
RANK_TOLERANCE = 1e-12


def mean(image: Tensor) -> Tensor:
    """Mean of each band, (B, C, 1, 1)."""
    return image.mean((2, 3), keepdim=True)


def deviation(image: Tensor) -> Tensor:
    """Standard deviation of each band, (B, C, 1, 1)."""
    return (image - mean(image)).square().mean((2, 3), keepdim=True).sqrt()


def covariance(x: Tensor, y: Tensor) -> Tensor:
    """Covariance of the bands of `x` with those of `y`, either may have one: (B, C, 1, 1)."""
    return mean((x - mean(x)) * (y - mean(y)))


def correlation(x: Tensor, y: Tensor) -> Tensor:
    """Correlation of the bands of `x` with those of `y`, (B, C, 1, 1); 0 where one is constant."""
    return divide(covariance(x, y), deviation(x) * deviation(y))


def divide(numerator: Tensor, denominator: Tensor, otherwise: float = 0.0) -> Tensor:
    """The quotient, and `otherwise` where the denominator is zero."""
    zero = denominator == 0
    quotient = numerator / torch.where(zero, torch.ones_like(denominator), denominator)
    return torch.where(zero, torch.full_like(quotient, otherwise), quotient)


def smallest(image: Tensor, percent: float) -> Tensor:
    """A percentile of each band, (B, C, 1, 1): that of MATLAB's `prctile`.

    The i-th of n sorted values is the percentile 100 (i - 1/2) / n, linear between them.
    """
    values = image.flatten(2)  # (B, C, H W)
    count = values.shape[2]
    place = min(max(percent / 100 * count + 0.5, 1.0), float(count))  # from 1 on
    below = int(place)
    low = values.kthvalue(below, dim=2).values
    high = values.kthvalue(min(below + 1, count), dim=2).values
    return (low + (place - below) * (high - low))[..., None, None]


def with_ones(image: Tensor) -> Tensor:
    """A band of ones behind the others, for the constant of a regression: (B, C + 1, H, W)."""
    return torch.cat([image, torch.ones_like(image[:, :1])], 1)


def regress(regressors: Tensor, targets: Tensor) -> Tensor:
    """Least-squares weights of K images for each of C target images.

    Args:
        regressors: (B, K, h, w); `with_ones` of the images where a constant is wanted.
        targets: (B, C, h, w).
    Returns:
        (B, K, C); of the solutions for dependent regressors, the one of least norm.
    """
    gram, cross = _normal_equations(regressors, targets)
    # Scaled to a diagonal of ones, so that bands of any brightness count alike.
    scale = gram.diagonal(dim1=1, dim2=2).sqrt()
    scale = divide(torch.ones_like(scale), scale)[..., None]  # (B, K, 1)
    scaled = scale * gram * scale.transpose(1, 2)
    return scale * (
        torch.linalg.pinv(scaled, rtol=RANK_TOLERANCE, hermitian=True) @ (scale * cross)
    )


def regress_signed(regressors: Tensor, targets: Tensor, signs: Tensor) -> Tensor:
    """`regress` with each weight zero or of a given sign (Lawson and Hanson's active sets).

    Args:
        regressors: (B, K, h, w).
        targets: (B, C, h, w).
        signs: (K,), +1 or -1.
    Returns:
        (B, K, C).
    """
    gram, cross = _normal_equations(regressors, targets)
    if gram.is_meta:
        return torch.empty_like(cross)
    sign = signs.to(gram)[:, None]
    values, vectors = torch.linalg.eigh(sign * gram * sign.T)
    kept = values.clamp(min=0).sqrt()
    kept = torch.where(values > RANK_TOLERANCE * values[:, -1:], kept, torch.zeros_like(kept))
    # A square root of the Gram matrix stands for the many rows of pixels.
    root = kept[..., None] * vectors.transpose(1, 2)  # (B, K, K)
    right = divide(vectors.transpose(1, 2) @ (sign * cross), kept[..., None].expand_as(cross))
    weights = np.empty(cross.shape)
    for b, (matrix, columns) in enumerate(zip(root.cpu().numpy(), right.cpu().numpy())):
        for c in range(columns.shape[1]):
            weights[b, :, c] = nnls(matrix, columns[:, c])[0]
    return sign * torch.from_numpy(weights).to(gram)


def combine(images: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of bands.

    Args:
        images: (B, K, H, W).
        weights: (B, K, C), or (B, K + 1, C) with a constant behind.
    Returns:
        (B, C, H, W). Band by band, so that any window gives the same bits as the whole.
    """
    bands = images.shape[1]
    factors = weights[..., None, None]  # (B, K, C, 1, 1)
    total = factors[:, 0] * images[:, :1]
    for k in range(1, bands):
        total = total + factors[:, k] * images[:, k : k + 1]
    return total + factors[:, bands] if weights.shape[1] > bands else total


def _normal_equations(regressors: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    a, y = regressors.flatten(2), targets.flatten(2)  # (B, K, N), (B, C, N)
    return a @ a.transpose(1, 2), a @ y.transpose(1, 2)
