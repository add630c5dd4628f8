"""Steps that half precision would spoil: 11-bit images have more bits than bfloat16."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor


def without_autocast(image: Tensor) -> contextlib.AbstractContextManager[object]:
    """A context in which operations on this image's device keep its precision."""
    device = image.device.type
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device, enabled=False)
    return contextlib.nullcontext()  # such as the meta device, on which shapes are worked out


def full(image: Tensor) -> Tensor:
    """The image in float32, or in the float64 that it has."""
    return image if image.dtype == torch.float64 else image.float()
