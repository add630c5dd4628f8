"""Least squares from moments, and division that is safe for flat images.

A statistic of each band has the shape (B, C, 1, 1), so that it multiplies the image. Deviations
and covariances are those of the population: only their quotients are used.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

# Directions with less than this share of the regressors' variance are left out.
RANK_TOLERANCE = 1e-12


def divide(numerator: Tensor, denominator: Tensor, otherwise: float = 0.0) -> Tensor:
    """Divides, with `otherwise` for denominators of zero."""
    if not (numerator.is_meta or denominator.is_meta or torch.compiler.is_exporting()):
        # The sum shows whether any quotient needs a correction.
        quotient = numerator / denominator
        if bool(torch.isfinite(quotient.sum())):
            return quotient
    zero = denominator == 0
    quotient = numerator / torch.where(zero, torch.ones_like(denominator), denominator)
    return torch.where(zero, torch.full_like(quotient, otherwise), quotient)


def regress(gram: Tensor, cross: Tensor) -> Tensor:
    """Solves the normal equations of K regressors for each of C targets.

    Args:
        gram: (B, K, K), products of the regressors, summed or averaged over pixels.
        cross: (B, K, C), products of regressors and targets, likewise.
    Returns:
        Least-squares weights (B, K, C); the solution of least norm for dependent regressors.
    """
    # Scaled to a diagonal of ones, so that the brightness of bands has no effect on the rank.
    scale = gram.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    scale = divide(torch.ones_like(scale), scale)[..., None]  # (B, K, 1)
    scaled = scale * gram * scale.transpose(1, 2)
    return scale * (
        torch.linalg.pinv(scaled, rtol=RANK_TOLERANCE, hermitian=True) @ (scale * cross)
    )


def regress_with_constant(
    covariance: Tensor, cross: Tensor, mean: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Regresses each of C targets on K regressors and a constant.

    Args:
        covariance: (B, K, K) of the regressors.
        cross: (B, K, C) of regressors and targets.
        mean: (B, K, 1, 1) of the regressors.
        target: (B, C, 1, 1), means of the targets.
    Returns:
        Weights (B, K, C) and constants (B, C, 1, 1); the solution of least norm for dependent or
        constant regressors.
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
    """Solves `regress` with weights that are zero or have the given sign, by active sets.

    Args:
        gram: (B, K, K).
        cross: (B, K, C).
        signs: (K,), +1 or -1.
    Returns:
        (B, K, C).

    Source: Lawson and Hanson, "Solving Least Squares Problems", 1974.
    """
    if gram.is_meta:
        return torch.empty_like(cross)
    sign = signs.to(gram)[:, None]
    values, vectors = torch.linalg.eigh(sign * gram * sign.T)
    kept = values.clamp(min=0).sqrt()
    kept = torch.where(values > RANK_TOLERANCE * values[:, -1:], kept, torch.zeros_like(kept))
    # A square root of the Gram matrix replaces the many rows of pixels.
    root = kept[..., None] * vectors.transpose(1, 2)  # (B, K, K)
    right = divide(vectors.transpose(1, 2) @ (sign * cross), kept[..., None].expand_as(cross))
    weights = np.empty(cross.shape)
    for b, (matrix, columns) in enumerate(zip(root.cpu().numpy(), right.cpu().numpy())):
        for c in range(columns.shape[1]):
            weights[b, :, c] = nnls(matrix, columns[:, c])[0]
    return sign * torch.from_numpy(weights).to(gram)


def combine(images: Tensor, weights: Tensor) -> Tensor:
    """Computes weighted sums of bands.

    Args:
        images: (B, K, H, W).
        weights: (B, K, C).
    Returns:
        (B, C, H, W), in the images' dtype. Summed band by band, so that a window has the same bits
        as the whole image.
    """
    factors = weights.to(images)[..., None, None]  # (B, K, C, 1, 1)
    total = factors[:, 0] * images[:, :1]
    for k in range(1, images.shape[1]):
        total = total + factors[:, k] * images[:, k : k + 1]
    return total
