"""The images on which the reference figures at full resolution were computed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.imaging.resample import interp23tap
from tests.support.reference_images import multispectral, scene


@cache
def images(data_root: Path, name: str, part: str) -> dict[str, Tensor]:
    """`ms`, `pan`, BIC, BROVEY and EXP, each (1, C, H, W) float64 in digital numbers."""
    ms = multispectral(data_root, name, part)
    side = 4 * ms.shape[-1]
    pan = torch.from_numpy(scene(data_root, name).read_pan()).double() * 2047
    pan = pan.round()[None, :, :side, :side]
    bicubic = F.interpolate(ms, scale_factor=4, mode='bicubic', align_corners=False)
    brovey = (bicubic * pan / bicubic.mean(1, keepdim=True)).clamp(0, 2047)
    return {'ms': ms, 'pan': pan, 'BIC': bicubic, 'BROVEY': brovey, 'EXP': interp23tap(ms, 4)}


def gains(data_root: Path, name: str) -> tuple[float, ...]:
    taken = scene(data_root, name)
    return taken.sensor.gains(taken.read_ms().shape[0])
