"""The images on which the reference figures were computed, in digital numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from plugins.pansharpening.scenes.arrays.matlab import MatScene

SETS = {'ik': ('ikonos/imgIK.mat', 'IKONOS'), 'wv2': ('wv2/imgWV2.mat', 'WV2')}


def scene(data_root: Path, name: str) -> MatScene:
    path, sensor = SETS[name]
    return MatScene(str(data_root / path), sensor)


def multispectral(data_root: Path, name: str, part: str) -> Tensor:
    """(1, C, h, w) float64; `part` is 'crop' or 'full'."""
    numbers = torch.from_numpy(scene(data_root, name).read_ms()).double() * 2047
    side = 64 if part == 'crop' else None
    return numbers.round()[None, :, :side, :side]


def golden(data_root: Path) -> dict[str, Tensor]:
    """The classical methods' images as (1, C, H, W) float64, by key."""
    path = data_root.parent / 'golden' / 'classical.npz'
    if not path.is_file():
        pytest.skip('needs the golden images of the classical methods')
    wanted = ('ms', 'pan', 'EXP')
    with np.load(path) as file:
        images = {key: file[key] for key in file.files if key.endswith(wanted)}
    return {
        key: torch.from_numpy(image.astype(np.float64).reshape(*image.shape[:2], -1))
        .permute(2, 0, 1)[None]
        .contiguous()
        for key, image in images.items()
    }
