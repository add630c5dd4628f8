"""Modulation: details scaled by the quotient of a band and a low-pass image, also near zero.

Modulation multiplies the detail P - L by E / L, the gain that a band E has relative to the low-pass
image L. Where L comes near zero, in shadows and water or where the match to a band's mean and
deviation crosses it, E / L holds no more than what the band does not share with L, magnified: grain
of false colours. So the gain is estimated. A pixel says E = g L + n, with n the part of the band
that does not follow L, of variance N over the scene; before looking at the pixel, g is the slope s
of the band's regression on L, give or take s. The estimate of least mean square error is

    g = (E L + D s) / (L^2 + D),  D = N / s^2,

which is E / L where L is well above the noise, and the s of additive injection where L vanishes. A
negative gain would turn the detail over, and is zero. The toolbox divides E by L as they are; so do
we where its tables are reproduced (`border: wrap`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from plugins.classical.numerics.statistics import divide

# Smaller slopes are those of a band that shares nothing with the low-pass image.
LEAST_SLOPE = 1e-6
# Above zero, so that no quotient is 0 / 0.
LEAST_DAMPING = 1e-30


def solve_damping(slope: Tensor, noise: Tensor) -> dict[str, Tensor]:
    """Computes the statistics for `modulate` and `estimate_gain`.

    Args:
        slope: (B, C, 1, 1), s of the module's docstring.
        noise: (B, C, 1, 1), the variance N of what is left of the band after s L.
    Returns:
        'damping' D and 'pull' D s, (B, C, 1, 1).
    """
    damping = noise.clamp(min=0) / slope.square().clamp(min=LEAST_SLOPE**2)
    damping = damping.clamp(min=LEAST_DAMPING)
    return {'damping': damping, 'pull': damping * slope}


def regress_band(
    covariance: Tensor, variance_low: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor]:
    """Regresses each band on the low-pass image: slope and variance of the rest, (B, C, 1, 1).

    Args:
        covariance: (B, C, 1, 1), of the band and the low-pass image.
        variance_low: (B, C or 1, 1, 1), of the low-pass image.
        variance: (B, C, 1, 1), of the band.
    """
    slope = divide(covariance, variance_low.expand_as(covariance))
    return slope, variance - slope * covariance


def estimate_gain(band: Tensor, low: Tensor, statistics: Mapping[str, Tensor]) -> Tensor:
    """Estimates E / L, at least 0: (B, C, h, w), (B, C or 1, h, w) -> (B, C, h, w)."""
    numerator = torch.addcmul(statistics['pull'], band, low)
    return numerator.div_(torch.addcmul(statistics['damping'], low, low)).clamp_(min=0)


def modulate(
    band: Tensor, sharp: Tensor, low: Tensor, statistics: Mapping[str, Tensor], damped: bool
) -> Tensor:
    """Modulates a band: E + g (P - L), or E P / L where that is not damped.

    Args:
        band: E, (B, C, h, w).
        sharp: P, (B, C or 1, h, w).
        low: L, (B, C or 1, h, w).
        statistics: those of `solve_damping`.
        damped: estimates g; else divides, and E stays where L is zero.
    Returns:
        (B, C, h, w).
    """
    if not damped:
        return band * divide(sharp, low, otherwise=1.0)
    return torch.addcmul(band, estimate_gain(band, low, statistics), sharp - low)


def is_damped(border: str) -> bool:
    """True if divisions are damped: everywhere but in the convention of the toolbox."""
    return border != 'wrap'
