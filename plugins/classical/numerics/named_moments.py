"""Moments by the names of images, in the notation of the classical methods.

E are the bands of the upsampled multispectral image, P the PAN, I an intensity made of the bands.
"""

from __future__ import annotations

from torch import Tensor

from plugins.classical.numerics.statistics import regress_with_constant
from plugins.pansharpening.imaging.streaming_statistics import Moments


class NamedMoments:
    """Moments of concatenated images, which are selected by their names.

    Statistics of each band are (B, C, 1, 1), so that they multiply an image.

    Args:
        moments: of all images together.
        **bands: number of bands of each image, in their order.
    """

    def __init__(self, moments: Moments, **bands: int) -> None:
        self.moments = moments
        self._slices = {}
        first = 0
        for name, count in bands.items():
            self._slices[name] = slice(first, first + count)
            first += count

    def mean(self, name: str) -> Tensor:
        """Returns the means of an image's bands, (B, C, 1, 1)."""
        return self.moments.means(self._slices[name])[..., None, None]

    def deviation(self, name: str) -> Tensor:
        """Returns the standard deviations of an image's bands, (B, C, 1, 1)."""
        return self.moments.variance(self._slices[name]).sqrt()[..., None, None]

    def variance(self, name: str) -> Tensor:
        """Returns the variances of an image's bands, (B, C, 1, 1)."""
        return self.moments.variance(self._slices[name])[..., None, None]

    def matrix(self, first: str, second: str) -> Tensor:
        """Returns the covariance of each band of one image with each of another, (B, k, l)."""
        return self.moments.covariance(self._slices[first], self._slices[second])

    def raw(self, first: str, second: str) -> Tensor:
        """Returns the mean product of each band of one image with each of another, (B, k, l)."""
        return self.moments.raw(self._slices[first], self._slices[second])

    def covariance(self, first: str, second: str) -> Tensor:
        """Returns the covariances band by band, (B, C, 1, 1); one image may have a single band."""
        matrix = self.matrix(first, second)
        paired = matrix if 1 in matrix.shape[1:] else matrix.diagonal(dim1=1, dim2=2)
        return paired.flatten(1)[..., None, None]

    def regression(self, images: str, target: str) -> tuple[Tensor, Tensor]:
        """Regresses each band of `target` on the bands of `images` and a constant.

        Returns:
            Weights (B, K, C) and constants (B, C, 1, 1).
        """
        return regress_with_constant(
            self.matrix(images, images),
            self.matrix(images, target),
            self.mean(images),
            self.mean(target),
        )
