"""Concatenation and activation in memory that is reused, with the same bits as torch's own."""

from __future__ import annotations

import math
import threading

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Bytes that a thread keeps for concatenations. Larger ones get memory of their own.
MAX_KEPT_BYTES = 160 * 2**20
# Bytes of a pixel of the result up to which its parts are copied as numbers of 8 or 16 bytes.
# `torch.cat` copies the few channels of such a pixel one by one, which is slower.
MAX_PIXEL_BYTES = 48
UNITS = {16: torch.complex128, 8: torch.int64}

_kept = threading.local()


def concatenate(images: list[Tensor]) -> Tensor:
    """Concatenates the channels of images.

    On CPU without gradients the result lies in memory that the next call in the same thread
    overwrites, so it must be used before. The operating system clears fresh memory page by page,
    which takes several times as long as the concatenation.

    Args:
        images: (B, C, H, W) each; on CPU in the memory format channels_last.
    Returns:
        (B, sum of C, H, W).
    """
    first = images[0]
    batch, _, height, width = first.shape
    shape = (batch, height, width, sum(image.shape[1] for image in images))
    size = math.prod(shape) * first.element_size()
    same_dtype = all(image.dtype == first.dtype for image in images)
    if not same_dtype or not _is_reusable(first) or size > MAX_KEPT_BYTES:
        return torch.cat(images, 1)
    memory: Tensor | None = getattr(_kept, 'memory', None)
    if memory is None or len(memory) < size:
        with torch.inference_mode(False):
            memory = _kept.memory = torch.empty(size, dtype=torch.uint8)
    pixels = memory[:size].view(first.dtype).view(shape)
    parts = [image.permute(0, 2, 3, 1) for image in images]
    if not _copy_in_units(parts, pixels):
        torch.cat(parts, 3, out=pixels)
    return pixels.permute(0, 3, 1, 2)


def apply_prelu(image: Tensor, prelu: nn.PReLU) -> Tensor:
    """Applies a PReLU to an image that is not needed afterwards.

    On CPU without gradients, a PReLU with one slope overwrites the image.
    """
    if _is_reusable(image) and prelu.num_parameters == 1:
        return F.leaky_relu_(image, prelu.weight.item())
    return prelu(image)


def _is_reusable(image: Tensor) -> bool:
    """Tells whether nothing else needs the image's memory: no gradient and no traced graph."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return image.device.type == 'cpu' and not torch.is_grad_enabled() and not traced


def _copy_in_units(parts: list[Tensor], pixels: Tensor) -> bool:
    """Copies parts (B, H, W, C) of few channels in units of 8 or 16 bytes.

    Returns:
        False if the parts do not consist of such units; nothing is copied then.
    """
    if pixels.shape[-1] * pixels.element_size() > MAX_PIXEL_BYTES:
        return False
    common = math.gcd(*(part.shape[-1] * part.element_size() for part in parts))
    unit = next((dtype for size, dtype in UNITS.items() if common % size == 0), None)
    if unit is None or any(part.stride(-1) != 1 for part in parts):
        return False
    own = [column for part in parts for column in part.view(unit).unbind(-1)]  # (B, H, W) each
    for column, source in zip(pixels.view(unit).unbind(-1), own, strict=True):
        column.copy_(source)
    return True
