"""Joining and activating images in memory that is there already, to the same bits."""

from __future__ import annotations

import math
import threading

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Bytes that a thread keeps to join images in; what is larger gets memory of its own.
MOST_KEPT = 160 * 2**20
# Bytes of a joined pixel up to which its parts are copied as numbers of 8 or 16 bytes: torch's own
# joining goes through the few channels of each pixel one by one.
SMALL_PIXEL = 48
UNITS = {16: torch.complex128, 8: torch.int64}

_kept = threading.local()


def joined(images: list[Tensor]) -> Tensor:
    """The images' channels as one image, to be used up at once: on CPU without gradients it lies in
    memory that the thread's next call writes over. Fresh memory of that size, which the system must
    clear page by page, takes several times as long as the joining itself.

    Args:
        images: of (B, C, H, W) each, on CPU with channels side by side in memory.
    Returns:
        (B, the sum of C, H, W).
    """
    first = images[0]
    batch, _, height, width = first.shape
    shape = (batch, height, width, sum(image.shape[1] for image in images))
    size = math.prod(shape) * first.element_size()
    alike = all(image.dtype == first.dtype for image in images)
    if not alike or not _unseen(first) or size > MOST_KEPT:
        return torch.cat(images, 1)
    room: Tensor | None = getattr(_kept, 'room', None)
    if room is None or len(room) < size:
        with torch.inference_mode(False):
            room = _kept.room = torch.empty(size, dtype=torch.uint8)
    pixels = room[:size].view(first.dtype).view(shape)
    parts = [image.permute(0, 2, 3, 1) for image in images]
    if not _in_units(parts, pixels):
        torch.cat(parts, 3, out=pixels)
    return pixels.permute(0, 3, 1, 2)


def rectified(image: Tensor, by: nn.PReLU) -> Tensor:
    """What a PReLU makes of an image that is not needed again: where it has one slope, on CPU and
    without gradients, in the image's own memory."""
    if _unseen(image) and by.num_parameters == 1:
        return F.leaky_relu_(image, by.weight.item())
    return by(image)


def _unseen(image: Tensor) -> bool:
    """Whether only what computes now sees an image's memory, so that it can be used again."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return image.device.type == 'cpu' and not torch.is_grad_enabled() and not traced


def _in_units(parts: list[Tensor], pixels: Tensor) -> bool:
    """Copy parts of few channels, all (B, H, W, C), if they consist of units; whether they do."""
    if pixels.shape[-1] * pixels.element_size() > SMALL_PIXEL:
        return False
    common = math.gcd(*(part.shape[-1] * part.element_size() for part in parts))
    unit = next((dtype for size, dtype in UNITS.items() if common % size == 0), None)
    if unit is None or any(part.stride(-1) != 1 for part in parts):
        return False
    own = [column for part in parts for column in part.view(unit).unbind(-1)]  # (B, H, W) each
    for column, source in zip(pixels.view(unit).unbind(-1), own, strict=True):
        column.copy_(source)
    return True
