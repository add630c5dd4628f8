"""PNN, PanNet and FusionNet: sizes, what they see, and that they learn."""

from __future__ import annotations

import pytest
import torch

from plugins.fusion_cnns.pnn import PNN
from plugins.fusion_cnns.residual import FusionNet, PanNet, high_pass


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts_follow_from_the_layers():
    assert count(PNN(4)) == 5 * 64 * 81 + 64 + 64 * 32 * 25 + 32 + 32 * 4 * 25 + 4
    body = 4 * 2 * (32 * 32 * 9 + 32)
    assert count(FusionNet(8)) == (8 * 32 * 9 + 32) + body + (32 * 8 * 9 + 8)
    assert count(PanNet(8, 4)) == (9 * 32 * 9 + 32) + body + (32 * 8 * 9 + 8)


def test_residual_networks_start_from_the_upsampled_image():
    lrms_up, pan = torch.rand(1, 4, 32, 32), torch.rand(1, 1, 32, 32)
    for network in (PanNet(4, 4), FusionNet(4)):
        for parameter in network.details.tail.parameters():
            torch.nn.init.zeros_(parameter)
        assert torch.equal(network(lrms_up, pan), lrms_up)


def test_pannet_does_not_see_a_constant():
    """Adding a constant to both images adds it to the result: only high frequencies are used."""
    torch.manual_seed(0)
    network = PanNet(4, 4)
    lrms_up, pan = torch.rand(1, 4, 48, 48), torch.rand(1, 1, 48, 48)
    brighter = network(lrms_up + 0.25, pan + 0.5)
    assert torch.allclose(brighter, network(lrms_up, pan) + 0.25, atol=1e-5)


def test_high_pass_of_a_constant_is_zero_up_to_the_border():
    assert high_pass(torch.full((1, 2, 9, 9), 0.7), 5).abs().max() < 1e-6


@pytest.mark.parametrize(
    ('cls', 'arguments'),
    [
        (PNN, {'widths': (0, 32)}),
        (PNN, {'kernel_sizes': (9, 4, 5)}),
        (FusionNet, {'width': 0}),
        (FusionNet, {'blocks': -1}),
    ],
)
def test_arguments_that_cannot_be(cls, arguments):
    with pytest.raises(ValueError, match='found'):
        cls(bands=4, **arguments)
