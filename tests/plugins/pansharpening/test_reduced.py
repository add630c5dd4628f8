"""The reduced scene is what the reduced protocol makes of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plugins.pansharpening.dataset import ScenePatches, WholeScene
from plugins.pansharpening.losses import ReferenceL1, ReferenceMSE
from plugins.pansharpening.reduced import ReducedScene
from plugins.pansharpening.scene import Window
from plugins.pansharpening.synthetic import SyntheticScene
from tests.plugins.pansharpening.test_dataset import RampScene


def test_it_equals_the_protocol():
    scene = SyntheticScene(bands=4, size=256, seed=3)
    expected = WholeScene(scene, protocol='reduced')[0]
    found = WholeScene(ReducedScene(scene))[0]
    for key in ('lrms', 'pan', 'hrms'):
        assert torch.equal(found[key], expected[key])
    assert found['meta']['scale'] == expected['meta']['scale']


def test_patches_carry_their_reference():
    scene = SyntheticScene(bands=4, size=256, seed=3)
    sample = ScenePatches(ReducedScene(scene), size=32, length=3)[0]
    row, col, height, width = sample['meta']['window']
    window = Window(row, col, height, width)
    assert torch.equal(sample['hrms'], torch.from_numpy(scene.read_ms(window)))
    assert sample['lrms'].shape == (4, 8, 8)


def test_a_reader_cannot_change_it():
    scene = ReducedScene(SyntheticScene(bands=4, size=256))
    before = scene.read_ms().copy()
    scene.read_ms()[:] = 0
    assert np.array_equal(scene.read_ms(), before)
    with pytest.raises(ValueError, match='read-only'):
        scene.reference[0, 0, 0] = 1


def test_a_scene_that_is_too_small():
    assert ReducedScene(RampScene(16, 32)).pan_shape == (4, 8)
    with pytest.raises(ValueError, match='12 x 48 PAN pixels is too small to be reduced by 4'):
        ReducedScene(RampScene(12, 48))


def test_losses_against_the_reference():
    a, b = torch.zeros(1, 2, 3, 3), torch.full((1, 2, 3, 3), 0.5)
    assert float(ReferenceMSE()(a, b)) == 0.25
    assert float(ReferenceL1()(a, b)) == 0.5
    assert np.isclose(ReferenceL1(weight=2).weight, 2)
