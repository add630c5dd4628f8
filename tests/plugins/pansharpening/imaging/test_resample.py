from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.resample import (
    Method,
    decimate,
    imresize,
    imresize_by,
    imresized_by,
    imresized_to,
    interp23tap,
    low_pass,
    polyphase,
    upsample,
    upsampled,
)
from plugins.pansharpening.scenes.window import Window
from tests.support.reference_images import golden

METHODS = ['interp23tap', 'bicubic', 'bilinear', 'nearest']


def test_interp23tap_equals_the_toolbox(data_root):
    images = golden(data_root)
    for low, fine in (
        ('ik_crop/ms', 'ik_crop/full/EXP'),
        ('ik_crop/reduced/ms', 'ik_crop/reduced/EXP'),
        ('wv2_crop/reduced/ms', 'wv2_crop/reduced/EXP'),
    ):
        # The golden images are float32, of some 2047: 1e-4 is their own precision.
        torch.testing.assert_close(interp23tap(images[low], 4), images[fine], rtol=0, atol=2e-4)


def test_imresize_equals_matlab_borders_included(data_root):
    images = golden(data_root)
    for name in ('ik_crop', 'wv2_crop'):
        low = imresize_by(images[f'{name}/pan'], 4)
        torch.testing.assert_close(low, images[f'{name}/reduced/pan'], rtol=0, atol=1e-9)


@pytest.mark.parametrize('ratio', [2, 4, 8])
def test_interp23tap_keeps_samples_where_it_says(ratio):
    image = torch.rand(1, 2, 7, 9, dtype=torch.float64)
    fine = interp23tap(image, ratio)
    assert fine.shape == (1, 2, 7 * ratio, 9 * ratio)
    kept = fine[..., ratio // 2 :: ratio, ratio // 2 :: ratio]
    torch.testing.assert_close(kept, image, rtol=0, atol=1e-12)


@pytest.mark.parametrize('ratio', [3, 6, 12])
def test_interp23tap_refuses_other_ratios(ratio):
    with pytest.raises(ValueError, match=f'cannot enlarge by {ratio}.*bicubic'):
        upsample(torch.zeros(1, 1, 8, 8), ratio)


def test_unknown_method_and_ratio():
    with pytest.raises(ValueError, match="'cubic'.*interp23tap, bicubic"):
        upsample(torch.zeros(1, 1, 8, 8), 4, 'cubic')
    with pytest.raises(ValueError, match='at least 1, found 0'):
        upsample(torch.zeros(1, 1, 8, 8), 0, 'nearest')


@pytest.mark.parametrize('method', METHODS)
def test_upsample_keeps_constants_and_gradients(method):
    image = torch.full((2, 3, 8, 6), 0.37, dtype=torch.float64, requires_grad=True)
    fine = upsample(image, 4, method)
    assert fine.shape == (2, 3, 32, 24)
    torch.testing.assert_close(fine, torch.full_like(fine, 0.37), rtol=0, atol=1e-6)
    fine.sum().backward()
    # Every sample weighs as much as the fine pixels that it stands for, borders aside.
    assert image.grad[..., 3:-3, 3:-3].allclose(torch.tensor(16.0, dtype=torch.float64), atol=1e-4)


def test_polyphase_is_what_two_doublings_do():
    assert polyphase(4).shape == (4, 17)
    assert polyphase(2).shape == (2, 13)
    np.testing.assert_allclose(polyphase(4).sum(1), 1, atol=1e-6)
    # The second doubling keeps what the first one gave, at even places.
    image = torch.rand(1, 1, 16, 16, dtype=torch.float64)
    once, twice = interp23tap(image, 2), interp23tap(image, 4)
    torch.testing.assert_close(twice[..., ::2, ::2], once, rtol=0, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    data=st.data(),
    method=st.sampled_from(METHODS),
    ratio=st.sampled_from([2, 3, 4, 8]),
)
def test_windows_equal_the_whole(height, width, data, method, ratio):
    """To the bit: a scene that is read window by window has no seams."""
    if method == 'interp23tap' and ratio == 3:
        method = 'bicubic'
    image = torch.rand(1, 2, height, width, generator=torch.Generator().manual_seed(height))
    row = data.draw(st.integers(0, ratio * height - 1))
    col = data.draw(st.integers(0, ratio * width - 1))
    window = Window(
        row,
        col,
        data.draw(st.integers(1, ratio * height - row)),
        data.draw(st.integers(1, ratio * width - col)),
    )
    expected = upsample(image, ratio, method)[(..., *window.slices)]
    assert torch.equal(upsampled(LazyImage.of(image), ratio, method).read(window), expected)


@pytest.mark.parametrize('ratio', [1, 2, 3, 4, 6])
@pytest.mark.parametrize('method', ['bicubic', 'bilinear', 'nearest'])
def test_other_methods_are_those_of_torch(method, ratio):
    image = torch.rand(2, 3, 11, 7, dtype=torch.float64)
    kind = {} if method == 'nearest' else {'align_corners': False}
    expected = F.interpolate(image, scale_factor=ratio, mode=method, **kind)
    torch.testing.assert_close(upsample(image, ratio, method), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize('size', [(3, 5), (21, 17)])
@pytest.mark.parametrize('ratio', [1, 2, 3, 4, 5])
def test_imresize_of_fields_is_imresize(ratio, size):
    image = torch.rand(1, 2, ratio * size[0], ratio * size[1], dtype=torch.float64)
    low = imresized_by(LazyImage.of(image), ratio)
    expected = imresize_by(image, ratio)
    torch.testing.assert_close(low.read(low.whole), expected, rtol=0, atol=1e-12)
    fine = imresized_to(low, ratio)
    expected = imresize(expected, image.shape[-2:])
    torch.testing.assert_close(fine.read(fine.whole), expected, rtol=0, atol=1e-12)


def test_imresize_agrees_with_torch_inside():
    image = torch.rand(1, 1, 64, 48, dtype=torch.float64)
    ours = imresize(image, (16, 12))
    theirs = torch.nn.functional.interpolate(
        image, (16, 12), mode='bicubic', antialias=True, align_corners=False
    )
    torch.testing.assert_close(ours[..., 3:-3, 3:-3], theirs[..., 3:-3, 3:-3])


@given(height=st.integers(1, 30), width=st.integers(1, 30), ratio=st.sampled_from([2, 3, 4]))
@settings(max_examples=30, deadline=None)
def test_imresize_sizes_and_constants(height, width, ratio):
    image = torch.full((2, height, width), 5.0)
    low = imresize_by(image, ratio)
    assert low.shape == (2, -(-height // ratio), -(-width // ratio))
    np.testing.assert_allclose(low.numpy(), 5, rtol=1e-5)
    assert imresize(image, (height * ratio, width)).shape == (2, height * ratio, width)


@pytest.mark.parametrize(
    ('ratio', 'method'),
    [(2, 'interp23tap'), (4, 'interp23tap')] + [(r, 'bicubic') for r in (2, 3, 4, 5, 6)],
)
def test_decimate_takes_samples_from_where_upsampling_puts_them(ratio: int, method: Method) -> None:
    """On a plane every place has its own value, the same at both scales."""
    row, col = torch.meshgrid(torch.arange(24.0), torch.arange(18.0), indexing='ij')
    coarse = (row + 0.01 * col)[None, None]
    inner = slice(8, -8)
    found = decimate(upsample(coarse, ratio, method), ratio, method)
    assert found.shape == coarse.shape
    torch.testing.assert_close(
        found[..., inner, inner], coarse[..., inner, inner], rtol=0, atol=2e-3
    )


def test_decimate_drops_what_is_no_multiple() -> None:
    assert decimate(torch.rand(2, 3, 14, 19), 4, 'bicubic').shape == (2, 3, 3, 4)
    assert decimate(torch.rand(2, 3, 14, 19), 5).shape == (2, 3, 2, 3)


@pytest.mark.parametrize('ratio', [1, 2, 3, 5])
def test_low_pass_is_that_of_a_bicubic_reduction(ratio: int) -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 2, 12 * ratio, 15 * ratio, dtype=torch.float64)
    low = low_pass(image, ratio)
    flat = torch.full((1, 1, 9, 9), 0.3)
    torch.testing.assert_close(low_pass(flat, ratio), flat)
    if ratio % 2:  # the centres of coarse pixels are pixels
        found, expected = decimate(low, ratio, 'bicubic'), imresize_by(image, ratio)
        inner = slice(2, -2)
        torch.testing.assert_close(found[..., inner, inner], expected[..., inner, inner])


def test_borders_are_repeated_and_wrap_only_where_that_is_stated():
    image = torch.zeros(1, 1, 12, 12)
    image[..., 6:] = 1  # the left and the right side differ
    fine = upsample(image, 4)
    torch.testing.assert_close(fine[..., :4], torch.zeros(1, 1, 48, 4), rtol=0, atol=1e-3)
    assert (interp23tap(image, 4)[..., :1] > 0.2).all()
    assert torch.equal(upsample(image, 4, 'interp23tap', 'wrap'), interp23tap(image, 4))
