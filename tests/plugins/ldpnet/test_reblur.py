from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.ldpnet.reblur import BicubicReblur, ConvReblur, MTFReblur
from plugins.pansharpening.imaging.mtf import mtf_filter
from plugins.pansharpening.scenes.sensors import get_sensor
from toolkit.errors import DataError


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


@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        ({'kernels': 'none'}, "one of mixing, per_band, shared, found 'none'"),
        ({'activation': 'relu'}, "one of identity, tanh, found 'relu'"),
    ],
)
def test_reblur_refuses_words(argument: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvReblur(bands=4, **argument)


def test_kernels_per_band_do_not_mix() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 20, 24)
    other = image.clone()
    other[:, 1] += 1
    changed = {}
    for kernels in ('mixing', 'per_band', 'shared'):
        reblur = ConvReblur(3, 9, kernels=kernels)
        difference = (reblur(other) - reblur(image)).abs().amax((0, 2, 3))
        changed[kernels] = (difference > 1e-4).tolist()
    assert changed == {
        'mixing': [True] * 3, 'per_band': [False, True, False], 'shared': [False, True, False],
    }  # fmt: skip


def test_shared_kernel_is_the_same_for_all_bands() -> None:
    torch.manual_seed(0)
    reblur = ConvReblur(5, 9, kernels='shared')
    assert sum(p.numel() for p in reblur.parameters()) == 82
    blurred = reblur(torch.rand(2, 1, 16, 16).repeat(1, 5, 1, 1))
    torch.testing.assert_close(blurred, blurred[:, :1].expand(-1, 5, -1, -1))


def test_tanh_bounds_the_result() -> None:
    torch.manual_seed(0)
    plain, bounded = (ConvReblur(2, 9, activation=a) for a in ('identity', 'tanh'))
    bounded.load_state_dict(plain.state_dict())
    image = 3 * torch.randn(1, 2, 16, 16)
    torch.testing.assert_close(bounded(image), plain(image).tanh())


@pytest.mark.parametrize('learned', [False, True])
def test_mtf_reblur_is_the_sensors_filter(learned: bool) -> None:
    image = torch.rand(1, 4, 50, 60)
    reblur = MTFReblur(4, 4, 'IKONOS', learned)
    kernels = reblur.compute_kernels()
    torch.testing.assert_close(kernels.sum((1, 2, 3)), torch.ones(4))
    expected = mtf_filter(image, get_sensor('IKONOS').gains(4), 4)
    # The known kernels do not quite sum to one, and have small negative taps far out.
    torch.testing.assert_close(reblur(image), expected, atol=0.02, rtol=0)
    assert (kernels > 0).all() == learned
    assert len(list(reblur.parameters())) == learned


def test_learned_kernels_stay_positive_with_a_sum_of_one() -> None:
    torch.manual_seed(0)
    reblur = MTFReblur(2, 4, learned=True, kernel_size=9)
    optimizer = torch.optim.SGD(reblur.parameters(), lr=1e3)
    for _ in range(5):
        optimizer.zero_grad()
        (reblur(torch.rand(1, 2, 24, 24)) - torch.rand(1, 2, 24, 24)).square().mean().backward()
        optimizer.step()
    kernels = reblur.compute_kernels()
    assert (kernels >= 0).all()
    torch.testing.assert_close(kernels.sum((1, 2, 3)), torch.ones(2))


def test_mtf_reblur_refuses_another_number_of_bands() -> None:
    with pytest.raises(DataError, match='WorldView-2 has 8 bands'):
        MTFReblur(4, 4, 'WV2')


@pytest.mark.parametrize('name', ['conv', 'mtf', 'bicubic'])
@pytest.mark.parametrize('size', [(3, 5), (1, 1)])
def test_kernels_larger_than_the_image(name: str, size: tuple[int, int]) -> None:
    """A constant stays one where the border goes on; everything is finite everywhere."""
    reblur = {
        'conv': lambda: ConvReblur(2, 41, kernels='per_band'),
        'mtf': lambda: MTFReblur(2, 4, kernel_size=41),
        'bicubic': lambda: BicubicReblur(2, 6),
    }[name]()
    blurred = reblur(torch.full((1, 2, *size), 0.3))
    assert blurred.shape == (1, 2, *size)
    assert torch.isfinite(blurred).all()
    if name != 'conv':
        torch.testing.assert_close(blurred, torch.full_like(blurred, 0.3))


@pytest.mark.parametrize('ratio', [2, 3, 4, 5, 6])
def test_reblurs_at_all_ratios(ratio: int) -> None:
    image = torch.rand(1, 2, 8 * ratio, 8 * ratio)
    rough = image.var()
    for reblur in (MTFReblur(2, ratio), BicubicReblur(2, ratio)):
        assert reblur(image).var() < rough / 2
