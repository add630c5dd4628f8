"""Moments in the notation of the classical methods.

E are the bands of the upsampled multispectral image, P the PAN, I an intensity made of the bands.
"""

from __future__ import annotations

from torch import Tensor

from plugins.classical.statistics import regress_with_constant
from plugins.pansharpening.imaging.streaming_statistics import Moments


class Measured:
    """Moments of images that stand one behind the other, asked for by their names.

    Statistics of each band are (B, C, 1, 1), so that they multiply an image.

    Args:
        moments: of all images together.
        **bands: how many bands each image has, in their order.
    """

    def __init__(self, moments: Moments, **bands: int) -> None:
        self.moments = moments
        self._places = {}
        first = 0
        for name, count in bands.items():
            self._places[name] = slice(first, first + count)
            first += count

    def mean(self, name: str) -> Tensor:
        """(B, C, 1, 1)."""
        return self.moments.means(self._places[name])[..., None, None]

    def deviation(self, name: str) -> Tensor:
        """(B, C, 1, 1)."""
        return self.moments.variance(self._places[name]).sqrt()[..., None, None]

    def variance(self, name: str) -> Tensor:
        """(B, C, 1, 1)."""
        return self.moments.variance(self._places[name])[..., None, None]

    def matrix(self, first: str, second: str) -> Tensor:
        """Covariances of each band of the one with each of the other, (B, k, l)."""
        return self.moments.covariance(self._places[first], self._places[second])

    def raw(self, first: str, second: str) -> Tensor:
        """Means of products of each band of the one with each of the other, (B, k, l)."""
        return self.moments.raw(self._places[first], self._places[second])

    def covariance(self, first: str, second: str) -> Tensor:
        """Band by band; one of the two may have a single band: (B, C, 1, 1)."""
        matrix = self.matrix(first, second)
        paired = matrix if 1 in matrix.shape[1:] else matrix.diagonal(dim1=1, dim2=2)
        return paired.flatten(1)[..., None, None]

    def regression(self, images: str, target: str) -> tuple[Tensor, Tensor]:
        """Of each band of `target` on those of `images` and a constant.

        Returns:
            Weights (B, K, C) and constants (B, C, 1, 1).
        """
        return regress_with_constant(
            self.matrix(images, images),
            self.matrix(images, target),
            self.mean(images),
            self.mean(target),
        )
