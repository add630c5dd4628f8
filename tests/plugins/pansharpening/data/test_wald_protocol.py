"""The reduced scene is what the reduced protocol makes of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plugins.pansharpening.data import wald_protocol
from plugins.pansharpening.data.patches import ScenePatches
from plugins.pansharpening.data.wald_protocol import ReducedScene
from plugins.pansharpening.data.whole_scenes import WholeScene
from plugins.pansharpening.losses import ReferenceL1, ReferenceMSE
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.synthetic.scene import SyntheticScene
from tests.plugins.pansharpening.data.test_whole_scenes import RampScene
from toolkit.errors import DataError


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
    scene.reference[:] = 0
    assert scene.reference.any()


@pytest.mark.parametrize('ratio', [2, 3, 4])
def test_windows_hold_the_bits_of_the_whole(ratio, monkeypatch):
    monkeypatch.setattr(wald_protocol, 'BLOCK', 16)
    scene = RampScene(ratio**2 * 37, ratio**2 * 41, ratio)
    whole = WholeScene(scene, protocol='reduced')[0]
    found = ReducedScene(scene)
    np.testing.assert_allclose(found.read_ms(), whole['lrms'], rtol=1e-6)
    np.testing.assert_allclose(found.read_pan(), whole['pan'], rtol=1e-6)
    window = Window(9, 14, 20, 23)
    fresh = ReducedScene(scene)  # with no block made yet
    np.testing.assert_array_equal(
        fresh.read_ms(window), found.read_ms()[(slice(None), *window.slices)]
    )
    fine = window.enlarged(ratio)
    np.testing.assert_array_equal(
        fresh.read_pan(fine), found.read_pan()[(slice(None), *fine.slices)]
    )
    np.testing.assert_array_equal(fresh.read_reference(fine), scene.read_ms(fine))


def test_what_nodata_had_a_part_in_is_nodata(monkeypatch):
    class Holed(RampScene):
        def read_mask(self, window=None):
            mask = np.ones(self.pan_shape, bool)
            mask[self.pan_shape[0] * 13 // 32, self.pan_shape[1] * 25 // 42] = False
            return mask[(window or Window(0, 0, *self.pan_shape)).slices]

    monkeypatch.setattr(wald_protocol, 'BLOCK', 16)
    mask = ReducedScene(Holed(16 * 20, 16 * 21)).read_mask()
    # PAN pixel (130, 200) is in MS pixel (32, 50); the filter reaches 20 of them.
    expected = np.ones((80, 84), bool)
    expected[12:53, 30:71] = False
    np.testing.assert_array_equal(mask, expected)
    sample = WholeScene(Holed(16 * 20, 16 * 21), protocol='reduced')[0]
    np.testing.assert_array_equal(sample['mask'][0], expected)
    with pytest.raises(DataError, match='no pixel that is 20 MS pixels or more away'):
        WholeScene(Holed(16 * 5, 16 * 5), protocol='reduced')[0]


def test_few_blocks_are_kept(monkeypatch):
    monkeypatch.setattr(wald_protocol, 'BLOCK', 16)
    monkeypatch.setattr(wald_protocol, 'KEPT_BYTES', 20_000)
    scene = ReducedScene(RampScene(16 * 64, 16 * 64))
    scene.read_pan()
    held = sum(i.nbytes for block in scene._blocks.values() for i in block if i is not None)
    assert 0 < held <= 20_000


def test_a_scene_that_is_too_small():
    assert ReducedScene(RampScene(16, 32)).pan_shape == (4, 8)
    with pytest.raises(ValueError, match='12 x 48 PAN pixels is too small to be reduced by 4'):
        ReducedScene(RampScene(12, 48))


def test_losses_against_the_reference():
    a, b = torch.zeros(1, 2, 3, 3), torch.full((1, 2, 3, 3), 0.5)
    assert float(ReferenceMSE()(a, b)) == 0.25
    assert float(ReferenceL1()(a, b)) == 0.5
    assert np.isclose(ReferenceL1(weight=2).weight, 2)
