from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.ldpnet.gray import ChannelGray
from plugins.ldpnet.reblur import ConvReblur


@given(
    kernel_size=st.integers(0, 12).map(lambda n: 2 * n + 1),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
@settings(max_examples=60, deadline=None)
def test_fft_equals_convolution(kernel_size: int, height: int, width: int) -> None:
    """Also where the kernel is larger than the image."""
    torch.manual_seed(0)
    reblur = ConvReblur(bands=2, kernel_size=kernel_size).double()
    torch.nn.init.normal_(reblur.conv.bias)
    image = torch.rand(2, 2, height, width, dtype=torch.float64)
    results = []
    for method in ('direct', 'fft'):
        reblur.method = method
        results.append(reblur(image))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)


def test_fft_gradients_equal_convolution() -> None:
    torch.manual_seed(0)
    reblur = ConvReblur(bands=4)
    image = torch.rand(2, 4, 64, 48, requires_grad=True)
    gradients = []
    for method in ('direct', 'fft'):
        reblur.method = method
        loss = reblur(image).square().mean()
        gradients.append(torch.autograd.grad(loss, [image, *reblur.parameters()]))
    for direct, fft in zip(*gradients):
        assert (direct - fft).abs().max() < 1e-5 * direct.abs().max()


def test_fft_is_fp32_under_autocast() -> None:
    torch.manual_seed(0)
    reblur = ConvReblur(bands=4, method='fft')
    image = torch.rand(1, 4, 32, 32).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        result = reblur(image)
    assert result.dtype == torch.float32
    assert torch.equal(result, reblur(image.float()))


def test_reblur_without_bias_is_linear() -> None:
    torch.manual_seed(0)
    reblur = ConvReblur(bands=3, kernel_size=9, bias=False)
    a, b = torch.rand(2, 1, 3, 24, 24)
    torch.testing.assert_close(reblur(a + 2 * b), reblur(a) + 2 * reblur(b), rtol=1e-4, atol=1e-5)
    assert reblur.conv.bias is None


@pytest.mark.parametrize('kernel_size', [0, -3, 20])
def test_reblur_refuses_kernel_size(kernel_size: int) -> None:
    with pytest.raises(ValueError, match=f'odd and positive, found {kernel_size}'):
        ConvReblur(bands=4, kernel_size=kernel_size)


def test_reblur_refuses_method() -> None:
    with pytest.raises(ValueError, match="one of auto, direct, fft, found 'slow'"):
        ConvReblur(bands=4, method='slow')


@pytest.mark.parametrize(('bands', 'lowest', 'highest'), [(4, 0.109, 0.475), (8, 0.050, 0.280)])
def test_sigmoid_bounds_the_gray_weights(bands: int, lowest: float, highest: float) -> None:
    """With one score driven up or down without end, the weight stays within the stated bounds."""
    gray = ChannelGray(bands)
    assert lowest == pytest.approx(1 / (1 + (bands - 1) * math.e), abs=5e-4)
    assert highest == pytest.approx(math.e / (math.e + bands - 1), abs=5e-4)
    found = extreme_weights(gray, bands)
    assert found[0] == pytest.approx(lowest, abs=5e-4)
    assert found[1] == pytest.approx(highest, abs=5e-4)


@pytest.mark.parametrize('bands', [4, 8])
def test_without_sigmoid_a_band_can_be_switched_off(bands: int) -> None:
    lowest, highest = extreme_weights(ChannelGray(bands, sigmoid=False), bands)
    assert lowest == pytest.approx(0, abs=1e-6)
    assert highest == pytest.approx(1, abs=1e-6)


def extreme_weights(gray: ChannelGray, bands: int) -> tuple[float, float]:
    """The weights of band 0 when its score is far below, and far above, all others."""
    found = []
    for sign in (-1, 1):
        with torch.no_grad():
            gray.conv2.weight.zero_()
            gray.conv2.bias.fill_(1)
            gray.fc[0].weight.fill_(1)
            gray.fc[2].weight.fill_(-20 * sign)
            gray.fc[2].weight[0] = 20 * sign
            found.append(gray.weights(torch.rand(1, bands, 8, 8))[0, 0].item())
    return found[0], found[1]


@given(seed=st.integers(0, 1000), bands=st.integers(1, 8), sigmoid=st.booleans())
@settings(max_examples=25, deadline=None)
def test_gray_lies_between_the_bands(seed: int, bands: int, sigmoid: bool) -> None:
    torch.manual_seed(seed)
    image = torch.rand(2, bands, 12, 10)
    gray = ChannelGray(bands, sigmoid)(image)
    assert gray.shape == (2, 1, 12, 10)
    assert (gray >= image.amin(1, keepdim=True) - 1e-6).all()
    assert (gray <= image.amax(1, keepdim=True) + 1e-6).all()
