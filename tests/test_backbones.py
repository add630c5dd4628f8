"""Every registered backbone and attention, tested by existing.

An attention needs no more than the channels that its parent wires to be tested here; one that
does, and a backbone, is listed below with what it needs. One that is not listed fails.
"""

from __future__ import annotations

import io
import typing
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plugins.timm_zoo.attention import Name
from toolkit.registry import ATTENTIONS, BACKBONES, Kind, plugin_index
from toolkit.registry.build import ComponentFactory

CHANNELS = 32
# Sizes of maps: those of a network at 224 px, where blocks of 7 fit.
SIDES = (7, 14)
OPTIONS = {'halo': {'block_size': 7}, 'lambda': {'r': 3}}

Case = tuple[str, dict[str, Any]]


def names(kind: Kind) -> list[str]:
    """The kind's parts in the project's own plugins."""
    entries = plugin_index.get_index().entries
    return sorted(
        {e.name for e in entries if e.kind == kind.name and e.module.startswith('plugins.')}
    )


def attentions() -> list[Case]:
    special = {
        'TimmAttention': [
            {'name': name, 'options': OPTIONS.get(name)} for name in typing.get_args(Name)
        ],
        'CascadedAttention': [{'channel': {'type': 'SE'}}],
    }
    return [(name, given) for name in names(ATTENTIONS) for given in special.get(name, [{}])]


# timm's own small models of different families, and published ones that take longer: arguments,
# size of the image, D and stride of the map.
BACKBONE_CASES: dict[str, list[tuple[dict[str, Any], int, int, int]]] = {
    'TimmBackbone': [
        ({'model': 'test_resnet'}, 64, 96, 32),
        ({'model': 'test_efficientnet'}, 64, 256, 32),
        ({'model': 'test_convnext'}, 64, 64, 32),
        ({'model': 'test_vit'}, 32, 64, 16),
    ]
}
PUBLISHED: dict[str, list[tuple[dict[str, Any], int, int, int]]] = {
    'TimmBackbone': [
        ({'model': 'resnet10t'}, 64, 512, 32),
        ({'model': 'tf_efficientnet_lite0'}, 64, 1280, 32),
        ({'model': 'mobilenetv3_small_050'}, 64, 288, 32),
        ({'model': 'convnext_atto'}, 64, 320, 32),
        ({'model': 'vit_tiny_patch16_224'}, 64, 192, 16),
        ({'model': 'swin_tiny_patch4_window7_224'}, 32, 768, 32),
    ]
}


def backbones() -> list[Any]:
    listed = [(name, *case) for name in names(BACKBONES) for case in BACKBONE_CASES.get(name, [])]
    listed += [
        pytest.param(name, *case, marks=pytest.mark.slow)
        for name, cases in PUBLISHED.items()
        for case in cases
    ]
    missing = [n for n in names(BACKBONES) if n not in BACKBONE_CASES]
    assert not missing, f'add a case of each to BACKBONE_CASES: {", ".join(missing)}'
    return listed


def build(
    kind: Kind, name: str, given: dict[str, Any], seed: int = 0, **injected: Any
) -> nn.Module:
    torch.manual_seed(seed)
    return ComponentFactory(kind.get(name), given, name)(**injected)


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def assert_finite_gradients(part: nn.Module, inputs: Tensor, output: Tensor) -> None:
    (output * torch.linspace(0.5, 1.5, output.numel()).view_as(output)).sum().backward()
    assert inputs.grad is not None and torch.isfinite(inputs.grad).all()
    for name, parameter in part.named_parameters():
        assert parameter.grad is not None, f'the output does not depend on {name}'
        assert torch.isfinite(parameter.grad).all(), name


def assert_round_trip(make: Any, image: Tensor) -> None:
    """Saved and loaded as plain weights, another instance gives the same bits."""
    part, other = make(seed=0), make(seed=1)
    buffer = io.BytesIO()
    torch.save(part.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    with torch.no_grad():
        assert torch.equal(part.eval()(image), other.eval()(image))


@pytest.mark.parametrize(('name', 'given'), attentions(), ids=str)
def test_attention_keeps_the_shape_and_can_be_trained(name: str, given: dict[str, Any]) -> None:
    part = build(ATTENTIONS, name, given, in_channels=CHANNELS)
    for side in SIDES:
        features = noise(2, CHANNELS, side, side).requires_grad_()
        output = part(features)
        assert output.shape == features.shape
        assert_finite_gradients(part, features, output)
    features = noise(2, CHANNELS, 7, 7)
    assert_round_trip(
        lambda seed: build(ATTENTIONS, name, given, seed, in_channels=CHANNELS), features
    )
    for shown in part.maps(features).values():
        assert shown.shape in ((2, CHANNELS), (2, 1, 7, 7))
        assert torch.isfinite(shown).all() and shown.min() >= 0


@pytest.mark.parametrize(('name', 'given', 'size', 'channels', 'stride'), backbones(), ids=str)
def test_backbone_forward_and_backward(
    name: str, given: dict[str, Any], size: int, channels: int, stride: int
) -> None:
    for side in (size, size + 2 * stride):
        part = build(BACKBONES, name, given, in_channels=3, size=side)
        assert (part.out_channels, part.stride) == (channels, stride)
        image = noise(2, 3, side, side).requires_grad_()
        features = part(image)
        assert features.shape == (2, channels, -(-side // stride), -(-side // stride))
        assert features.dtype == torch.float32
        assert_finite_gradients(part, image, features)
    assert_round_trip(
        lambda seed: build(BACKBONES, name, given, seed, in_channels=3, size=size),
        noise(2, 3, size, size),
    )
