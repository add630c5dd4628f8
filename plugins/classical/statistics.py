"""Least squares from moments, and divisions that a flat image does not break.

A statistic of each band is (B, C, 1, 1), so that it multiplies the image. Deviations and
covariances are those of the population: only their quotients are used.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

# Directions in which the regressors hold less than this share of their variance are left out.
RANK_TOLERANCE = 1e-12


def divide(numerator: Tensor, denominator: Tensor, otherwise: float = 0.0) -> Tensor:
    """The quotient, and `otherwise` where the denominator is zero."""
    if not (numerator.is_meta or denominator.is_meta):
        # One look at the sum tells whether there is anything to be put right.
        quotient = numerator / denominator
        if bool(torch.isfinite(quotient.sum())):
            return quotient
    zero = denominator == 0
    quotient = numerator / torch.where(zero, torch.ones_like(denominator), denominator)
    return torch.where(zero, torch.full_like(quotient, otherwise), quotient)


def regress(gram: Tensor, cross: Tensor) -> Tensor:
    """Least-squares weights of K regressors for each of C targets, from their normal equations.

    Args:
        gram: (B, K, K), products of the regressors, summed or averaged over pixels.
        cross: (B, K, C), products of regressors and targets, likewise.
    Returns:
        (B, K, C); of the solutions for dependent regressors, the one of least norm.
    """
    # Scaled to a diagonal of ones, so that bands of any brightness count alike.
    scale = gram.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    scale = divide(torch.ones_like(scale), scale)[..., None]  # (B, K, 1)
    scaled = scale * gram * scale.transpose(1, 2)
    return scale * (
        torch.linalg.pinv(scaled, rtol=RANK_TOLERANCE, hermitian=True) @ (scale * cross)
    )


def regress_with_constant(
    covariance: Tensor, cross: Tensor, mean: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Least-squares weights of K regressors and a constant for each of C targets.

    Args:
        covariance: (B, K, K) of the regressors.
        cross: (B, K, C) of regressors and targets.
        mean: (B, K, 1, 1) of the regressors.
        target: (B, C, 1, 1), means of the targets.
    Returns:
        Weights (B, K, C) and constants (B, C, 1, 1); of the solutions for dependent regressors,
        constant ones among them, those of least norm.
    """
    mean, target = mean[..., 0], target[:, None, :, 0, 0]  # (B, K, 1), (B, 1, C)
    one = torch.ones_like(mean[:, :1])
    gram = torch.cat(
        [
            torch.cat([covariance + mean @ mean.transpose(1, 2), mean], 2),
            torch.cat([mean.transpose(1, 2), one], 2),
        ],
        1,
    )  # (B, K + 1, K + 1)
    weights = regress(gram, torch.cat([cross + mean @ target, target], 1))
    return weights[:, :-1], weights[:, -1, :, None, None]


def regress_signed(gram: Tensor, cross: Tensor, signs: Tensor) -> Tensor:
    """`regress` with each weight zero or of a given sign (Lawson and Hanson's active sets).

    Args:
        gram: (B, K, K).
        cross: (B, K, C).
        signs: (K,), +1 or -1.
    Returns:
        (B, K, C).
    """
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
        weights: (B, K, C).
    Returns:
        (B, C, H, W), in the images' dtype. Band by band, so that any window gives the same bits as
        the whole.
    """
    factors = weights.to(images)[..., None, None]  # (B, K, C, 1, 1)
    total = factors[:, 0] * images[:, :1]
    for k in range(1, images.shape[1]):
        total = total + factors[:, k] * images[:, k : k + 1]
    return total
