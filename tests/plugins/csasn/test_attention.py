"""Channel, spatial and cascaded attention against their formulas and against timm's."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from timm.layers.cbam import ChannelAttn, SpatialAttn

from plugins.csasn.attention import CascadedAttention, ChannelAttention, SpatialAttention
from toolkit.errors import ToolkitError

C = 32


def features(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spatial(in_channels, prefix_tokens=0):
    return SpatialAttention(prefix_tokens=prefix_tokens)


def cascade(**options):
    torch.manual_seed(3)
    slots = {
        'channel': ChannelAttention,
        'spatial': spatial,
    }
    return CascadedAttention(C, **{**slots, **options})


def test_channel_attention_is_timms():
    theirs, ours = ChannelAttn(C), ChannelAttention(C, reduction=16)
    ours.mlp[0].weight.data = theirs.fc1.weight.data[:, :, 0, 0].clone()
    ours.mlp[2].weight.data = theirs.fc2.weight.data[:, :, 0, 0].clone()
    x = features(2, C, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x))


def test_spatial_attention_is_timms_without_its_norm():
    theirs, ours = SpatialAttn().eval(), SpatialAttention(7)
    theirs.conv.bn = torch.nn.Identity()
    ours.conv.weight.data = theirs.conv.conv.weight.data.clone()
    x = features(2, C, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x))


def test_channel_attention_of_a_vector():
    ours, x = ChannelAttention(C, reduction=4), features(3, C)
    gate = torch.sigmoid(2 * ours.mlp(x))
    torch.testing.assert_close(ours(x), x * gate)
    torch.testing.assert_close(ours.maps(x)['channel'], gate)


def test_spatial_attention_of_a_vector_is_one_gate():
    ours, x = SpatialAttention(7), features(3, C)
    middle = ours.conv.weight[0, :, 3, 3]
    gate = torch.sigmoid(middle[0] * x.mean(1) + middle[1] * x.amax(1))
    torch.testing.assert_close(ours(x), x * gate[:, None])


@pytest.mark.parametrize(
    'part',
    [ChannelAttention(C, 4), SpatialAttention(3), cascade(), cascade(order='parallel')],
    ids=['channel', 'spatial', 'cascade', 'parallel'],
)
def test_tokens_are_a_map_in_rows(part):
    places = features(2, C, 4, 4)
    tokens = places.flatten(2).transpose(1, 2)  # (B, 16, C)
    refined = part(tokens)
    assert refined.shape == tokens.shape
    torch.testing.assert_close(refined, part(places).flatten(2).transpose(1, 2))
    for name, weights in part.maps(tokens).items():
        torch.testing.assert_close(weights, part.maps(places)[name])
    with pytest.raises(ToolkitError, match='15 tokens fill no square'):
        part(tokens[:, :15])


@pytest.mark.parametrize('cls', [ChannelAttention, SpatialAttention, CascadedAttention])
def test_class_tokens_go_past_attention(cls):
    slots = {'channel': ChannelAttention, 'spatial': spatial}
    options = slots if cls is CascadedAttention else {}
    options |= {} if cls is SpatialAttention else {'in_channels': C}
    part = cls(prefix_tokens=5, **options)
    tokens = features(2, 4 + 5, C)  # 9 tokens would fill a square too
    refined = part(tokens)
    torch.testing.assert_close(refined[:, :5], tokens[:, :5])
    places = tokens[:, 5:].transpose(1, 2).unflatten(2, (2, 2))
    for name, weights in part.maps(tokens).items():
        assert weights.shape == ((2, C) if name == 'channel' else (2, 1, 2, 2))
    bare = cls(**options)
    bare.load_state_dict(part.state_dict())
    torch.testing.assert_close(refined[:, 5:], bare(places).flatten(2).transpose(1, 2))
    if cls is CascadedAttention:
        part.residual = bare.residual = True
        assert torch.equal(part(tokens)[:, :5], tokens[:, :5])
        torch.testing.assert_close(part(tokens)[:, 5:], bare(places).flatten(2).transpose(1, 2))


def test_cascades_by_their_formulas():
    x = features(2, C, 5, 7)
    first = cascade()
    channel, spatial = first.parts['channel'], first.parts['spatial']
    torch.testing.assert_close(first(x), spatial(channel(x)))
    torch.testing.assert_close(cascade(residual=True)(x), x + spatial(channel(x)))
    parallel = cascade(order='parallel')
    expected = (parallel.parts['channel'](x) + parallel.parts['spatial'](x)) / 2
    torch.testing.assert_close(parallel(x), expected)
    other = cascade(order='spatial-first')
    torch.testing.assert_close(other(x), other.parts['channel'](other.parts['spatial'](x)))


def test_a_cascade_of_one():
    x = features(2, C, 5, 7)
    alone = cascade(spatial=None)
    assert list(alone.parts) == ['channel']
    torch.testing.assert_close(alone(x), alone.parts['channel'](x))
    with pytest.raises(ValueError, match='neither channel nor spatial'):
        cascade(channel=None, spatial=None)


@pytest.mark.parametrize('order', ['channel-first', 'spatial-first', 'parallel'])
def test_a_cascades_maps_explain_what_it_does(order):
    x, part = features(2, C, 5, 7), cascade(order=order)
    shown = part.maps(x)
    assert {name: tuple(w.shape) for name, w in shown.items()} == {
        'channel': (2, C),
        'spatial': (2, 1, 5, 7),
    }
    channel, spatial = shown['channel'][..., None, None], shown['spatial']
    gate = (channel + spatial) / 2 if order == 'parallel' else channel * spatial
    torch.testing.assert_close(part(x), x * gate)


def test_two_maps_of_one_name_are_both_there():
    part = CascadedAttention(C, channel=ChannelAttention, spatial=ChannelAttention)
    assert part.maps(features(2, C)).keys() == {'channel', 'spatial_channel'}


def test_a_gate_of_zeros_halves():
    x, part = features(2, C, 4, 4), ChannelAttention(C)
    for parameter in part.parameters():
        torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(part(x), x / 2)
    assert F.mse_loss(part(x), x) > 0


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (partial(ChannelAttention, C, reduction=0), 'reduction must be at least 1'),
        (partial(SpatialAttention, kernel=4), 'kernel must be odd, found 4'),
        (partial(cascade, order='both'), "found 'both'"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
