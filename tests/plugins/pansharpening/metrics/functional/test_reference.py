from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from plugins.pansharpening.imaging.mtf import sensor_degrade
from plugins.pansharpening.imaging.resample import interp23tap
from plugins.pansharpening.metrics.functional import ergas, psnr, q, q2n, rmse, sam, scc, ssim
from tests.support.reference_images import multispectral, scene

# SCC, SCC over the interior, Q of BICUBIC's images by the same.
SPATIAL = {
    ('ik', 'crop'): (0.846545, 0.744052, 0.647291),
    ('wv2', 'crop'): (0.790690, 0.773763, 0.790304),
    ('ik', 'full'): (0.771251, 0.766221, 0.684493),
    ('wv2', 'full'): (0.789962, 0.791963, 0.726997),
}
WALD_SPATIAL = {'ik': (0.691744, 0.606046), 'wv2': (0.744144, 0.671981)}
DECIBELS = {('ik', 'crop'): 30.062081, ('wv2', 'crop'): 23.798729}
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


def _bicubic(ms):
    low = F.interpolate(F.avg_pool2d(ms, 4), scale_factor=4, mode='bicubic', align_corners=False)
    return low.clamp(0, 2047)


@pytest.mark.parametrize('case', SPATIAL)
def test_toolbox_values_of_scc_and_q(data_root, case):
    ms = multispectral(data_root, *case)
    image = _bicubic(ms)
    found = [float(v) for v in (scc(image, ms), scc(image, ms, 'interior'), q(image, ms))]
    assert found == pytest.approx(SPATIAL[case], abs=2e-6)


@pytest.mark.parametrize('name', WALD_SPATIAL)
def test_toolbox_values_of_scc_and_q_in_the_reduced_protocol(data_root, name):
    ms = multispectral(data_root, name, 'full')
    image = interp23tap(sensor_degrade(ms, scene(data_root, name).sensor, 4), 4)
    found = [float(scc(image, ms)), float(q(image, ms))]
    assert found == pytest.approx(WALD_SPATIAL[name], abs=2e-6)


@pytest.mark.parametrize('case', DECIBELS)
def test_psnr_values(data_root, case):
    ms = multispectral(data_root, *case)
    assert float(psnr(_bicubic(ms), ms, 2047)) == pytest.approx(DECIBELS[case], abs=2e-6)


def _random_pair(*shape):
    rng = np.random.default_rng(7)
    image = rng.random(shape)
    return image, np.clip(image + 0.1 * rng.standard_normal(shape), 0, 1)


def test_ssim_equals_the_definition_window_by_window():
    image, other = _random_pair(2, 13, 17)
    offset = np.arange(-5, 6)
    weight = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 1.5**2))
    weight /= weight.sum()
    values = []
    for x, y in zip(image, other):
        for row in range(3):
            for col in range(7):
                a, b = (t[row : row + 11, col : col + 11] for t in (x, y))
                mean_a, mean_b = (weight * a).sum(), (weight * b).sum()
                var_a, var_b = (
                    (weight * (a - mean_a) ** 2).sum(),
                    (weight * (b - mean_b) ** 2).sum(),
                )
                covariance = (weight * (a - mean_a) * (b - mean_b)).sum()
                top = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
                values.append(top / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)))
    assert float(ssim(image, other, 1)) == pytest.approx(np.mean(values), rel=1e-10)


@pytest.mark.parametrize('peak', [1, 255, 2047])
@pytest.mark.parametrize('shape', [(1, 11, 11), (4, 32, 41), (8, 64, 50)])
def test_ssim_and_psnr_equal_those_of_scikit_image(shape, peak):
    image, reference = (peak * values for values in _random_pair(*shape))
    similarity = structural_similarity(
        reference,
        image,
        channel_axis=0,
        data_range=peak,
        # The paper's windows. They are scikit-image's 11 x 11: sigma times its truncation at 3.5.
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    ratio = peak_signal_noise_ratio(reference, image, data_range=peak)
    # Both compute in float64: only rounding differs, by some 1e-15 and 1e-14.
    assert float(ssim(image, reference, peak)) == pytest.approx(similarity, abs=1e-12)
    assert float(psnr(image, reference, peak)) == pytest.approx(ratio, abs=1e-12)


def test_q_equals_the_definition_window_by_window():
    image, other = _random_pair(1, 11, 10)
    values = []
    for row in range(4):
        for col in range(3):
            a, b = (t[0, row : row + 8, col : col + 8] for t in (image, other))
            covariance = np.cov(a.ravel(), b.ravel())
            means = a.mean() * b.mean() / (a.mean() ** 2 + b.mean() ** 2)
            values.append(4 * covariance[0, 1] * means / (covariance[0, 0] + covariance[1, 1]))
    assert float(q(image, other, block=8)) == pytest.approx(np.mean(values), rel=1e-10)


def test_rmse_is_over_all_bands():
    image = np.zeros((2, 5, 5))
    reference = np.stack([np.full((5, 5), 3.0), np.full((5, 5), 4.0)])
    assert float(rmse(image, reference)) == pytest.approx(np.sqrt(12.5))
    assert float(psnr(image, reference, 10)) == pytest.approx(20 * np.log10(10 / np.sqrt(12.5)))
    assert np.isinf(float(psnr(image, image, 10)))


MASKABLE = {
    'sam': sam,
    'ergas': lambda x, y, mask: ergas(x, y, 4, mask),
    'rmse': rmse,
    'psnr': lambda x, y, mask: psnr(x, y, 1, mask),
    'ssim': lambda x, y, mask: ssim(x, y, 1, mask),
    'scc': lambda x, y, mask: scc(x, y, 'interior', mask),
    'q': lambda x, y, mask: q(x, y, mask=mask),
    'q2n': lambda x, y, mask: q2n(x * 2047, y * 2047, mask=mask),
}


@pytest.mark.parametrize('name', MASKABLE)
def test_a_masked_image_is_scored_as_its_rest(name):
    index = MASKABLE[name]
    image, reference = _random_pair(3, 64, 96)
    mask = np.ones((64, 96), dtype=bool)
    mask[:, :32] = False
    expected = float(index(image[..., 32:], reference[..., 32:], None))
    image[..., :32], reference[..., :20] = np.nan, 0
    assert float(index(image, reference, mask)) == pytest.approx(expected, rel=1e-9)
    assert np.isnan(float(index(image, reference, np.zeros_like(mask))))


def test_what_cannot_be_scored_is_explained():
    image = torch.zeros(1, 8, 8)
    with pytest.raises(ValueError, match='no windows of 32 x 32 pixels'):
        q(image, image)
    with pytest.raises(ValueError, match='at least 11 x 11'):
        ssim(image, image, 1)
    with pytest.raises(ValueError, match='peak must be positive'):
        ssim(torch.zeros(1, 16, 16), torch.zeros(1, 16, 16), 0)
    with pytest.raises(ValueError, match="'zero' or 'interior', found 'none'"):
        scc(image, image, 'none')
    assert float(q(torch.zeros(1, 32, 32), torch.zeros(1, 32, 32))) == 1


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


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int32, np.float32])
def test_arrays_of_any_dtype_and_layout(dtype):
    image = np.random.default_rng(5).integers(1, 200, (3, 40, 40)).astype(dtype)
    image.flags.writeable = False
    other = image[:, ::-1].copy().transpose(0, 2, 1)
    expected = float(sam(image.astype(float), other.astype(float)))
    assert float(sam(image, other)) == pytest.approx(expected)
    assert float(sam(image[:, ::-1], image[:, ::-1])) == pytest.approx(0, abs=1e-5)
    mask = np.ones((40, 40), dtype=bool)
    mask.flags.writeable = False
    assert float(sam(image, other, mask)) == pytest.approx(expected)
