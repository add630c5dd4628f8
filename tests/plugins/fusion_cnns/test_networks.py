"""PNN, PanNet and FusionNet: sizes, what they see, and that they learn."""

from __future__ import annotations

import pytest
import torch

from plugins.classical.component_substitution import GSA
from plugins.fusion_cnns.modulated import Modulated
from plugins.fusion_cnns.pnn import PNN
from plugins.fusion_cnns.residual import FusionNet, PanNet, high_pass
from plugins.ldpnet.generator import LDPNet
from plugins.pansharpening.imaging.mtf import get_reach, low_pass_by_mtf, mtf_filter
from plugins.pansharpening.imaging.resample import low_pass
from plugins.pansharpening.scenes.sensors import get_sensor
from plugins.pansharpening.system import Pansharpener
from toolkit.registry.build import ComponentFactory


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


def test_modulation_by_hand():
    """Nothing where the PAN is its own low-pass; elsewhere by their ratio, up to a limit."""
    lrms_up = torch.full((1, 2, 16, 16), 0.25)
    pan = torch.full((1, 1, 16, 16), 0.5)
    part = Modulated(2, 4, limit=1.5)
    assert torch.allclose(part(lrms_up, pan), lrms_up, atol=1e-6)
    pan[..., 8, 8] = 1.0
    low = low_pass(pan, 4)
    expected = 0.25 * (pan / low)
    expected[..., 8, 8] = 0.25 * 1.5
    assert 1.0 / low[0, 0, 8, 8] > 1.5
    assert torch.allclose(part(lrms_up, pan), expected.expand_as(lrms_up), atol=1e-6)
    torch.nn.init.constant_(
        part.haze, 0.25
    )  # all of it is haze, which the ground does not modulate
    assert torch.allclose(part(lrms_up, pan), lrms_up, atol=1e-6)


def test_a_residual_network_starts_from_the_modulation():
    lrms_up, pan = torch.rand(1, 4, 32, 32), torch.rand(1, 1, 32, 32)
    network = ComponentFactory(LDPNet, {'residual': True, 'activation': 'identity'}, 'LDPNet')
    whole = Modulated(4, 4, network=network)
    assert torch.equal(whole(lrms_up, pan), Modulated(4, 4)(lrms_up, pan))
    assert whole.halo == LDPNet.halo + 7


def test_modulation_of_a_black_pan_is_finite():
    lrms_up = torch.rand(1, 4, 16, 16)
    found = Modulated(4, 4)(lrms_up, torch.zeros(1, 1, 16, 16))
    assert torch.allclose(found, torch.zeros(1, 4, 16, 16), atol=1e-6)
    part = Modulated(4, 4)
    pan = torch.rand(500)
    part.fit(0.1 + torch.rand(500, 4) + pan[:, None], pan)
    dark = part(lrms_up, torch.zeros(1, 1, 16, 16))
    assert torch.allclose(dark, lrms_up, atol=1e-2)  # damped: nothing to learn from there


def test_modulation_starts_above_the_constant_of_the_regression():
    generator = torch.Generator().manual_seed(0)
    pan, own = torch.rand(20_000, generator=generator), torch.randn(20_000, 3, generator=generator)
    slope, haze = torch.tensor([0.5, 2.0, 0.0]), torch.tensor([0.2, -0.1, 0.3])
    part = Modulated(3, 4)
    line = part.fit(haze + slope * pan[:, None] + 0.02 * own, pan)
    assert bool(part.fitted) and line.startswith('bands are modulated above +0.2')
    assert torch.allclose(part.slope, slope, atol=2e-3)
    assert torch.allclose(part.haze[:2].detach(), haze[:2], atol=2e-3)
    assert torch.allclose(part.damping[:2], (0.02 / slope[:2]).square(), rtol=0.05)
    # A band that does not follow the PAN gets next to no detail.
    lrms_up, fine = torch.full((1, 3, 16, 16), 0.3), torch.full((1, 1, 16, 16), 0.5)
    fine[..., 8, 8] = 0.9
    change = (part(lrms_up, fine) - lrms_up).abs().amax((0, 2, 3))
    assert change[2] < 0.01 < change[0]


def test_modulation_refuses():
    with pytest.raises(ValueError, match='limit must be above 1, found 1'):
        Modulated(4, 4, limit=1)
    with pytest.raises(ValueError, match='GSA needs the whole image'):
        Modulated(4, 4, network=ComponentFactory(GSA, {}, 'GSA'))
    with pytest.raises(ValueError, match=r'works on images in \[0, 1\]'):
        Pansharpener(4, 4, generator=ComponentFactory(Modulated, {}, 'Modulated'), symmetric=True)


def test_modulation_by_the_mtf_of_each_band():
    """Each band is divided by the PAN as its own sensor would see it; a window has equal bits."""
    torch.manual_seed(0)
    lrms_up, pan = torch.rand(1, 4, 48, 48), 0.2 + 0.6 * torch.rand(1, 1, 48, 48)
    part = Modulated(4, 4, low_pass='mtf', sensor='IKONOS')
    gains = get_sensor('IKONOS').gains(4)
    assert len(set(gains)) > 1
    low = torch.cat([low_pass_by_mtf(pan, (gain,), 4) for gain in gains], 1)
    close = mtf_filter(pan.expand(-1, 4, -1, -1).double(), gains, 4).float()
    torch.testing.assert_close(low, close, rtol=0, atol=5e-3)
    expected = lrms_up * (1 + (torch.minimum(pan, 4 * low) - low) / low)
    whole = part(lrms_up, pan)
    torch.testing.assert_close(whole, expected, rtol=0, atol=1e-5)
    halo = part.halo
    assert halo == get_reach(min(gains), 4) < 16
    window = part(lrms_up[..., 4:, 8:], pan[..., 4:, 8:])
    assert torch.equal(window[..., halo:, halo:], whole[..., 4 + halo :, 8 + halo :])
    with pytest.raises(ValueError, match="low_pass must be bicubic or mtf, found 'box'"):
        Modulated(4, 4, low_pass='box')
