from __future__ import annotations

import numpy as np
import pytest
import torch

from plugins.pansharpening.imaging.mtf import mtf_degrade, sensor_degrade
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.synthetic.scene import SyntheticScene, simulate


@pytest.mark.parametrize('bands', [4, 8])
@pytest.mark.parametrize('seed', [0, 3])
def test_statistics_are_those_of_real_imagery(bands, seed):
    scene = SyntheticScene(bands, 512, seed)
    ms, pan = scene.read_ms(), scene.read_pan()
    assert ms.shape == (bands, 128, 128)
    assert pan.shape == (1, 512, 512)
    assert scene.reference.shape == (bands, 512, 512)
    for image in (ms, pan):
        numbers = image * scene.scale
        np.testing.assert_allclose(numbers, np.round(numbers), atol=1e-3)
        assert image.min() >= 0
        assert image.max() <= 1
        assert (image == 1).mean() < 0.005
    assert 200 < pan.mean() * 2047 < 800
    assert 80 < pan.std() * 2047 < 400
    # How much of a low-passed PAN the bands explain: real scenes lie between .84 and .996.
    low = mtf_degrade(torch.from_numpy(pan), (scene.sensor.pan_gain,), 4).numpy().ravel()
    design = np.stack([*ms.reshape(bands, -1), np.ones(low.size)], 1)
    rest = low - design @ np.linalg.lstsq(design, low, rcond=None)[0]
    assert 0.9 < 1 - rest.var() / low.var() < 0.999
    # Vegetation: the near infrared varies apart from the visible bands.
    correlation = np.corrcoef(ms.reshape(bands, -1))
    assert correlation[0, 1] > 0.85
    assert abs(correlation[2, -1]) < 0.6


def test_ms_is_the_degraded_truth():
    scene = SyntheticScene(4, 256, 1)
    low = sensor_degrade(torch.from_numpy(scene.reference.copy()), scene.sensor, 4).numpy()
    error = (scene.read_ms() - low) * scene.scale
    assert abs(error.mean()) < 0.1
    assert 0.5 < error.std() < 4


def test_the_same_arguments_give_the_same_bits():
    first = [image.copy() for image in simulate(SyntheticScene().sensor, 4, 128, 7, 4)]
    simulate.cache_clear()
    again = simulate(SyntheticScene().sensor, 4, 128, 7, 4)
    for one, other in zip(first, again):
        np.testing.assert_array_equal(one, other)
    other = simulate(SyntheticScene().sensor, 4, 128, 8, 4)
    assert not np.array_equal(first[1], other[1])


def test_windows_are_copies():
    scene = SyntheticScene(4, 128)
    piece = scene.read_pan(Window(8, 16, 24, 32))
    np.testing.assert_array_equal(piece, scene.read_pan()[:, 8:32, 16:48])
    piece[:] = 0
    assert scene.read_pan(Window(8, 16, 24, 32)).any()
    with pytest.raises(ValueError, match='read-only'):
        scene.reference[:] = 0


@pytest.mark.parametrize(('size', 'ratio'), [(64, 4), (96, 2), (200, 4), (324, 3)])
def test_sizes_and_ratios(size, ratio):
    scene = SyntheticScene(8, size, ratio=ratio)
    assert scene.ratio == ratio
    assert scene.read_ms().shape == (8, size // ratio, size // ratio)
    assert np.isfinite(scene.reference).all()


def test_refusals():
    for arguments, message in (
        ({'bands': 3}, '4 or 8 bands, found 3'),
        ({'size': 130}, 'multiple of the ratio 4 from 64 to 8192, found 130'),
        ({'ratio': 1}, 'at least 2, found 1'),
        ({'sensor': 'WV2'}, 'WorldView-2 has 8 bands, found bands=4'),
        ({'sensor': 'WV5'}, 'did you mean'),
    ):
        with pytest.raises(ValueError, match=message):
            SyntheticScene(**arguments)
