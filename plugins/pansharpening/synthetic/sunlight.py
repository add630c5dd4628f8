"""Where the sun stands in the synthetic scene, and the shadows that it casts."""

from __future__ import annotations

import numpy as np

SUN = np.array([0.55, 0.30, 0.78])  # towards the sun: down the image, right, up
SUN = SUN / np.linalg.norm(SUN)
LONGEST_SHADOW = 16


def shadows(height: np.ndarray) -> np.ndarray:
    """Share of the sun's light that taller things keep from each pixel.

    Args:
        height: (size, size), in pixels above the ground.
    Returns:
        (size, size), 0 in full light to 1.
    """
    # March from each pixel towards the sun and see whether anything rises above the ray.
    rows, cols = height.shape
    level = np.hypot(SUN[0], SUN[1])
    step, climb = SUN[:2] / level, SUN[2] / level
    blocked = np.zeros_like(height)
    padded = np.pad(height, LONGEST_SHADOW)
    for t in range(1, LONGEST_SHADOW):
        row, col = (round(LONGEST_SHADOW + t * s) for s in step)
        taller = padded[row : row + rows, col : col + cols] - np.float32(t * climb) - height
        np.maximum(blocked, taller, out=blocked)
    return np.clip(blocked, 0, 1)
