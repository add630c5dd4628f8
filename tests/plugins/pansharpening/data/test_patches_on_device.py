"""Patches that are cut on a device hold the bits of those that are cut on the CPU."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from plugins.pansharpening.data.geometric_transforms import Flip, Misregistration, QuarterTurns
from plugins.pansharpening.data.patches import ScenePatches
from plugins.pansharpening.synthetic.scene import SyntheticScene


@pytest.mark.parametrize(
    'device',
    [
        'cpu',
        pytest.param(
            'cuda',
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
            ],
        ),
    ],
)
@pytest.mark.parametrize('with_transforms', [False, True])
def test_patches_of_a_device_are_those_of_the_cpu(device: str, with_transforms: bool) -> None:
    transforms = {'flip': Flip, 'turn': QuarterTurns} if with_transforms else None
    usual = ScenePatches(SyntheticScene(4, 128, seed=0), 64, 8, transforms)
    moved = copy.copy(usual)
    assert moved.move_to(torch.device(device))
    for seed in range(12):  # some of them at the scene's borders
        samples = []
        for data in (usual, moved):
            torch.manual_seed(seed)
            samples.append(data[0])
        assert samples[0].keys() == samples[1].keys()
        assert samples[0]['meta'] == samples[1]['meta']
        for key in samples[0].keys() - {'meta'}:
            assert samples[1][key].device.type == device
            assert torch.equal(samples[0][key], samples[1][key].cpu()), key


def test_transforms_that_need_the_cpu_keep_the_scene_there() -> None:
    data = ScenePatches(SyntheticScene(4, 128, seed=0), 64, 8, {'shift': Misregistration})
    assert not data.move_to(torch.device('cpu'))


def test_scenes_that_are_too_large_or_masked_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ScenePatches(SyntheticScene(4, 128, seed=0), 64, 8)
    monkeypatch.setattr('plugins.pansharpening.data.patches.MOST_MOVED', 1000)
    assert not data.move_to(torch.device('cpu'))
    monkeypatch.undo()
    monkeypatch.setattr(SyntheticScene, 'mask', np.ones((128, 128), bool))
    assert not data.move_to(torch.device('cpu'))
