"""Systems: bicubic interpolation, and a network that adds details to it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.interfaces import Batch, System
from toolkit.registry import SYSTEMS


@SYSTEMS.register
class Bicubic(System):
    """Bicubic interpolation, which has nothing to train.

    Args:
        scale: fine pixels per coarse pixel.
    Shape: coarse (B, 3, h, w) -> (B, 3, scale h, scale w).
    """

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale

    def tensor(self, batch: Batch) -> Tensor:
        return F.interpolate(batch['coarse'], scale_factor=self.scale, mode='bicubic')

    def predict(self, batch: Batch) -> dict[str, Any]:
        return {'image': self.tensor(batch).clamp(0, 1)}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {}

    def example(self, batch_size: int = 1, size: int | None = None) -> Batch:
        side = (size or 48) // self.scale
        fine = torch.zeros(batch_size, 3, self.scale * side, self.scale * side)
        return {'coarse': torch.zeros(batch_size, 3, side, side), 'fine': fine}


@SYSTEMS.register
class SuperResolver(Bicubic):
    """A network at low resolution, whose channels become fine pixels.

    Args:
        scale: fine pixels per coarse pixel.
        width: channels between the convolutions.
    Source: Shi et al. 2016, arXiv 1609.05158, here on top of the interpolated image.
    """

    def __init__(self, scale: int = 2, width: int = 16) -> None:
        super().__init__(scale)
        self.first = nn.Conv2d(3, width, 5, padding=2)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 3 * scale**2, 3, padding=1)
        nn.init.zeros_(self.last.weight)  # it begins as the interpolation

    def tensor(self, batch: Batch) -> Tensor:
        x = self.second(self.first(batch['coarse']).relu()).relu()  # (B, width, h, w)
        return super().tensor(batch) + F.pixel_shuffle(self.last(x), self.scale)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {'mse': F.mse_loss(self.tensor(batch), batch['fine'])}
