"""The reference's inputs and fused images, in digital numbers, and how each method is built."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from plugins.pansharpening.imaging.two_pass_generator import TwoPassGenerator
from plugins.pansharpening.interfaces import GENERATORS
from toolkit.registry.build import ComponentFactory, accepts_argument

SENSORS = {'ik_crop': 'IKONOS', 'wv2_crop': 'WV2'}
PYRAMIDS = [
    'MTF-GLP',
    'MTF-GLP-FS',
    'MTF-GLP-CBD',
    'MTF-GLP-HPM',
    'MTF-GLP-HPM-H',
    'MTF-GLP-HPM-R',
]
METHODS = [
    'Brovey',
    'BT-H',
    'GIHS',
    'PCA',
    'GS',
    'GSA',
    'C-GSA',
    'BDSD',
    'BDSD-PC',
    'PRACS',
    'HPF',
    'SFIM',
    'ATWT',
    'MF',
    'Indusion',
    'AWLP',
    'SR-D',
    *PYRAMIDS,
]
IN_THE_REFERENCE = {'GIHS': 'IHS'}  # names that differ there


def method(name: str, bands: int = 4, sensor: str = 'generic', ratio: int = 4) -> TwoPassGenerator:
    cls = GENERATORS.get(name)
    arguments = {'sensor': sensor} if accepts_argument(cls, 'sensor') else {}
    made = ComponentFactory(cls, arguments, name)(bands=bands, ratio=ratio)
    made.border = 'wrap'  # as in the toolbox
    return made


@functools.cache
def images(data_root: Path) -> dict[str, Tensor]:
    """(1, C, H, W) float64 by key."""
    path = data_root.parent / 'golden' / 'classical.npz'
    if not path.is_file():
        pytest.skip('needs the golden images of the classical methods')
    with np.load(path) as file:
        arrays = {key: file[key].astype(np.float64) for key in file.files}
    return {
        key: torch.from_numpy(a.reshape(*a.shape[:2], -1)).permute(2, 0, 1)[None].contiguous()
        for key, a in arrays.items()
    }
