from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plugins.pansharpening.data.patches import ScenePatches
from plugins.pansharpening.data_init import DataInitialized, pixels
from plugins.pansharpening.imaging.resample import upsample
from plugins.pansharpening.synthetic.scene import SyntheticScene
from plugins.pansharpening.system import Pansharpener
from tests.plugins.pansharpening.test_system import Fuse, ToPan
from toolkit.engine.process.seeding import seed_all
from toolkit.errors import DataError
from toolkit.interfaces import Dataset, Degradation


class Scaled(Degradation, DataInitialized):
    """The bands' mean, times what makes its mean the PAN's."""

    out_bands = 1

    def __init__(self, bands: int, ratio: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.register_buffer('fitted', torch.tensor(False))

    def forward(self, image: Tensor) -> Tensor:
        return self.scale * image.mean(1, keepdim=True)

    def learn(self, ms: Tensor, pan: Tensor) -> str:
        with torch.no_grad():
            self.scale.fill_(pan.mean() / ms.mean())
        return f'scale {self.scale.item():.3f}'


class Samples(Dataset):
    """A smooth image whose PAN is 0.8 of its first band, upsampled."""

    def __init__(self, low: int = 16, valid: slice = slice(None)) -> None:
        self.low, self.valid = low, valid

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict[str, Any]:
        down, along = torch.meshgrid(*[torch.linspace(0, 2, self.low)] * 2, indexing='ij')
        ms = torch.stack([(3 * down + index).sin(), (2 * along).cos()]) / 4 + 0.5  # (2, h, w)
        pan = 0.8 * upsample(ms[None, :1], 4, 'bicubic')[0]
        mask = torch.zeros_like(pan, dtype=torch.bool)
        mask[:, self.valid] = True
        pan[~mask] = 9
        return {'lrms': ms, 'pan': pan, 'mask': mask}


def test_pixels_lie_where_the_samples_do() -> None:
    ms, pan = pixels(Samples(), 4, 'bicubic')
    assert ms.shape == (3 * 12 * 12, 2)
    torch.testing.assert_close(pan, 0.8 * ms[:, 0], atol=3e-3, rtol=0)


def test_pixels_with_data_alone() -> None:
    ms, pan = pixels(Samples(valid=slice(0, 24)), 4, 'bicubic')
    assert ms.shape == (3 * 4 * 12, 2)


def test_no_data() -> None:
    with pytest.raises(DataError, match='no pixel of the training data'):
        pixels(Samples(low=4), 4, 'bicubic')


def test_prepared_once_and_without_a_trace() -> None:
    """A part is fitted before a training, not in a test and not again when resumed."""
    scene = SyntheticScene(bands=4, size=128, seed=0)
    datasets = {'train': ScenePatches(scene, size=64, length=4)}
    model = Pansharpener(4, 4, Fuse, gray=Scaled, losses={'gray': ToPan})
    said: list[str] = []
    model.prepare({'test': datasets['train']}, say=said.append)
    assert said == []
    assert not model.gray.fitted
    seed_all(5)
    expected = torch.rand(3), np.random.rand(3)
    seed_all(5)
    model.prepare(datasets, say=said.append)
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(3) == expected[1]).all()
    assert len(said) == 1
    assert said[0].startswith('gray: scale ')
    found = model.gray.scale.item()
    assert 0.5 < found < 2
    other = Pansharpener(4, 4, Fuse, gray=Scaled, losses={'gray': ToPan})
    with torch.no_grad():
        model.gray.scale.fill_(7)
    other.load_state_dict(model.state_dict())
    other.prepare(datasets, say=said.append)
    assert len(said) == 1
    assert other.gray.scale == 7


class Around(Fuse):
    """A generator with another part that is initialized from the data inside."""

    def __init__(self, bands: int, ratio: int) -> None:
        super().__init__(bands, ratio)
        self.inner = Scaled(bands, ratio)


def test_parts_inside_others_are_prepared_too() -> None:
    datasets = {'train': ScenePatches(SyntheticScene(bands=4, size=128, seed=0), size=64, length=4)}
    model = Pansharpener(4, 4, Around, guide=Around)
    said: list[str] = []
    model.prepare(datasets, say=said.append)
    assert [line.split(':')[0] for line in said] == ['generator.inner', 'guide.inner']
    assert model.generator.inner.fitted and model.guide.inner.fitted
