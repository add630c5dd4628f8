from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.ldpnet.generator import LDPNet


@given(height=st.integers(1, 33), width=st.integers(1, 33))
@settings(max_examples=30, deadline=None)
def test_any_size(height: int, width: int) -> None:
    generator = LDPNet(bands=3, width=4)
    hrms = generator(torch.rand(1, 3, height, width), torch.rand(1, 1, height, width))
    assert hrms.shape == (1, 3, height, width)


def test_odd_sizes_are_padded_by_replication() -> None:
    torch.manual_seed(0)
    generator = LDPNet(bands=2, width=4)
    lrms_up, pan = torch.rand(1, 2, 9, 12), torch.rand(1, 1, 9, 12)
    even = [torch.cat([x, x[..., -1:, :]], -2) for x in (lrms_up, pan)]
    assert torch.equal(generator(lrms_up, pan), generator(*even)[..., :9, :])


@pytest.mark.parametrize(
    ('activation', 'lowest', 'highest'),
    [('relu', 0, float('inf')), ('tanh', -1, 1), ('identity', -float('inf'), float('inf'))],
)
def test_activation_bounds_the_output(activation: str, lowest: float, highest: float) -> None:
    torch.manual_seed(0)
    generator = LDPNet(bands=4, activation=activation)
    torch.nn.init.normal_(generator.rec.final_conv.bias, std=20)
    hrms = generator(torch.rand(1, 4, 16, 16), torch.rand(1, 1, 16, 16))
    assert hrms.min() >= lowest
    assert hrms.max() <= highest
    assert (hrms.max() > 1) == (highest > 1)
    assert (hrms.min() < 0) == (lowest < 0)


def test_initialization_is_kaiming_normal_without_bias() -> None:
    torch.manual_seed(0)
    generator = LDPNet(bands=4, width=64)
    for name, module in generator.named_modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 5000:
            fan_in = module.weight[0].numel()
            assert module.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05), name
            assert not module.bias.any()


@pytest.mark.parametrize('width', [0, -4, 6, 17])
def test_refuses_width(width: int) -> None:
    with pytest.raises(ValueError, match=f'multiple of 4, found {width}'):
        LDPNet(bands=4, width=width)


def test_refuses_activation() -> None:
    with pytest.raises(ValueError, match="one of relu, tanh, identity, found 'gelu'"):
        LDPNet(bands=4, activation='gelu')
