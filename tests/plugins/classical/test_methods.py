"""What holds for every classical method: windows, units, batches, flat images, wrong arguments."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from plugins.classical.numerics.filters import (
    LOWPASS_GAIN,
    decimate,
    decimate_by_mtf,
    filter_by_mtf,
    lowpass,
    smooth,
    smooth_and_decimate,
)
from plugins.classical.numerics.named_moments import NamedMoments
from plugins.classical.numerics.statistics import regress, regress_signed
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.mtf import mtf_filter
from plugins.pansharpening.imaging.resample import interp23tap, upsample, upsampled
from plugins.pansharpening.imaging.streaming_statistics import Moments
from plugins.pansharpening.imaging.two_pass_generator import (
    Look,
    blocks,
    in_memory,
    move_statistics,
)
from plugins.pansharpening.scenes.window import Window
from tests.support.classical_golden import METHODS, method
from toolkit.errors import DataError


def multispectral(
    bands: int = 4, low: tuple[int, int] = (24, 20), ratio: int = 4, batch: int = 1, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """An image of correlated bands and a PAN that belongs to it, float32."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.rand(batch, 1, *low, generator=generator)
    own = torch.rand(batch, bands, *low, generator=generator)
    ms = 0.2 + 0.4 * common + 0.2 * own
    noise = torch.rand(batch, 1, low[0] * ratio, low[1] * ratio, generator=generator)
    return ms, interp23tap(ms, ratio).mean(1, keepdim=True) + 0.2 * noise


def scene(
    bands: int = 4, low: tuple[int, int] = (24, 20), ratio: int = 4, batch: int = 1, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The same with the image upsampled."""
    ms, pan = multispectral(bands, low, ratio, batch, seed)
    return interp23tap(ms, ratio), pan


# -- windows ---------------------------------------------------------------------------------------


@settings(max_examples=6, deadline=None)
@given(tile=st.integers(5, 300), seed=st.integers(0, 9), data=st.data())
@pytest.mark.parametrize('name', METHODS)
def test_windows_equal_the_whole(name: str, tile: int, seed: int, data: st.DataObject) -> None:
    """To the bit, the multispectral image upsampled window by window too."""
    low = (data.draw(st.integers(3, 80)), data.draw(st.integers(3, 80)))
    ms, pan = multispectral(low=low, seed=seed)
    built = method(name)
    built.border = border = data.draw(st.sampled_from(['replicate', 'wrap']))
    e = upsampled(LazyImage.of(ms, border), 4, border=border)
    p = LazyImage.of(pan, border)
    statistics = built.statistics(in_memory(e, p, 4))
    statistics = move_statistics(statistics, ms, ms.dtype)
    found = torch.full((1, 4, *p.shape), float('nan'))
    for top in range(0, p.shape[0], tile):
        for left in range(0, p.shape[1], tile):
            window = Window(top, left, min(tile, p.shape[0] - top), min(tile, p.shape[1] - left))
            found[(..., *window.slices)] = built.window(e, p, window, statistics)
    assert torch.equal(found, built(upsample(ms, 4, border=border), pan))


@pytest.mark.parametrize('name', METHODS)
def test_pixels_without_data_do_not_count(name: str) -> None:
    built, shape = method(name), (640, 96)
    valid = torch.zeros(1, 1, *shape, dtype=torch.bool)
    valid[..., 128:352, :] = True  # filters reach no farther than 128 pixels beyond
    found = []
    for filler in (0.0, 7.0):
        ms, pan = multispectral(low=(160, 24))
        ms[..., 120:, :], pan[..., 480:, :] = filler, filler / 2
        e, p = upsampled(LazyImage.of(ms), 4), LazyImage.of(pan)

        def scan(look: Look, e: LazyImage = e, p: LazyImage = p) -> list:
            return [look(e, p, w, valid[(..., *w.slices)]) for w in blocks(shape, 4)]

        found.append(built.statistics(scan))
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, rtol=1e-6, atol=1e-6)


# -- what must not matter --------------------------------------------------------------------------


@pytest.mark.parametrize('name', METHODS)
def test_unit_does_not_matter(name: str) -> None:
    lrms_up, pan = (t.double() for t in scene())
    result = method(name)(lrms_up, pan)
    # Percentiles are those of float32 numbers, which digital numbers are.
    close = 1e-6 if name in ('BT-H', 'MTF-GLP-HPM-H') else 1e-8
    torch.testing.assert_close(
        method(name)(2047 * lrms_up, 2047 * pan), 2047 * result, rtol=close, atol=100 * close
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


def whole(field: LazyImage) -> Tensor:
    return field.read(field.whole)


@pytest.mark.parametrize('gain', [0.15, 0.3])
@pytest.mark.parametrize('size', [(64, 48), (36, 52), (4, 8)], ids=str)
def test_filters_of_fields_are_the_filter(size: tuple[int, int], gain: float) -> None:
    pan = torch.rand(2, 1, *size, dtype=torch.float64)
    full = mtf_filter(pan, (gain,), 4)
    both = torch.cat([full, mtf_filter(pan, (0.2,), 4)], 1)
    for image, tolerance in ((pan, 1e-12), (pan.float(), 1e-6)):
        field = LazyImage.of(image)
        found = whole(filter_by_mtf(field, gain, 4))
        torch.testing.assert_close(found, full.to(image), rtol=0, atol=tolerance)
        for wide in (True, False):
            found = whole(decimate_by_mtf(field, [gain, 0.2], 4, wide))
            expected = decimate(both, 4).to(image)
            torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    low = lowpass(LazyImage.of(pan), Window(0, 0, *size), 4)
    torch.testing.assert_close(low, mtf_filter(pan, (LOWPASS_GAIN,), 4), rtol=0, atol=1e-12)


def test_smooth_of_an_impulse_is_the_spline() -> None:
    """Analysis and synthesis of two octaves: (1 4 6 4 1) / 16 four times, binomial."""
    pan = torch.zeros(1, 1, 33, 33, dtype=torch.float64)
    pan[..., 16, 16] = 1
    result = smooth(LazyImage.of(pan), Window(0, 0, 33, 33), 4)[0, 0]
    assert float(result[16, 16]) == pytest.approx((12870 / 65536) ** 2)
    assert float(result[16, 8]) == pytest.approx(12870 / 65536**2)
    assert float(result.sum()) == pytest.approx(1)
    assert (result[16, :8] == 0).all()


def products(regressors: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    a, y = regressors.flatten(2), targets.flatten(2)
    return a @ a.transpose(1, 2), a @ y.transpose(1, 2)


def test_regress_finds_the_weights_and_survives_dependence() -> None:
    images = torch.rand(2, 3, 20, 20, dtype=torch.float64)
    target = 0.3 * images[:, :1] - 0.1 * images[:, 2:]
    weights = regress(*products(images, target))[..., 0]
    expected = torch.tensor([0.3, 0.0, -0.1], dtype=torch.float64).expand(2, -1)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-9)
    found = NamedMoments(Moments.of(torch.cat([images, target + 7], 1)), x=3, y=1)
    weights, constant = found.regression('x', 'y')
    torch.testing.assert_close(weights[..., 0], expected, rtol=0, atol=1e-9)
    assert constant.flatten().tolist() == pytest.approx([7, 7])
    twice = torch.cat([images[:, :1], images[:, :1], torch.zeros_like(images[:, :1])], 1)
    weights = regress(*products(twice, images[:, :1]))[0, :, 0]
    expected = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-9)


def test_signed_regression_keeps_signs_and_is_plain_where_they_hold() -> None:
    images = torch.rand(1, 3, 20, 20, dtype=torch.float64)
    target = -0.5 * images[:, :1] + 0.2 * images[:, 2:]
    signs = torch.tensor([-1.0, -1.0, 1.0])
    gram, cross = products(images, target)
    weights = regress_signed(gram, cross, signs)
    torch.testing.assert_close(weights, regress(gram, cross), rtol=0, atol=1e-9)
    weights = regress_signed(gram, -cross, signs)[0, :, 0]
    assert (weights * signs >= 0).all()


@pytest.mark.parametrize('name', METHODS)
def test_shapes_are_worked_out_without_data(name: str) -> None:
    with torch.device('meta'):
        result = method(name)(torch.empty(2, 4, 32, 24), torch.empty(2, 1, 32, 24))
    assert result.shape == (2, 4, 32, 24)


def test_the_spline_at_the_kept_pixels_is_the_decimated_spline() -> None:
    pan = LazyImage.of(torch.rand(1, 1, 96, 80))
    for window in (Window(16, 24, 64, 32), Window(0, 0, 96, 80), Window(16, 48, 32, 32)):
        found = smooth_and_decimate(pan, window, 4)
        torch.testing.assert_close(found, decimate(smooth(pan, window, 4), 4), rtol=0, atol=1e-6)


def test_indusion_of_a_ramp_leaves_it_where_it_lies() -> None:
    """The bands and the reduced PAN lie at the same pixels, where the samples of the system do."""
    rows = torch.arange(192, dtype=torch.float64)
    pan = (rows[:, None] + rows).expand(1, 1, -1, -1) / 400
    lrms_up = pan.expand(-1, 4, -1, -1).clone()  # the samples of any upsampling, exact on a ramp
    built = method('Indusion')
    inner = slice(40, -40)
    for border, shift in (('replicate', 0.0), ('wrap', 2 / 400)):  # a pixel along both axes
        built.border = border
        low = built._enlarge(
            built._reduce(LazyImage.of(lrms_up, border), LazyImage.of(pan, border))[1]
        )
        found = (pan - whole(low))[..., inner, inner]
        torch.testing.assert_close(found, torch.full_like(found, shift), rtol=0, atol=1e-9)


def test_clusters_have_gains_of_their_own() -> None:
    """Two halves whose bands follow the PAN by other slopes, which one for all would miss."""
    torch.manual_seed(0)
    detail = 0.1 * torch.rand(1, 1, 64, 64, dtype=torch.float64)
    low = torch.nn.functional.avg_pool2d(detail, 9, 1, 4, count_include_pad=False)
    slopes = torch.tensor([[0.5, 2.0, 1.0, 0.5], [2.0, 0.5, 1.0, 0.5]], dtype=torch.float64)
    side = (torch.arange(64) >= 32).long()
    levels = torch.tensor([[0.2, 0.6, 0.3, 0.3], [0.6, 0.2, 0.3, 0.3]], dtype=torch.float64)
    e = (slopes[side].T[:, None] * low + levels[side].T[:, None]).contiguous()
    pan = e.mean(1, keepdim=True) + detail - low
    built = type(method('C-GSA'))(4, 4, clusters=2)
    result = built(e, pan) - e
    for half in (slice(4, 28), slice(36, 60)):
        share = (
            (result[..., half] / (pan - e.mean(1, keepdim=True))[..., half])
            .median(-1)[0]
            .median(-1)[0]
        )
        expected = slopes[side[half.start]] / slopes.mean()
        torch.testing.assert_close(share[0], expected, rtol=0, atol=0.25)
    again = built(e, pan) - e
    assert torch.equal(again, result)
    with pytest.raises(ValueError, match='clusters must be at least 1, found 0'):
        type(built)(4, 4, clusters=0)
