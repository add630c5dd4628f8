"""Tests the maps and errors of timm's attention layers, and SimAM against its formula."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from plugins.timm_zoo.attention import CBAM, ECA, SE, SimAM, TimmAttention
from toolkit.errors import ToolkitError
from toolkit.interfaces import Attention


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(2, 16, 5, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('part', [SE(16), ECA(16), ECA(16, 5), TimmAttention(16, 'ese')], ids=str)
def test_the_channel_map_is_the_factor_of_the_features(
    part: Attention, features: torch.Tensor
) -> None:
    with torch.no_grad():
        maps = part.maps(features)
        assert list(maps) == ['channel']
        torch.testing.assert_close(part(features), features * maps['channel'][:, :, None, None])


def test_cbam_has_a_channel_and_a_spatial_map(features: torch.Tensor) -> None:
    part = CBAM(16, reduction=4, kernel_size=3)
    with torch.no_grad():
        maps = part.maps(features)
        product = features * maps['channel'][:, :, None, None] * maps['spatial']
        torch.testing.assert_close(part(features), product)
    assert part.layer.spatial.conv.conv.kernel_size == (3, 3)
    assert part.layer.channel.fc1.out_channels == 4


def test_simam_equals_its_formula(features: torch.Tensor) -> None:
    channel = features[0, 0].flatten().double()
    squares = (channel - channel.mean()) ** 2
    energy = squares / (4 * (channel.var(correction=1) + 1e-4)) + 0.5
    wanted = channel / (1 + torch.exp(-energy))
    torch.testing.assert_close(
        SimAM()(features)[0, 0].flatten().double(), wanted, rtol=1e-5, atol=1e-6
    )
    assert torch.isfinite(SimAM()(features[..., :1, :1])).all()


def test_reduction_applies_to_any_layer() -> None:
    sizes = [
        sum(p.numel() for p in TimmAttention(64, 'gc', reduction=r).parameters()) for r in (2, 16)
    ]
    assert sizes[0] > 4 * sizes[1]


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: SE(16, reduction=0), 'reduction must be at least 1'),
        (lambda: CBAM(16, kernel_size=4), 'kernel_size must be odd, found 4'),
        (lambda: ECA(16, kernel_size=2), 'kernel_size must be odd, found 2'),
        (lambda: SimAM(0.0), 'regularization must be above 0'),
        (lambda: TimmAttention(16, 'ese', reduction=4), "'ese' of timm takes no rd_ratio"),
        (lambda: TimmAttention(16, 'bat', options={'blok_size': 2}), "did you mean 'block_size'"),
        (lambda: TimmAttention(16, 'bat')(torch.rand(1, 16, 9, 9)), 'maps of 9 x 9'),
        (lambda: SE(16)(torch.rand(2, 16)), r'maps \(B, C, H, W\), found \(2, 16\)'),
    ],
)
def test_invalid_arguments_are_refused(make: Any, message: str) -> None:
    with pytest.raises((ValueError, ToolkitError), match=message):
        make()
