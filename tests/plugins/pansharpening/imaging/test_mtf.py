from __future__ import annotations

import pytest
import torch

from plugins.pansharpening.imaging.mtf import mtf_degrade, mtf_filter, mtf_kernel, sensor_degrade
from plugins.pansharpening.scenes.sensors import SENSORS, get_sensor
from tests.support.reference_images import golden


def test_kernel_sums_to_the_toolbox_value():
    kernel = mtf_kernel(get_sensor('IKONOS').ms_gains[0], 4)
    assert kernel.shape == (41, 41)
    assert float(kernel.sum()) == pytest.approx(0.99859, abs=5e-6)
    torch.testing.assert_close(kernel, kernel.flip(0, 1), rtol=0, atol=1e-15)
    torch.testing.assert_close(kernel, kernel.T, rtol=0, atol=1e-15)


def test_grip_kernel_is_another():
    kernel = mtf_kernel(0.26, 4, variant='grip')
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-12)
    assert float(kernel.min()) >= 0
    assert float((kernel - mtf_kernel(0.26, 4)).abs().max()) > 1e-6
    torch.testing.assert_close(kernel, kernel.flip(0, 1), rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match="'toolbox' or 'grip', found 'matlab'"):
        mtf_kernel(0.26, 4, variant='matlab')


@pytest.mark.parametrize('gain', [0.15, 0.28, 0.35])
def test_kernel_has_its_gain_at_nyquist(gain):
    kernel = mtf_kernel(gain, 4)
    # Of 41 frequencies the fifth stands for Nyquist's; the window smooths the response a little.
    wave = torch.cos(2 * torch.pi * 5 / 41 * torch.arange(-20, 21, dtype=torch.float64))
    assert float((kernel.sum(0) * wave).sum()) == pytest.approx(gain, abs=0.004)


def test_degradation_equals_the_toolbox(data_root):
    images = golden(data_root)
    for name, taken in (('ik_crop', 'IKONOS'), ('wv2_crop', 'WV2')):
        low = sensor_degrade(images[f'{name}/ms'], get_sensor(taken), 4)
        torch.testing.assert_close(low, images[f'{name}/reduced/ms'], rtol=0, atol=1e-8)


def test_filter_is_a_correlation_with_replicated_borders():
    image = torch.rand(2, 17, 23, dtype=torch.float64)
    gains = (0.3, 0.2)
    padded = torch.nn.functional.pad(image[None], (20,) * 4, mode='replicate')
    kernels = torch.stack([mtf_kernel(gain, 4) for gain in gains])[:, None]
    direct = torch.nn.functional.conv2d(padded, kernels, groups=2)[0]
    torch.testing.assert_close(mtf_filter(image, gains, 4), direct)


@pytest.mark.parametrize('size', [16, 18, 33])
def test_degradation_sizes(size):
    low = mtf_degrade(torch.rand(3, 2, size, size), (0.3, 0.3), 4)
    assert low.shape == (3, 2, size // 4, size // 4)


def test_refusals():
    with pytest.raises(ValueError, match='between 0 and 1, found 1.5'):
        mtf_kernel(1.5, 4)
    with pytest.raises(ValueError, match='odd'):
        mtf_kernel(0.3, 4, 40)
    with pytest.raises(ValueError, match='3 MTF gains for an image of 2 bands'):
        mtf_filter(torch.zeros(2, 8, 8), (0.3,) * 3, 4)


def test_sensors():
    with pytest.raises(ValueError, match="no sensor is named 'Ikonos'; did you mean 'IKONOS'"):
        get_sensor('Ikonos')
    for known in SENSORS.values():
        bands = len(known.band_names) or 4
        assert len(known.gains(bands)) == bands == len(known.names(bands))
        assert all(0 < gain < 1 for gain in (*known.ms_gains, known.pan_gain))
    assert get_sensor('IKONOS').rgb(4) == (2, 1, 0)
    assert get_sensor('WV3').rgb(8) == (4, 2, 1)
    assert get_sensor('Landsat').rgb(3) == (0, 1, 2)
    assert get_sensor('generic').names(2) == ('band 1', 'band 2')
