from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.ldpnet.bench import compute_published_loss, compute_published_outputs
from plugins.ldpnet.generator import LDPNet
from plugins.ldpnet.published_weights import get_published_state
from tests.support import ldpnet_golden


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


def test_refuses_pan() -> None:
    with pytest.raises(ValueError, match="repeated or single, found 'twice'"):
        LDPNet(bands=4, pan='twice')


def test_refuses_a_residual_that_a_relu_would_freeze() -> None:
    with pytest.raises(ValueError, match="residual.*'relu'.*'identity' or 'tanh'"):
        LDPNet(bands=4, residual=True)


def test_residual_starts_from_the_upsampled_image_and_learns() -> None:
    torch.manual_seed(0)
    generator = LDPNet(bands=3, width=4, activation='identity', residual=True)
    lrms_up, pan = torch.rand(1, 3, 17, 22), torch.rand(1, 1, 17, 22)
    assert torch.equal(generator(lrms_up, pan), lrms_up)
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        (generator(lrms_up, pan) - pan).square().mean().backward()
        optimizer.step()
    assert all(p.grad.abs().sum() > 0 for p in generator.extractor2.parameters())


def test_repeating_the_pan_only_adds_weights_up() -> None:
    torch.manual_seed(0)
    repeated, single = (LDPNet(bands=4, pan=pan) for pan in ('repeated', 'single'))
    state = repeated.state_dict()
    first, second = 'extractor2.conv1.weight', 'extractor2.conv2.weight'
    state[first] = state[first].sum(1, keepdim=True)
    state[second] = torch.cat([state[second][:, :4], state[second][:, 4:].sum(1, keepdim=True)], 1)
    single.load_state_dict(state)
    images = torch.rand(1, 4, 20, 24), torch.rand(1, 1, 20, 24)
    torch.testing.assert_close(single(*images), repeated(*images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('bands', [4, 8])
def test_outputs_and_gradients_are_the_published_ones(bands: int) -> None:
    """In double precision, against all branches written plainly."""
    torch.manual_seed(0)
    system = ldpnet_golden.system(bands).double()
    for name, parameter in system.named_parameters():
        if name.endswith('bias'):
            torch.nn.init.normal_(parameter, std=0.1)
    lrms = torch.rand(2, bands, 6, 8, dtype=torch.float64)
    batch = {'lrms': lrms, 'pan': torch.rand(2, 1, 24, 32, dtype=torch.float64)}
    weights = dict(zip(get_published_state(system), system.parameters()))
    lrms_up = system.upsampled(lrms)
    outputs = system.tensor(batch)
    for name, expected in compute_published_outputs(weights, lrms_up, batch['pan']).items():
        found = outputs[name]
        torch.testing.assert_close(found.expand_as(expected), expected, msg=name)
    loss = compute_published_loss(weights, lrms, lrms_up, batch['pan'])
    expected = torch.autograd.grad(loss, list(weights.values()))
    found = torch.autograd.grad(sum(system.loss(batch).values()), list(weights.values()))
    for name, own, published in zip(weights, found, expected):
        torch.testing.assert_close(own, published, msg=name)


def test_bf16_is_close_and_says_so() -> None:
    torch.manual_seed(0)
    generator = LDPNet(bands=4)
    images = torch.rand(1, 4, 64, 64), torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        expected = generator(*images)
        with torch.autocast('cpu', torch.bfloat16):
            found = generator(*images)
    assert found.dtype == torch.bfloat16
    error = (found.float() - expected).square().mean()
    assert 10 * torch.log10((expected.max() - expected.min()).square() / error) > 40
