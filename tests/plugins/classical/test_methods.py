"""What holds for every classical method: windows, units, batches, flat images, wrong arguments."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from plugins.classical.filters import decimate, lowpass, mtf_decimate, smooth
from plugins.classical.statistics import regress, regress_signed, smallest, with_ones
from plugins.pansharpening.mtf import mtf_filter
from plugins.pansharpening.resample import interp23tap, upsample_window
from plugins.pansharpening.sensors import sensor
from tests.plugins.classical.golden import METHODS, PYRAMIDS, method
from toolkit.errors import DataError


def scene(
    bands: int = 4, low: tuple[int, int] = (24, 20), ratio: int = 4, batch: int = 1, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """An upsampled image of correlated bands and a PAN that belongs to it, float32."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.rand(batch, 1, *low, generator=generator)
    own = torch.rand(batch, bands, *low, generator=generator)
    ms = 0.2 + 0.4 * common + 0.2 * own
    noise = torch.rand(batch, 1, low[0] * ratio, low[1] * ratio, generator=generator)
    lrms_up = interp23tap(ms, ratio)
    return lrms_up, lrms_up.mean(1, keepdim=True) + 0.2 * noise


def tiles(size: tuple[int, int], tile: int, stride: int) -> list[tuple[int, int, int, int]]:
    step = -(-tile // stride) * stride
    return [
        (top, left, min(top + step, size[0]), min(left + step, size[1]))
        for top in range(0, size[0], step)
        for left in range(0, size[1], step)
    ]


# -- windows ---------------------------------------------------------------------------------------


@settings(max_examples=8, deadline=None)
@given(tile=st.integers(5, 120), seed=st.integers(0, 9))
@pytest.mark.parametrize('name', [name for name in METHODS if name not in PYRAMIDS])
def test_windows_equal_the_whole(name: str, tile: int, seed: int) -> None:
    lrms_up, pan = scene(seed=seed)
    built = method(name)
    statistics, halo = built.statistics(lrms_up, pan), built.fuse_halo
    whole = torch.full_like(lrms_up, float('nan'))
    for top, left, bottom, right in tiles(pan.shape[2:], tile, built.stride):
        rows = slice(max(top - halo, 0), bottom + halo)
        columns = slice(max(left - halo, 0), right + halo)
        part = built.fuse(lrms_up[..., rows, columns], pan[..., rows, columns], statistics)
        top_in, left_in = top - rows.start, left - columns.start
        whole[..., top:bottom, left:right] = part[
            ..., top_in : top_in + bottom - top, left_in : left_in + right - left
        ]
    assert torch.equal(whole, built(lrms_up, pan))


@pytest.mark.parametrize('tile', [16, 52])
@pytest.mark.parametrize('name', PYRAMIDS)
def test_windows_of_a_pyramid_with_the_upsampled_pan(name: str, tile: int) -> None:
    """The low-passed PAN comes from outside, since its upsampling wraps around the whole image."""
    lrms_up, pan = scene()
    built = method(name)
    statistics, low = built.statistics(lrms_up, pan), built.pan_at_ms_resolution(pan)
    whole = torch.full_like(lrms_up, float('nan'))
    for top, left, bottom, right in tiles(pan.shape[2:], tile, built.stride):
        window = (top // 4, left // 4, (bottom - top) // 4, (right - left) // 4)
        whole[..., top:bottom, left:right] = built.fuse(
            lrms_up[..., top:bottom, left:right],
            pan[..., top:bottom, left:right],
            statistics,
            upsample_window(low, 4, window),
        )
    # Upsampled in windows of another size, float64 differs in its last bits.
    torch.testing.assert_close(whole, built(lrms_up, pan), rtol=0, atol=1e-7)


@pytest.mark.parametrize('name', PYRAMIDS)
def test_inner_window_of_a_pyramid_needs_its_halo_alone(name: str) -> None:
    lrms_up, pan = scene(low=(50, 48))
    built = method(name)
    halo = built.fuse_halo
    assert halo % built.stride == 0
    statistics = built.statistics(lrms_up, pan)
    inner = slice(halo + 8, halo + 48)
    around = slice(8, 2 * halo + 48)
    part = built.fuse(lrms_up[..., around, around], pan[..., around, around], statistics)
    torch.testing.assert_close(
        part[..., halo:-halo, halo:-halo],
        built(lrms_up, pan)[..., inner, inner],
        rtol=0,
        atol=1e-7,
    )


# -- what must not matter --------------------------------------------------------------------------


@pytest.mark.parametrize('name', METHODS)
def test_unit_does_not_matter(name: str) -> None:
    lrms_up, pan = (t.double() for t in scene())
    result = method(name)(lrms_up, pan)
    torch.testing.assert_close(
        method(name)(2047 * lrms_up, 2047 * pan), 2047 * result, rtol=1e-8, atol=1e-6
    )


@pytest.mark.parametrize('name', METHODS)
def test_images_of_a_batch_do_not_mix(name: str) -> None:
    lrms_up, pan = scene(batch=3)
    pan[1] = 0.5  # flat, and alone so
    together = method(name)(lrms_up, pan)
    for b in range(3):
        alone = method(name)(lrms_up[b : b + 1], pan[b : b + 1])
        torch.testing.assert_close(together[b : b + 1], alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('name', METHODS)
def test_inputs_stay_as_they_are(name: str) -> None:
    lrms_up, pan = scene()
    copies = lrms_up.clone(), pan.clone()
    method(name)(lrms_up, pan)
    assert torch.equal(lrms_up, copies[0])
    assert torch.equal(pan, copies[1])


@pytest.mark.parametrize('ratio', [1, 2, 8])
@pytest.mark.parametrize('name', METHODS)
def test_other_ratios_and_bands(name: str, ratio: int) -> None:
    lrms_up, pan = scene(bands=3, low=(12, 10), ratio=ratio)
    built = method(name, bands=3, ratio=ratio)
    result = built(lrms_up, pan)
    assert result.shape == lrms_up.shape
    assert torch.isfinite(result).all()
    if ratio > 1:
        assert not torch.allclose(result, lrms_up, atol=1e-3)


# -- flat images -----------------------------------------------------------------------------------


@pytest.mark.parametrize('value', [0.0, 0.3])
@pytest.mark.parametrize('name', METHODS)
def test_constant_pan_leaves_the_image(name: str, value: float) -> None:
    lrms_up, pan = scene()
    assert torch.equal(method(name)(lrms_up, torch.full_like(pan, value)), lrms_up)


@pytest.mark.parametrize('value', [0.0, 0.3])
@pytest.mark.parametrize('name', METHODS)
def test_constant_bands_give_finite_images_of_their_range(name: str, value: float) -> None:
    lrms_up, pan = scene()
    lrms_up[:, 1] = value
    one = method(name)(lrms_up, pan)
    every = method(name)(torch.full_like(lrms_up, value), pan)
    for result in (one, every):
        assert torch.isfinite(result).all()
        assert result.abs().max() < 3
    # Where no band varies there is nothing to match the PAN to. BDSD does not match it, nor does
    # high-pass modulation with haze correction, which modulates what is above the haze.
    if name not in ('BDSD', 'BDSD-PC', 'MTF-GLP-HPM-H'):
        torch.testing.assert_close(every, torch.full_like(every, value), rtol=0, atol=1e-3)


@pytest.mark.parametrize('name', METHODS)
def test_zero_pixels_and_zero_images_are_finite(name: str) -> None:
    lrms_up, pan = scene()
    lrms_up[..., :20, :20] = 0
    pan[..., 10:30, 10:30] = 0
    assert torch.isfinite(method(name)(lrms_up, pan)).all()
    nothing = method(name)(torch.zeros_like(lrms_up), torch.zeros_like(pan))
    assert torch.equal(nothing, torch.zeros_like(lrms_up))


@pytest.mark.parametrize('name', ['Brovey', 'AWLP', 'MTF-GLP-HPM'])
def test_methods_in_proportion_to_the_bands_keep_zero(name: str) -> None:
    lrms_up, pan = scene()
    lrms_up[..., :20, :20] = 0
    assert (method(name)(lrms_up, pan)[..., :20, :20] == 0).all()


@pytest.mark.parametrize('name', METHODS)
def test_one_multispectral_pixel(name: str) -> None:
    result = method(name)(torch.full((1, 4, 4, 4), 0.3), torch.rand(1, 1, 4, 4))
    assert torch.isfinite(result).all()


# -- wrong arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize('name', METHODS)
def test_bands_and_ratio_below_one(name: str) -> None:
    with pytest.raises(ValueError, match='at least 1'):
        method(name).__class__(bands=0, ratio=4)


def test_wrong_sensors() -> None:
    with pytest.raises(ValueError, match="did you mean 'IKONOS'"):
        type(method('MTF-GLP'))(bands=4, ratio=4, sensor='IKONS')
    with pytest.raises(DataError, match='8 bands'):
        type(method('BDSD'))(bands=4, ratio=4, sensor='WV3')


def test_ratio_that_cannot_be_upsampled() -> None:
    with pytest.raises(ValueError, match='cannot enlarge by 3'):
        type(method('MTF-GLP-HPM'))(bands=4, ratio=3)


def test_strength_of_pracs() -> None:
    for wrong in (0.0, -1.0, float('nan')):
        with pytest.raises(ValueError, match='strength must be above 0'):
            type(method('PRACS'))(bands=4, ratio=4, strength=wrong)


# -- filters and statistics ------------------------------------------------------------------------


@pytest.mark.parametrize('size', [(64, 48), (37, 50), (4, 5)], ids=str)
def test_decimated_filter_is_the_filter_decimated(size: tuple[int, int]) -> None:
    pan = torch.rand(2, 1, *size, dtype=torch.float64)
    gains = sensor('IKONOS').gains(4)
    full = decimate(mtf_filter(pan.expand(-1, 4, -1, -1), gains, 4), 4)
    low = mtf_decimate(pan, gains, 4)
    assert low.shape[2:] == (-(-size[0] // 4), -(-size[1] // 4))
    inside = low[..., : full.shape[2], : full.shape[3]]
    torch.testing.assert_close(inside, full, rtol=0, atol=1e-7)


def test_smooth_of_an_impulse_is_the_spline() -> None:
    """Analysis and synthesis of two octaves: (1 4 6 4 1) / 16 four times, binomial."""
    pan = torch.zeros(1, 1, 33, 33, dtype=torch.float64)
    pan[..., 16, 16] = 1
    result = smooth(pan, 4)[0, 0]
    assert float(result[16, 16]) == pytest.approx((12870 / 65536) ** 2)
    assert float(result[16, 8]) == pytest.approx(12870 / 65536**2)
    assert float(result.sum()) == pytest.approx(1)
    assert (result[16, :8] == 0).all()


def test_lowpass_keeps_a_constant_almost() -> None:
    assert float(lowpass(torch.ones(1, 1, 16, 16), 4)[0, 0, 8, 8]) == pytest.approx(1, abs=2e-3)


def test_regress_finds_the_weights_and_survives_dependence() -> None:
    images = torch.rand(2, 3, 20, 20, dtype=torch.float64)
    target = 0.3 * images[:, :1] - 0.1 * images[:, 2:] + 7
    weights = regress(with_ones(images), target)[..., 0]
    expected = torch.tensor([0.3, 0.0, -0.1, 7.0], dtype=torch.float64).expand(2, -1)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-9)
    twice = torch.cat([images[:, :1], images[:, :1], torch.zeros_like(images[:, :1])], 1)
    weights = regress(twice, images[:, :1])[0, :, 0]
    expected = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-9)


def test_signed_regression_keeps_signs_and_is_plain_where_they_hold() -> None:
    images = torch.rand(1, 3, 20, 20, dtype=torch.float64)
    target = -0.5 * images[:, :1] + 0.2 * images[:, 2:]
    signs = torch.tensor([-1.0, -1.0, 1.0])
    weights = regress_signed(images, target, signs)
    torch.testing.assert_close(weights, regress(images, target), rtol=0, atol=1e-9)
    weights = regress_signed(images, -target, signs)[0, :, 0]
    assert (weights * signs >= 0).all()


def test_percentile_is_that_of_matlab() -> None:
    values = torch.arange(1.0, 11.0).flip(0).view(1, 1, 2, 5)
    assert float(smallest(values, 25)) == 3.0
    assert float(smallest(values, 10)) == 1.5
    assert float(smallest(values, 1)) == 1.0


@pytest.mark.parametrize('name', METHODS)
def test_shapes_are_worked_out_without_data(name: str) -> None:
    with torch.device('meta'):
        result = method(name)(torch.empty(2, 4, 32, 24), torch.empty(2, 1, 32, 24))
    assert result.shape == (2, 4, 32, 24)
