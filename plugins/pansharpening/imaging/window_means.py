"""Means of square windows of an image."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def average_windows(image: Tensor, size: int) -> Tensor:
    """Averages the window around each pixel, cut at the border.

    Args:
        image: (B, C, H, W).
        size: side of a window in pixels, odd.
    Returns:
        (B, C, H, W). Differentiable.
    """
    # One axis at a time; the pixel count of a window at the border is a product too.
    half = size // 2
    image = F.avg_pool2d(image, (size, 1), 1, (half, 0), count_include_pad=False)
    return F.avg_pool2d(image, (1, size), 1, (0, half), count_include_pad=False)
