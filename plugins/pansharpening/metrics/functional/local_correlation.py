"""Correlation of two images in the window around each pixel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.imaging.masks import window_sums

FLOOR = 1e-20  # keeps the correlation of constant windows at 0


def compute_local_detail(image: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Subtracts from each pixel the mean of its window, and sums the squares over the window.

    Windows have 2 reach rows and columns, from reach - 1 before a pixel to reach after it; the
    image is padded with zeros.  (B, C, H, W) -> twice (B, C, H, W).
    """
    detail = image - _sum_windows_around(image, reach) / (2 * reach) ** 2
    return detail, _sum_windows_around(detail.square(), reach).clamp(min=FLOOR)


def compute_local_correlation(image: Tensor, detail: Tensor, energy: Tensor, reach: int) -> Tensor:
    """Correlates an image in windows with `compute_local_detail` of another one: (B, C, H, W)."""
    own, own_energy = compute_local_detail(image, reach)
    return _sum_windows_around(own * detail, reach) / ((own_energy * energy).sqrt() + FLOOR)


def _sum_windows_around(image: Tensor, reach: int) -> Tensor:
    return window_sums(F.pad(image, (reach - 1, reach, reach - 1, reach)), 2 * reach)
