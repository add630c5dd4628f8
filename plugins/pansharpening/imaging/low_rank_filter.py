"""Convolutions with large kernels that are nearly separable, as few filters of rows and columns."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from plugins.pansharpening.imaging.block_filters import Blocks, ProductFilter
from plugins.pansharpening.imaging.lazy_image import PlacedArray

# Largest error of a pixel, whatever the image is, as a share of the image's range: .01 digital
# numbers of 11 bits in float32; float64 keeps 14 digits.
ERROR = {torch.float32: 4.8e-6, torch.float64: 1e-14}


class LowRankFilter(ProductFilter):
    """Convolutions with symmetric kernels, as sums of separable ones; the border is replicated.

    A Gaussian is the product of a filter of rows and one of columns. The MTF kernels are Gaussians
    under a round window, which is none; their eigenvectors give the products that they are a sum
    of, of which float32 needs two to four and float64 some ten.

    Args:
        kernels: (K, taps, taps), taps odd, symmetric in both axes. An image of one band becomes one
            of K bands; one kernel filters any number of bands.
        stride: result pixel k is the filtered one at stride * k + stride // 2.
        steps: pixels of the result that a block has on each side.
    """

    def __init__(self, kernels: np.ndarray, stride: int = 1, steps: int = 8) -> None:
        taps = kernels.shape[-1]
        taken = stride * (steps - 1) + taps
        self.stride, self.bands = stride, len(kernels)
        self.blocks = Blocks(
            steps, taken, stride * steps, stride // 2 - taps // 2, border='replicate'
        )
        self._terms = {}
        for dtype, error in ERROR.items():
            terms = [
                (band, sign, vector)
                for band, kernel in enumerate(kernels)
                for sign, vector in decompose(kernel, error)
            ]
            matrices = np.zeros((len(terms), steps, taken))
            for matrix, (_, _, vector) in zip(matrices, terms):
                for step, row in enumerate(matrix):
                    row[stride * step : stride * step + taps] = vector
            self._terms[dtype] = (PlacedArray(matrices), [term[:2] for term in terms])

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Returns the shape of the result for an input shape that is a multiple of `stride`."""
        return shape[0] // self.stride, shape[1] // self.stride

    def _product(self, image: Tensor) -> Tensor:
        """Filters the input of whole blocks: (B, C, m, n) -> (B, C or K, H, W)."""
        b, c, m, _ = image.shape
        size, taken, step = self.blocks.sides
        placed, terms = self._terms[image.dtype]
        matrices = placed.like(image)  # (T, size, taken)
        rows = image.unfold(-1, taken, step).reshape(-1, taken) @ matrices.flatten(0, 1).T
        rows = rows.view(b * c, m, -1, len(terms), size).permute(3, 0, 1, 2, 4).flatten(3)
        results: list[Tensor | None] = [None] * self.bands
        for matrix, part, (band, sign) in zip(matrices, rows, terms):
            # Blocks of rows overlap; each is a matrix as it lies in memory.
            cut = part.unfold(1, taken, step).transpose(-1, -2)  # (B C, blocks, taken, W)
            factor = matrix.expand(cut.shape[1], -1, -1)  # (blocks, size, taken)
            product = torch.stack([torch.bmm(factor, image) for image in cut])
            before = results[band]
            results[band] = (
                sign * product if before is None else torch.add(before, product, alpha=sign)
            )
        width = rows.shape[-1]
        bands = [result.view(b, c, -1, width) for result in results if result is not None]
        return torch.cat(bands, 1)


def decompose(kernel: np.ndarray, error: float) -> list[tuple[int, np.ndarray]]:
    """Decomposes a symmetric kernel into separable ones.

    Args:
        kernel: (taps, taps).
        error: that the sum of the terms may have for any image in [0, 1].
    Returns:
        Sign and vector v of each term, which is sign * v v^T.
    """
    values, vectors = np.linalg.eigh(kernel)
    terms: list[tuple[int, np.ndarray]] = []
    rest = kernel.copy()
    for i in np.argsort(-np.abs(values)):
        vector = vectors[:, i] * np.sqrt(abs(values[i]))
        terms.append((int(np.sign(values[i])), vector))
        rest -= terms[-1][0] * np.outer(vector, vector)
        if np.abs(rest).sum() < error:
            break
    return terms
