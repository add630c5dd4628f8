from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from plugins.ldpnet.convolution import (
    _pad_channels_and_convolve,
    convolve,
    convolve_3x3,
    to_channels_last,
)


@given(
    out=st.integers(1, 17),
    channels=st.integers(1, 6),
    height=st.integers(1, 9),
    width=st.integers(1, 13),
)
@settings(max_examples=25, deadline=None)
def test_3x3_with_its_gradients(out: int, channels: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    double = {'dtype': torch.float64, 'requires_grad': True}
    image = torch.rand(2, channels, height, width, **double)
    weight, bias = torch.randn(out, channels, 3, 3, **double), torch.randn(out, **double)
    found = convolve_3x3(to_channels_last(image), weight, bias)
    expected = F.conv2d(image, weight, bias, padding=1)
    torch.testing.assert_close(found, expected)
    for a, b in zip(*(gradients(y, [image, weight, bias]) for y in (found, expected))):
        torch.testing.assert_close(a, b)


def gradients(output: Tensor, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    uneven = torch.linspace(0.5, 1.5, output.numel(), dtype=output.dtype).view(output.shape)
    return torch.autograd.grad((output * uneven).sum(), inputs)


@pytest.mark.parametrize('shape', [(3, 3), (3, 1)], ids=['mixing', 'by band'])
@pytest.mark.parametrize('border', ['zeros', 'replicate'])
@pytest.mark.parametrize('side', [1, 7, 21])
@pytest.mark.parametrize('expanded', [False, True])
def test_large_kernels(shape: tuple[int, int], border: str, side: int, expanded: bool) -> None:
    """Both methods, of one band repeated too, against torch's on an image with its border."""
    torch.manual_seed(0)
    double = {'dtype': torch.float64, 'requires_grad': True}
    single = torch.rand(2, 1 if expanded else 3, 9, 12, **double)
    kernel, bias = torch.randn(*shape, side, side, **double), torch.randn(3, **double)
    image = single.expand(-1, 3, -1, -1)
    mode = 'constant' if border == 'zeros' else 'replicate'
    padded = F.pad(image, (side // 2,) * 4, mode=mode)
    expected = F.conv2d(padded, kernel, bias, groups=3 if shape[1] == 1 else 1)
    wanted = gradients(expected, [single, kernel, bias])
    for method in ('direct', 'fft'):
        found = convolve(image, kernel, bias, border, method)
        torch.testing.assert_close(found, expected)
        for a, b in zip(gradients(found, [single, kernel, bias]), wanted):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize(('channels', 'count'), [(4, 4), (12, 8), (25, 4), (16, 16)])
def test_channels_filled_up_to_eights_give_the_same(channels: int, count: int) -> None:
    """As GPUs compute it in half precision."""
    torch.manual_seed(0)
    image = torch.rand(2, channels, 9, 7).to(memory_format=torch.channels_last)
    weight, bias = torch.randn(count, channels, 3, 3), torch.randn(count)
    found = _pad_channels_and_convolve(image, weight, bias)
    torch.testing.assert_close(found, F.conv2d(image, weight, bias, padding=1))
