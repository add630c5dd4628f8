"""Batches, masks, and sums over sliding windows, for metrics and losses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Image = Tensor | np.ndarray

STRIP = 128  # rows: temporaries of a scene's width then fit into a processor's cache


def batch(image: Image, name: str = 'image', bands: int | None = None) -> Tensor:
    """Converts an image (C, H, W) or a batch (B, C, H, W) to a float64 batch.

    Args:
        image: of any dtype.
        name: name in error messages.
        bands: expected C; None for any.
    Raises:
        ValueError: another number of axes or bands.
    """
    tensor = _tensor(image)
    if tensor.ndim not in (3, 4) or bands not in (None, tensor.shape[-3]):
        expected = 'C' if bands is None else bands
        raise ValueError(
            f'{name} has shape ({expected}, H, W) or (B, {expected}, H, W); '
            f'found {tuple(tensor.shape)}'
        )
    tensor = tensor.to(torch.float64)
    return tensor if tensor.ndim == 4 else tensor[None]


def pair(
    image: Image, reference: Image, mask: Image | None = None
) -> tuple[Tensor, Tensor, Tensor | None, tuple[int, ...]]:
    """Converts two images of one shape and a mask to batches, and finds the shape of the result.

    Invalid pixels are set to 0 in both, so that NaN there does no harm.

    Raises:
        ValueError: shapes that differ, or a mask that does not fit.
    """
    lead = tuple(image.shape[:-3])
    if tuple(image.shape) != tuple(reference.shape) or image.ndim not in (3, 4):
        raise ValueError(
            f'an image and its reference have one shape, (C, H, W) or (B, C, H, W); found '
            f'{tuple(image.shape)} and {tuple(reference.shape)}'
        )
    x, y = batch(image), batch(reference)
    valid = valid_pixels(mask, x)
    return blank(x, valid), blank(y, valid), valid, lead


def valid_pixels(mask: Image | None, image: Tensor) -> Tensor | None:
    """Converts a mask to (B, 1, H, W), boolean, on the device of a batch of images.

    Args:
        mask: (H, W), (B, H, W) or (B, 1, H, W), boolean, True for valid pixels; None if all are.
        image: (B, C, H, W), the images of the mask.
    Raises:
        ValueError: a mask of another size or dtype.
    """
    if mask is None:
        return None
    valid = _tensor(mask)
    if valid.dtype != torch.bool:
        raise ValueError(f'a mask is boolean, True where data are; found {valid.dtype}')
    shape = tuple(valid.shape)
    if valid.ndim == 3:
        valid = valid[:, None]
    valid = valid.reshape(-1, 1, *valid.shape[-2:]) if valid.ndim in (2, 4) else valid
    size = (image.shape[0], 1, *image.shape[-2:])
    if valid.shape[0] not in (1, size[0]) or tuple(valid.shape[1:]) != size[1:]:
        raise ValueError(
            f'a mask has shape (H, W), (B, H, W) or (B, 1, H, W) of its images, here '
            f'{size[-2:]} pixels of {size[0]} images; found {shape}'
        )
    return valid.to(image.device).expand(size)


def blank(image: Tensor, valid: Tensor | None) -> Tensor:
    """Sets the invalid pixels of an image to 0."""
    return image if valid is None else image.where(valid, torch.zeros_like(image))


def mean(values: Tensor, valid: Tensor | None) -> Tensor:
    """Averages the valid pixels over the last two axes; NaN if there are none.

    Shape: (B, C, H, W), and (B, 1, H, W) bool -> (B, C).
    """
    if valid is None:
        return values.mean((-2, -1))
    return blank(values, valid).sum((-2, -1)) / valid.sum((-2, -1))


def window_sums(values: Tensor, size: int) -> Tensor:
    """Sums over all size x size windows inside: (..., H, W) -> (..., H-size+1, W-size+1).

    Uses sums over 1, 2, 4, ... pixels: log2(size) additions a pixel and axis, and no differences
    of large numbers as cumulated sums have.
    """
    for dim in (-2, -1):
        count = values.shape[dim] - size + 1
        total, span, start = torch.zeros((), dtype=values.dtype, device=values.device), 1, 0
        while True:
            if size & span:
                total = total + values.narrow(dim, start, count)
                start += span
            if start == size:
                break
            length = values.shape[dim] - span
            values = values.narrow(dim, 0, length) + values.narrow(dim, span, length)
            span *= 2
        values = total
    return values


def by_strips(
    function: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, size: int
) -> Tensor:
    """Computes a map of two images band by band and strip by strip, to save memory.

    Args:
        function: of two (B, 1, h, W), whose result depends on windows of `size` rows:
            (B, 1, h - size + 1, ...).
        x: (B, C, H, W).
        y: the same.
        size: rows of a window.
    Returns:
        (B, C, H - size + 1, ...).
    """
    height = x.shape[-2] - size + 1
    bands = []
    for pair_of_bands in zip(x.split(1, 1), y.split(1, 1)):
        strips = [
            function(*(t[..., row : min(row + STRIP, height) + size - 1, :] for t in pair_of_bands))
            for row in range(0, height, STRIP)
        ]
        bands.append(torch.cat(strips, -2))
    return torch.cat(bands, 1)


def inner_windows(valid: Tensor | None, size: int) -> Tensor | None:
    """Finds the windows of `window_sums` with valid pixels only: (B, 1, H-size+1, W-size+1)."""
    return None if valid is None else window_sums((~valid).to(torch.int32), size) == 0


def shrink(valid: Tensor | None, reach: int) -> Tensor | None:
    """Removes valid pixels within `reach` rows and columns of an invalid one; (B, 1, H, W)."""
    if valid is None:
        return None
    return inner_windows(F.pad(valid, (reach,) * 4, value=True), 2 * reach + 1)


def coarse(valid: Tensor | None, ratio: int) -> Tensor | None:
    """Finds multispectral pixels with valid PAN pixels only: (B, 1, H, W) -> (B, 1, h, w)."""
    if valid is None:
        return None
    b, _, height, width = valid.shape
    return valid.reshape(b, 1, height // ratio, ratio, width // ratio, ratio).all(5).all(3)


def integer_ratio(fine: Tensor, low: Tensor, ratio: int) -> None:
    """Checks that one image has `ratio` times the other's rows and columns.

    Raises:
        ValueError: it has not.
    """
    expected = tuple(ratio * extent for extent in low.shape[-2:])
    if tuple(fine.shape[-2:]) != expected:
        raise ValueError(
            f'an image of {tuple(low.shape[-2:])} pixels and ratio {ratio} go with '
            f'{expected} pixels, found {tuple(fine.shape[-2:])}'
        )


def _tensor(image: Image) -> Tensor:
    if isinstance(image, np.ndarray):
        # Flipped views and read-only arrays, which torch does not take as they are.
        return torch.from_numpy(np.require(image, requirements=['C', 'W']))
    return image.detach()
