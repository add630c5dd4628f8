"""The published network's recorded numbers, and a system of ours with its weights."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from plugins.ldpnet.convolution import Method
from plugins.ldpnet.generator import LDPNet
from plugins.ldpnet.gray import ChannelGray
from plugins.ldpnet.losses import (
    LDPDetailKL,
    LDPSpatialHigh,
    LDPSpatialLow,
    LDPSpectralHigh,
    LDPSpectralLow,
)
from plugins.ldpnet.published_weights import load_published
from plugins.ldpnet.reblur import ConvReblur
from plugins.pansharpening.system import Pansharpener
from toolkit.registry.build import ComponentFactory

FILE = Path(__file__).parents[1] / 'data' / 'ldpnet_2022.npz'

# The config's terms: class and weight.
TERMS = {
    'spatial_high': (LDPSpatialHigh, 20.0),
    'spatial_low': (LDPSpatialLow, 1.0),
    'spectral_low': (LDPSpectralLow, 100.0),
    'spectral_high': (LDPSpectralHigh, 5.0),
    'kl': (LDPDetailKL, 0.1),
}


@cache
def recorded() -> dict[str, Tensor]:
    with np.load(FILE) as file:
        return {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}


def published_weights() -> dict[str, Tensor]:
    marker = 'weight/'
    return {k[len(marker) :]: v for k, v in recorded().items() if k.startswith(marker)}


def system(bands: int = 4, width: int = 16, method: Method = 'auto') -> Pansharpener:
    return Pansharpener(
        bands=bands,
        ratio=4,
        generator=ComponentFactory(LDPNet, {'width': width}),
        reblur=ComponentFactory(ConvReblur, {'method': method}),
        gray=ComponentFactory(ChannelGray, {}),
        losses={
            key: ComponentFactory(cls, {'weight': weight}) for key, (cls, weight) in TERMS.items()
        },
    )


def published_system(method: Method = 'auto') -> Pansharpener:
    result = system(method=method)
    load_published(result, published_weights())
    return result
