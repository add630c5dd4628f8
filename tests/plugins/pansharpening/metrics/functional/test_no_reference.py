from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.pansharpening.imaging.masks import shrink, window_sums
from plugins.pansharpening.metrics import functional
from tests.support.full_resolution import gains, images

# D_lambda, D_s, QNR, D_lambda_K, HQNR by DLPan-Toolbox's MATLAB.
TOOLBOX = {
    ('ik', 'crop', 'BIC'): (0.000888, 0.113982, 0.885231, 0.064111, 0.829214),
    ('ik', 'crop', 'BROVEY'): (0.129617, 0.145287, 0.743927, 0.168097, 0.711038),
    ('ik', 'crop', 'EXP'): (0, 0.118056, 0.881944, 0.048797, 0.838907),
    ('wv2', 'crop', 'BIC'): (0.003742, 0.100511, 0.896123, 0.075479, 0.831597),
    ('wv2', 'crop', 'BROVEY'): (0.046801, 0.097280, 0.860472, 0.236568, 0.689166),
    ('wv2', 'crop', 'EXP'): (0, 0.118857, 0.881143, 0.048924, 0.838034),
    ('ik', 'full', 'BIC'): (0.001014, 0.121342, 0.877767, 0.071854, 0.815522),
    ('ik', 'full', 'BROVEY'): (0.152938, 0.200988, 0.676813, 0.192624, 0.645103),
    ('wv2', 'full', 'BIC'): (0.003161, 0.072619, 0.924450, 0.065619, 0.866527),
    ('wv2', 'full', 'BROVEY'): (0.045868, 0.094443, 0.864020, 0.285633, 0.646900),
}
# D_rho, D_sR by Lambda-PNN's Python; R-Q2n, R-Q, R-SAM, R-ERGAS by fr-pansh-eval-tool.
GRIP = {
    ('ik', 'BIC'): (0.774778, 0.253454, 0.950161, 0.951894, 1.362703, 1.495812),
    ('ik', 'BROVEY'): (0.023353, 6.37e-5, 0.900904, 0.947177, 1.372286, 1.970858),
    ('wv2', 'BIC'): (0.771918, 0.136971, 0.964644, 0.972900, 3.284193, 3.032267),
    ('wv2', 'BROVEY'): (0.085790, 0.000688, 0.882479, 0.935292, 3.226349, 4.935165),
}


@pytest.mark.parametrize('case', TOOLBOX, ids='-'.join)
def test_toolbox_values(data_root, case):
    name, part, method = case
    data = images(data_root, name, part)
    fused, exp, pan = data[method], data['EXP'], data['pan']
    spectral, spatial = functional.d_lambda(fused, exp), functional.d_s(fused, exp, pan, 4)
    khan = functional.d_lambda_k(fused, exp, gains(data_root, name), 4)
    found = [spectral, spatial, (1 - spectral) * (1 - spatial), khan, (1 - khan) * (1 - spatial)]
    # Half of the last digit given, and rounding.
    assert [float(value) for value in found] == pytest.approx(TOOLBOX[case], abs=2e-6)


@pytest.mark.parametrize('case', GRIP, ids='-'.join)
def test_grip_values(data_root, case):
    data = images(data_root, case[0], 'crop')
    fused, ms, pan, mtf = data[case[1]], data['ms'], data['pan'], gains(data_root, case[0])
    found = [functional.d_rho(fused, pan, 4), functional.d_sr(fused, pan)]
    found += [
        index(fused, ms, pan, mtf, 4)
        for index in (functional.r_q2n, functional.r_q, functional.r_sam, functional.r_ergas)
    ]
    # The tool computes in float32.
    assert [float(value) for value in found] == pytest.approx(GRIP[case], abs=1e-5)
    assert float(functional.d_lambda_align(fused, ms, pan, mtf, 4)) == pytest.approx(
        1 - GRIP[case][2], abs=1e-5
    )


def test_products_are_made_of_their_factors(data_root):
    data, mtf = images(data_root, 'ik', 'crop'), gains(data_root, 'ik')
    fused, exp, pan = data['BROVEY'], data['EXP'], data['pan']
    spatial, khan = functional.d_s(fused, exp, pan, 4), functional.d_lambda_k(fused, exp, mtf, 4)
    expected = (1 - functional.d_lambda(fused, exp)) * (1 - spatial)
    assert functional.qnr(fused, exp, pan, 4) == expected
    assert functional.hqnr(fused, exp, pan, mtf, 4) == (1 - khan) * (1 - spatial)
    assert functional.rqnr(fused, exp, pan, mtf, 4) == (1 - khan) * (
        1 - functional.d_sr(fused, pan)
    )


def test_variants_differ_as_much_as_is_known(data_root):
    data, mtf = images(data_root, 'ik', 'crop'), gains(data_root, 'ik')
    values = [
        float(functional.d_lambda_k(data['BROVEY'], data['EXP'], mtf, 4, variant))
        for variant in ('toolbox', 'grip')
    ]
    assert 1e-4 < abs(values[0] - values[1]) < 0.0035


def test_alignment_finds_where_a_band_was_sampled():
    rng = np.random.default_rng(3)
    pan = torch.from_numpy(rng.random((1, 160, 160)))
    for _ in range(2):
        pan = torch.nn.functional.avg_pool2d(pan, 5, 1, 2)
    lrms = torch.cat([pan[:, 0::4, 3::4], pan[:, 2::4, 1::4]]) * 1000
    starts = functional.find_alignment(lrms, pan * 1000, 0.3, 4)
    assert starts.tolist() == [[0, 3], [2, 1]]
    batched = functional.find_alignment(
        torch.stack([lrms, lrms.flip(0)]), pan.expand(2, -1, -1, -1), 0.3, 4
    )
    assert batched.tolist() == [[[0, 3], [2, 1]], [[2, 1], [0, 3]]]


@pytest.mark.parametrize('ratio', [2, 3, 5])
def test_other_ratios(ratio):
    torch.manual_seed(ratio)
    ms = torch.nn.functional.avg_pool2d(torch.rand(3, 46, 46), 7, 1) * 1000 + 200
    fused = torch.nn.functional.interpolate(ms[None], scale_factor=ratio, mode='bicubic')[0]
    pan = fused.mean(0, keepdim=True)
    mtf = (0.3, 0.3, 0.3)
    found = [
        functional.d_lambda(fused, fused),
        functional.d_s(fused, fused, pan, ratio),
        functional.d_lambda_k(fused, fused, mtf, ratio),
        functional.d_rho(fused, pan, ratio),
        functional.d_sr(fused, pan),
        functional.r_sam(fused, ms, pan, mtf, ratio),
        functional.r_q2n(fused, ms, pan, mtf, ratio),
        functional.r_q(fused, ms, pan, mtf, ratio),
    ]
    assert all(torch.isfinite(value) for value in found)
    assert float(found[0]) == 0
    assert float(found[4]) == pytest.approx(0, abs=1e-9)  # the PAN is a mix of the bands
    assert float(found[6]) > 0.8


def _everything(fused, ms, exp, pan, mask=None):
    mtf = (0.3,) * 2
    return {
        'd_lambda': functional.d_lambda(fused, exp, mask=mask),
        'd_s': functional.d_s(fused, exp, pan, 4, mask=mask),
        'd_lambda_k': functional.d_lambda_k(fused, exp, mtf, 4, mask=mask),
        'd_rho': functional.d_rho(fused, pan, 4, mask=mask),
        'd_sr': functional.d_sr(fused, pan, mask=mask),
        'r_sam': functional.r_sam(fused, ms, pan, mtf, 4, mask=mask),
        'r_ergas': functional.r_ergas(fused, ms, pan, mtf, 4, mask=mask),
        'r_q2n': functional.r_q2n(fused, ms, pan, mtf, 4, mask=mask),
        'r_q': functional.r_q(fused, ms, pan, mtf, 4, mask=mask),
    }


def _set(seed: int, batch: int = 1):
    torch.manual_seed(seed)
    ms = torch.rand(batch, 2, 64, 64, dtype=torch.float64) * 1000
    exp = torch.nn.functional.interpolate(ms, scale_factor=4, mode='bicubic')
    pan = exp.mean(1, keepdim=True) + 50 * torch.rand(batch, 1, 256, 256)
    return exp + 30 * torch.rand_like(exp), ms, exp, pan


def test_a_mask_hides_whatever_is_in_nodata():
    fused, ms, exp, pan = _set(0)
    mask = torch.ones(256, 256, dtype=torch.bool)
    mask[:20, 200:] = False
    before = _everything(fused, ms, exp, pan, mask)
    for image, step in ((fused, 1), (exp, 1), (pan, 1), (ms, 4)):
        image[..., : 20 // step, 200 // step :] = float('nan')
    after = _everything(fused, ms, exp, pan, mask)
    for name, value in before.items():
        assert torch.isfinite(after[name]).all(), name
        assert torch.equal(value, after[name]), name


def test_a_mask_keeps_out_what_filters_have_mixed_with_nodata():
    fused, ms, exp, pan = _set(6)
    mask = torch.ones(256, 256, dtype=torch.bool)
    mask[:, 224:] = False
    before = _everything(fused, ms, exp, pan, mask)
    zeroed = [image.clone() for image in (fused, ms, exp, pan)]
    for image, step in zip(zeroed, (1, 4, 1, 1)):
        image[..., 224 // step :] = 0
    # Against images cut before nodata, for the indices that neither filter nor align.
    cut = [image[..., : 224 // step] for image, step in zip((fused, ms, exp, pan), (1, 4, 1, 1))]
    after = _everything(*zeroed, mask)
    assert all(torch.equal(before[name], after[name]) for name in before)
    for name, value in _everything(*cut).items():
        if name in ('d_lambda', 'd_sr'):
            torch.testing.assert_close(before[name], value, rtol=1e-9, atol=1e-12, msg=name)
        else:
            assert float(before[name]) == pytest.approx(float(value), rel=0.1), name


def test_a_mask_of_ones_changes_nothing_and_one_of_zeros_gives_nan():
    data = _set(1)
    plain = _everything(*data)
    full = _everything(*data, torch.ones(256, 256, dtype=torch.bool))
    empty = _everything(*data, torch.zeros(256, 256, dtype=torch.bool))
    for name, value in plain.items():
        torch.testing.assert_close(full[name], value, rtol=1e-12, atol=1e-14, msg=name)
        assert torch.isnan(empty[name]).all(), name


def test_a_nan_that_no_mask_hides_is_the_result():
    fused, ms, exp, pan = _set(8)
    fused[0, 1, 100, 100] = float('nan')
    for name, value in _everything(fused, ms, exp, pan).items():
        assert torch.isnan(value).all(), name
    assert torch.isnan(functional.sam(fused, exp)).all()


def test_a_scene_may_be_larger_than_a_strip():
    torch.manual_seed(9)
    image, other = torch.rand(2, 300, 40), torch.rand(2, 300, 40)
    turned = image.transpose(1, 2), other.transpose(1, 2)
    for index in (functional.q, lambda x, y: functional.ssim(x, y, 1)):
        torch.testing.assert_close(index(image, other), index(*turned), rtol=1e-10, atol=0)


def test_batches_and_numpy():
    data = _set(2, batch=2)
    together = _everything(*data)
    for i in range(2):
        alone = _everything(*(image[i].numpy() for image in data))
        for name, value in alone.items():
            assert value.shape == ()
            torch.testing.assert_close(together[name][i], value, rtol=1e-9, atol=1e-12, msg=name)


def test_blocks_at_the_border_are_smaller():
    torch.manual_seed(4)
    image, other = torch.rand(2, 40, 50), torch.rand(2, 40, 50)

    def uqi(x, y):
        pair = np.cov(x.ravel(), y.ravel())
        means = x.mean() * y.mean(), x.mean() ** 2 + y.mean() ** 2
        return 4 * pair[0, 1] * means[0] / (pair[0, 0] + pair[1, 1]) / means[1]

    def average(x):
        a, b = x.double().numpy()
        parts = [np.s_[i : i + 32, j : j + 32] for i in (0, 32) for j in (0, 32)]
        return np.mean([uqi(a[part], b[part]) for part in parts])

    expected = abs(average(image) - average(other))
    assert float(functional.d_lambda(image, other)) == pytest.approx(expected, rel=1e-9)


def test_constant_images_are_defined():
    flat = torch.full((3, 64, 64), 2047.0)
    pan = torch.full((1, 64, 64), 2047.0)
    assert float(functional.d_lambda(flat, flat)) == 0
    assert float(functional.d_s(flat, flat, pan, 4)) == pytest.approx(0, abs=1e-6)
    assert float(functional.d_rho(flat[:, :16, :16], pan[:, :16, :16], 4)) <= 1
    assert torch.isnan(functional.d_sr(flat, pan))
    assert float(functional.d_lambda(flat[:1], flat[:1])) == 0


@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 9), extra=st.integers(0, 5), seed=st.integers(0, 99))
def test_window_sums(size, extra, seed):
    image = torch.from_numpy(np.random.default_rng(seed).integers(0, 9, (1, 2, size, size + extra)))
    image = image.double()
    expected = torch.nn.functional.avg_pool2d(image, size, 1) * size**2
    torch.testing.assert_close(window_sums(image, size), expected)


def test_shrink_is_an_erosion():
    valid = torch.ones(1, 1, 9, 9, dtype=torch.bool)
    valid[..., 0, 4] = False
    found = shrink(valid, 2)
    assert found.shape == valid.shape
    assert (~found).sum() == 3 * 5
    assert not found[..., :3, 2:7].any()


def test_sizes_are_checked():
    image, pan = torch.rand(3, 32, 32), torch.rand(1, 32, 32)
    with pytest.raises(ValueError, match=r'pan has shape \(1, H, W\).*found \(3, 32, 32\)'):
        functional.d_sr(image, image)
    with pytest.raises(ValueError, match=r'go with \(64, 64\) pixels, found \(32, 32\)'):
        functional.r_sam(image, torch.rand(3, 16, 16), pan, (0.3,) * 3, 4)
    with pytest.raises(ValueError, match='cannot be reduced by 5'):
        functional.d_s(image, image, pan, 5)
    with pytest.raises(ValueError, match='a mask is boolean'):
        functional.d_rho(image, pan, 4, mask=torch.ones(32, 32))
    with pytest.raises(ValueError, match=r'of its images.*found \(8, 8\)'):
        functional.d_lambda(image, image, mask=torch.ones(8, 8, dtype=torch.bool))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_gpu_equals_cpu():
    data = _set(5)
    on_cpu, on_gpu = _everything(*data), _everything(*(image.cuda() for image in data))
    for name, value in on_cpu.items():
        assert on_gpu[name].is_cuda
        torch.testing.assert_close(on_gpu[name].cpu(), value, rtol=0, atol=1e-4, msg=name)
