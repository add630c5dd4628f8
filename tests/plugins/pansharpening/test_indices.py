from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.pansharpening.indices import ergas, q2n, sam
from plugins.pansharpening.mtf import sensor_degrade
from plugins.pansharpening.resample import interp23tap
from tests.plugins.pansharpening.reference import multispectral, scene

# SAM, ERGAS, Q2n by DLPan-Toolbox's MATLAB.
BICUBIC = {
    ('ik', 'crop'): (3.126500, 3.633822, 0.639403),
    ('wv2', 'crop'): (6.768594, 7.905447, 0.706320),
    ('ik', 'full'): (3.210552, 3.525610, 0.686817),
    ('wv2', 'full'): (7.153292, 7.167767, 0.721307),
}
WALD = {
    ('ik', 'crop'): (3.459416, 3.908473, 0.528139),
    ('wv2', 'crop'): (7.142439, 8.482451, 0.635323),
    ('ik', 'full'): (3.486377, 3.769005, 0.604880),
    ('wv2', 'full'): (7.715399, 7.607753, 0.663528),
}


def _scores(image, reference):
    return [
        float(value)
        for value in (sam(image, reference), ergas(image, reference, 4), q2n(image, reference))
    ]


@pytest.mark.parametrize('case', BICUBIC)
def test_toolbox_values_of_bicubic(data_root, case):
    ms = multispectral(data_root, *case)
    low = F.interpolate(F.avg_pool2d(ms, 4), scale_factor=4, mode='bicubic', align_corners=False)
    assert _scores(low.clamp(0, 2047), ms) == pytest.approx(BICUBIC[case], abs=1e-5)


@pytest.mark.parametrize('case', WALD)
def test_toolbox_values_of_the_reduced_protocol(data_root, case):
    ms = multispectral(data_root, *case)
    low = sensor_degrade(ms, scene(data_root, case[0]).sensor, 4)
    assert _scores(interp23tap(low, 4), ms) == pytest.approx(WALD[case], abs=1e-5)


@pytest.mark.parametrize('bands', [1, 2, 3, 4, 8])
def test_perfect_image(bands):
    image = np.random.default_rng(0).integers(1, 2047, (bands, 70, 45)).astype(np.float32)
    # Near 0, the angle from a dot product has no more than half of a double's digits.
    assert float(sam(image, image)) == pytest.approx(0, abs=1e-5)
    assert float(ergas(image, image, 4)) == 0
    assert float(q2n(image, image)) == pytest.approx(1, abs=1e-12)


def test_batches_are_scored_one_by_one():
    images, references = torch.rand(2, 3, 4, 64, 64) * 2000
    for index in (sam, lambda x, y: ergas(x, y, 4), q2n):
        together = index(images, references)
        assert together.shape == (3,)
        for i in range(3):
            assert float(together[i]) == pytest.approx(float(index(images[i], references[i])))


def test_sam_leaves_out_empty_pixels_and_knows_a_right_angle():
    image, reference = torch.zeros(2, 2, 2), torch.zeros(2, 2, 2)
    image[0, 0], reference[1, 0] = 3, 5
    assert float(sam(image, reference)) == pytest.approx(90)
    assert np.isnan(float(sam(torch.zeros(2, 2, 2), reference)))


def _multiply(x, y):
    """Hypercomplex product of two lists, by the doubling formula of Cayley and Dickson."""
    if len(x) == 1:
        return x * y
    half = len(x) // 2
    a, b, c, d = x[:half], x[half:], y[:half], y[half:]

    def conj(z):
        return np.concatenate([z[:1], -z[1:]])

    b, d = conj(b), conj(d)
    return np.concatenate(
        [
            _multiply(a, c) - _multiply(d, conj(b)),
            _multiply(conj(a), d) + _multiply(c, b),
        ]
    )


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), bands=st.sampled_from([2, 4, 8]))
def test_q2n_equals_the_definition_pixel_by_pixel(seed, bands):
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, 2047, (bands, 8, 8)).astype(float)
    image = np.clip(reference + rng.integers(-300, 300, reference.shape), 0, 2047)
    mean = reference.mean((1, 2), keepdims=True)
    deviation = reference.std((1, 2), ddof=1, keepdims=True)
    x = ((reference - mean) / deviation + 1).reshape(bands, -1)
    y = ((image - mean) / deviation + 1).reshape(bands, -1)
    y[1:] *= -1
    unbiased = 64 / 63
    product = np.mean([_multiply(x[:, p], y[:, p]) for p in range(64)], axis=0)
    covariance = unbiased * (product - _multiply(x.mean(1), y.mean(1)))
    power_x, power_y = (x.mean(1) ** 2).sum(), (y.mean(1) ** 2).sum()
    variance = unbiased * ((x**2).sum(0).mean() + (y**2).sum(0).mean() - power_x - power_y)
    bias = 2 * np.sqrt(power_x * power_y) / (power_x + power_y)
    expected = np.linalg.norm(covariance * bias * 2 / variance)
    assert float(q2n(image, reference, block=8)) == pytest.approx(expected, rel=1e-9)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r'found \(4, 8, 8\) and \(3, 8, 8\)'):
        sam(torch.zeros(4, 8, 8), torch.zeros(3, 8, 8))
