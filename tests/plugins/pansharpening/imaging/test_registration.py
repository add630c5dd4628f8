"""The shift of an MS against its PAN is measured, and corrected by a scene of its own."""

from __future__ import annotations

import numpy as np
import pytest

from plugins.pansharpening.data.registered_scene import RegisteredScene
from plugins.pansharpening.imaging.registration import register
from plugins.pansharpening.scenes.arrays.npy import ArrayScene
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.synthetic.scene import SyntheticScene
from toolkit.errors import DataError


@pytest.fixture(scope='module')
def images() -> tuple[np.ndarray, np.ndarray]:
    scene = SyntheticScene(4, 256)
    return tuple(
        np.round(image * 2047).astype(np.uint16) for image in (scene.read_ms(), scene.read_pan())
    )


def made(tmp_path, ms, pan) -> ArrayScene:
    np.save(tmp_path / 'ms.npy', ms)
    np.save(tmp_path / 'pan.npy', pan)
    return ArrayScene(str(tmp_path / 'ms.npy'), str(tmp_path / 'pan.npy'), 'IKONOS')


@pytest.mark.parametrize(('rows', 'cols'), [(0, 0), (2, -1), (14, -14)])
def test_a_shift_is_found_and_taken_back(tmp_path, images, rows, cols):
    ms, pan = images
    scene = made(tmp_path, ms, np.roll(pan, (-rows, -cols), (1, 2)))
    found = register(scene)
    assert (found.rows, found.cols) == pytest.approx((rows, cols), abs=0.1)
    assert found.similarity > 0.9
    warned = found.list_warnings('scene')
    assert bool(warned) == bool(rows)
    if rows:
        assert 'register=phase' in warned[0]
        assert ('one product' in warned[0]) == (rows == 14)
        again = register(RegisteredScene(scene))
        assert again.distance < 0.1


@pytest.mark.parametrize('samples', ['centre', 'interp23tap'])
def test_samples_in_the_place_that_they_are_read_for_are_not_moved(
    tmp_path, images, samples, monkeypatch
):
    pan = images[1][0].astype(float)
    # A mean of the pixels that it covers lies at their centre, half a pixel before interp23tap's.
    centred = pan.reshape(64, 4, 64, 4).mean((1, 3))
    bands = np.stack([centred * share for share in (0.7, 0.9, 1, 0.8)]).round().astype(np.uint16)
    scene = made(tmp_path, bands if samples == 'centre' else images[0], images[1])
    monkeypatch.setattr(ArrayScene, 'samples', samples)
    found = register(scene)
    assert (found.rows, found.cols) == pytest.approx((0, 0), abs=0.1)


def test_a_pan_of_another_place_is_named(tmp_path, images):
    ms, pan = images
    scene = made(tmp_path, ms, pan[:, ::-1, ::-1])
    found = register(scene)
    assert not found.belongs
    assert 'check that both show the same ground' in found.list_warnings('scene')[0]
    with pytest.raises(DataError, match='to register them'):
        RegisteredScene(scene).read_ms()
    flat = made(tmp_path, ms * 0 + 5, pan)
    assert 'no detail' in register(flat).list_warnings('scene')[0]


def test_windows_of_a_registered_scene_hold_the_bits_of_the_whole(tmp_path, images):
    scene = RegisteredScene(made(tmp_path, *images), (5.3, -0.4))
    window = Window(10, 20, 7, 9)
    np.testing.assert_array_equal(scene.read_ms(window), window.cut(scene.read_ms()))
    np.testing.assert_array_equal(scene.read_pan(), scene.original.read_pan())
    mask = scene.read_mask()
    assert mask is not None
    assert not mask[-5:].any()  # the MS of these rows is not there
    assert mask[:-5, 1:].all()
    fine = window.enlarged(4)
    np.testing.assert_array_equal(scene.read_mask(fine), fine.cut(mask))
