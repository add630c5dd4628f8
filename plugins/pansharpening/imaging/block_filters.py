"""Filters of lazy images, in blocks at fixed positions.

A filter cuts its result into blocks that begin at multiples of their size, and computes each block
whole, by the same operations on the same numbers. So a window of any size at any place holds the
same bits as the whole image, and a scene too large for memory is filtered window by window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from plugins.pansharpening.imaging.autocast import without_autocast
from plugins.pansharpening.imaging.lazy_image import Border, LazyImage, PlacedArray, extend
from plugins.pansharpening.scenes.window import Window

# Products of matrices with less than some ten columns are made in another order of additions.
NARROW = 64


class Blocks:
    """Cuts the input of a filter into overlapping blocks, and joins those of its result.

    Args:
        size: side of a block of the result.
        taken: side of the block of the input that it is made of.
        step: input pixels from one block to the next.
        first: where, relative to `step` times its number, a block of the input begins.
        border: how the input goes on beyond its border.
    """

    def __init__(self, size: int, taken: int, step: int, first: int, border: Border) -> None:
        self.size, self.taken, self.step, self.first = size, taken, step, first
        self.border: Border = border

    @property
    def sides(self) -> tuple[int, int, int]:
        """`size`, `taken` and `step`."""
        return self.size, self.taken, self.step

    def covering(self, window: Window) -> Window:
        """Returns all pixels of the blocks that a window of the result touches."""
        return window.covering(self.size).enlarged(self.size)

    def needed(self, window: Window) -> tuple[range, range]:
        """Returns the rows and columns of the input of all blocks that a window touches."""
        return self._needed(window.row, window.height), self._needed(window.col, window.width)

    def cut(self, field: LazyImage, window: Window) -> Tensor:
        """Cuts the input of a window of the result into blocks.

        Returns:
            (B, C, rows of blocks, columns of blocks, taken, taken), a view.
        """
        image = field.continued(*self.needed(window), self.border)
        return image.unfold(-2, self.taken, self.step).unfold(-2, self.taken, self.step)

    def join(self, blocks: Tensor, window: Window) -> Tensor:
        """Joins blocks of the result into a window.

        Shape: (B, C, rows, columns, size, size) -> (B, C, height, width).
        """
        b, c, rows, cols = blocks.shape[:4]
        image = blocks.transpose(3, 4).reshape(b, c, rows * self.size, cols * self.size)
        return window.relative_to(self.covering(window)).cut(image)

    def _needed(self, start: int, length: int) -> range:
        block, last = start // self.size, (start + length - 1) // self.size
        begin = block * self.step + self.first
        return range(begin, begin + (last - block) * self.step + self.taken)


class ProductFilter(ABC):
    """A filter that computes all blocks of a window by products of matrices.

    Attributes:
        blocks: of the input and of the result.
    """

    blocks: Blocks

    @abstractmethod
    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Returns the shape of the result for an input shape that is a multiple of the stride."""

    @abstractmethod
    def _product(self, image: Tensor) -> Tensor:
        """Filters the input of whole blocks: (B, C, m, n) -> (B, C or K, H, W)."""

    def of(self, field: LazyImage) -> LazyImage:
        """Returns the filtered image, lazy."""
        return LazyImage(self.shape(field.shape), lambda window: self(field, window))

    def __call__(self, field: LazyImage, window: Window) -> Tensor:
        """Computes a window of the result, (B, C or K, height, width)."""
        blocks = self.blocks
        wide = window._replace(width=max(window.width, NARROW))
        image = field.continued(*blocks.needed(wide), blocks.border)
        # Half precision would cost 11-bit images their last bits.
        with without_autocast(image):
            image = self._product(image)
        return window.relative_to(blocks.covering(window)).cut(image)


class SeparableFilter(ProductFilter):
    """A linear filter that is the same along the rows and along the columns.

    Result pixel `phases * k + p` of an axis is the sum over t of `kernel[p, t]` times the input
    pixel `stride * k + first + t`: `phases` enlarges, `stride` reduces.

    Args:
        kernel: (phases, taps).
        stride: input pixels per step.
        first: place of the first tap.
        border: how the input goes on beyond its border.
        steps: k of a block; larger ones multiply by more zeros, smaller ones are more calls.
    """

    def __init__(
        self,
        kernel: np.ndarray,
        stride: int,
        first: int,
        border: Border,
        steps: int = 16,
    ) -> None:
        phases, taps = kernel.shape
        taken = stride * (steps - 1) + taps
        self.stride, self.phases, self.kernel = stride, phases, kernel
        self.blocks = Blocks(phases * steps, taken, stride * steps, first, border)
        matrix = np.zeros((phases * steps, taken))
        for k in range(steps):
            matrix[phases * k : phases * (k + 1), stride * k : stride * k + taps] = kernel
        self._matrix = PlacedArray(matrix)

    def shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Returns the shape of the result for an input shape that is a multiple of `stride`."""
        return shape[0] // self.stride * self.phases, shape[1] // self.stride * self.phases

    def filter_whole(self, image: Tensor) -> Tensor:
        """Filters an image in memory: (B, C, H, W) -> (B, C, *shape)."""
        if torch.compiler.is_exporting():
            return self._convolve(image)
        fine = self.of(LazyImage.of(image))
        return fine.read(fine.whole)

    def _convolve(self, image: Tensor) -> Tensor:
        """Does the same, up to rounding, by operations that a graph records for images of any size.

        Blocks cannot be recorded, since their number depends on the size.
        """
        bands, taps, stride = image.shape[1], self.kernel.shape[1], self.stride
        before = -self.blocks.first
        image = extend(image, before, taps - stride - before, self.blocks.border)
        kernel = torch.tensor(self.kernel, dtype=image.dtype, device=image.device)
        x = image.flatten(0, 1)[:, None]  # (B C, 1, m, n)
        x = F.conv2d(x, kernel[:, None, None], stride=(1, stride))  # (B C, phases, m, w)
        x = x.permute(0, 2, 3, 1).flatten(2)[:, None]  # (B C, 1, m, W)
        x = F.conv2d(x, kernel[:, None, :, None], stride=(stride, 1))  # (B C, phases, h, W)
        return x.transpose(1, 2).flatten(1, 2).unflatten(0, (-1, bands))  # (B, C, H, W)

    def _product(self, image: Tensor) -> Tensor:
        """Filters the input of whole blocks: (B, C, m, n) -> (B, C, H, W)."""
        b, c, m, _ = image.shape
        size, taken, step = self.blocks.sides
        matrix = self._matrix.like(image)
        rows = image.unfold(-1, taken, step).reshape(-1, taken) @ matrix.T
        rows = rows.view(b * c, m, -1)  # (B C, m, W)
        # Blocks of rows overlap; each is a matrix as it lies in memory.
        cut = rows.unfold(1, taken, step).transpose(-1, -2)  # (B C, blocks, taken, W)
        factor = matrix.expand(cut.shape[1], -1, -1)  # (blocks, size, taken)
        if rows.requires_grad:
            result = torch.stack([torch.bmm(factor, part) for part in cut])
        else:
            result = image.new_empty(b * c, len(factor), size, rows.shape[-1])
            for part, place in zip(cut, result):
                torch.bmm(factor, part, out=place)
        return result.view(b, c, -1, rows.shape[-1])


class FourierFilter:
    """Convolutions with large symmetric kernels by spectra of blocks; the border is replicated.

    Args:
        kernels: (K, taps, taps), taps odd, symmetric in both axes. An image of one band becomes one
            of K bands; one kernel filters any number of bands.
        stride: result pixel k is the filtered one at stride * k + stride // 2.
        size: side of a block of the result.
        wide: computes in float64. Spectra spread the rounding of the brightest pixels over a block,
            which ill-conditioned regressions and searches magnify.
    """

    def __init__(
        self, kernels: np.ndarray, stride: int = 1, size: int = 256, wide: bool = False
    ) -> None:
        reach = kernels.shape[-1] // 2
        # Results that wrap around lie before the first one that is taken.
        lead = reach - stride // 2 + -2 * reach % stride
        self.wide = wide
        self.first, self.stride = lead + reach + stride // 2, stride
        taken = self.first + stride * size
        while next_fast_len(taken, real=True) % stride:
            taken = next_fast_len(taken, real=True) + 1
        taken = next_fast_len(taken, real=True)
        self.blocks = Blocks(size, taken, stride * size, -lead, 'replicate')
        response = np.fft.rfft2(kernels, s=(taken, taken)) / stride
        self._response = PlacedArray(response[:, None, None])

    def of(self, field: LazyImage) -> LazyImage:
        """Returns the filtered image, lazy."""
        shape = (field.shape[0] // self.stride, field.shape[1] // self.stride)
        return LazyImage(shape, lambda window: self(field, window))

    def __call__(self, field: LazyImage, window: Window) -> Tensor:
        """Computes a window of the result, (B, C or K, height, width)."""
        blocks = self.blocks.cut(field, window)
        with without_autocast(blocks):
            # Block by block, which stays in the cache from one operation to the next.
            rows = [
                torch.cat([self._filter(part) for part in row.split(1, 3)], 3)
                for row in blocks.split(1, 2)
            ]
        return self.blocks.join(torch.cat(rows, 2), window)

    def _filter(self, blocks: Tensor) -> Tensor:
        """Filters blocks: (..., taken, taken) -> (..., size, size)."""
        size, stride, rows = self.blocks.size, self.stride, self.blocks.taken // self.stride
        spectrum = torch.fft.rfft2(blocks.double() if self.wide else blocks)
        spectrum = spectrum * self._response.like(spectrum)
        if stride > 1:  # every stride-th row has the sum of the parts that alias
            spectrum = spectrum.unflatten(-2, (stride, rows)).sum(-3)
        result = torch.fft.irfft2(spectrum, s=(rows, self.blocks.taken)).to(blocks)
        first = self.first // stride
        return result[..., first : first + size, self.first :: stride][..., :size]
