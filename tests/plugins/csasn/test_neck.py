"""The neck in both modes and all fusions, from one branch to three."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from plugins.csasn.neck import DualBranch
from toolkit.errors import ToolkitError

WIDTHS, STRIDES = {'cnn': 24, 'vit': 16}, {'cnn': 32, 'vit': 16}
FUSIONS = ('join', 'sum', 'gated', 'cross_attention')


def neck(widths=WIDTHS, strides=STRIDES, **options):
    torch.manual_seed(0)
    return DualBranch(in_channels=widths, strides=strides, **options)


def maps(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        'cnn': torch.randn(2, 24, 7, 7, generator=generator),
        'vit': torch.randn(2, 16, 14, 14, generator=generator),
    }


def test_the_papers_pair_is_2176_wide():
    joined = neck({'cnn': 1408, 'vit': 768})
    assert joined.out_channels == 2176
    given = {'cnn': torch.zeros(1, 1408, 7, 7), 'vit': torch.zeros(1, 768, 14, 14)}
    assert joined(given).shape == (1, 2176, 7, 7)
    vectors = neck({'cnn': 1408, 'vit': 768}, {'cnn': None, 'vit': None}, mode='vector')
    assert vectors.out_channels == 2176
    assert vectors({'cnn': torch.zeros(1, 1408), 'vit': torch.zeros(1, 768)}).shape == (1, 2176)


def test_maps_are_joined_on_the_coarsest_grid():
    given = maps()
    joined = neck()(given)
    assert torch.equal(joined[:, :24], given['cnn'])
    torch.testing.assert_close(joined[:, 24:], F.avg_pool2d(given['vit'], 2))


def test_the_order_is_that_of_the_config():
    given = maps()
    turned = neck({'vit': 16, 'cnn': 24})(given)
    assert torch.equal(turned[:, 16:], given['cnn'])


def test_tokens_are_a_map():
    given = maps()
    tokens = given | {'vit': given['vit'].flatten(2).transpose(1, 2)}
    assert torch.equal(neck()(given), neck()(tokens))
    with_class = torch.cat([torch.ones(2, 5, 16), tokens['vit']], 1)
    told = neck(prefix_tokens={'cnn': 0, 'vit': 5})
    assert torch.equal(told(tokens | {'vit': with_class}), neck()(given))
    with pytest.raises(ToolkitError, match='201 tokens fill no square'):
        neck()(tokens | {'vit': with_class})


@pytest.mark.parametrize('grid', [1, 4, 7, 14])
def test_a_grid_of_ones_own(grid):
    assert neck(grid=grid)(maps()).shape == (2, 40, grid, grid)


def test_vectors_are_means_where_maps_come():
    given = maps()
    literal = neck(strides={'cnn': None, 'vit': None}, mode='vector')
    means = {name: x.mean((2, 3)) for name, x in given.items()}
    torch.testing.assert_close(literal(means), torch.cat([means['cnn'], means['vit']], 1))
    torch.testing.assert_close(neck(mode='vector')(given), literal(means))


@pytest.mark.parametrize('mode', ['map', 'vector'])
@pytest.mark.parametrize('branches', [1, 2, 3])
@pytest.mark.parametrize('fusion', FUSIONS)
def test_any_number_of_branches(fusion, branches, mode):
    widths = dict(list({**WIDTHS, 'other': 8}.items())[:branches])
    joined = neck(widths, dict.fromkeys(widths, 32), fusion=fusion, mode=mode, width=8)
    expected = 8 if fusion in ('sum', 'gated') else 8 * branches
    assert joined.out_channels == expected
    given = {name: torch.randn(2, width, 5, 6) for name, width in widths.items()}
    shape = (2, expected, 5, 6) if mode == 'map' else (2, expected)
    assert joined(given).shape == shape


def test_widths_left_to_the_neck():
    found = {fusion: neck(fusion=fusion).out_channels for fusion in FUSIONS}
    assert found == {'join': 40, 'sum': 24, 'gated': 24, 'cross_attention': 32}


def test_sum_by_its_formula():
    joined, given = neck(fusion='sum', grid=7), maps()
    project = joined.fusion.projections
    expected = project['cnn'](given['cnn']) + project['vit'](F.avg_pool2d(given['vit'], 2))
    torch.testing.assert_close(joined(given), expected)


def test_gates_share_among_branches():
    """A gate pushed to one branch lets that branch alone through."""
    joined, given = neck(fusion='gated', width=8), maps()
    for chosen, name in enumerate(joined.names):
        torch.nn.init.zeros_(joined.fusion.gate.weight)
        joined.fusion.gate.bias.data = torch.full((16,), -50.0)
        joined.fusion.gate.bias.data[8 * chosen : 8 * (chosen + 1)] = 50.0
        on_grid = F.adaptive_avg_pool2d(given[name], 7)
        alone = torch.tanh(joined.fusion.projections[name](on_grid))
        torch.testing.assert_close(joined(given), alone)


def test_branches_look_at_each_other():
    """What a branch adds to its tokens comes of the other's places, whatever their order."""
    joined, given = neck(fusion='cross_attention', width=16), maps()
    before = joined(given)
    flipped = joined(given | {'vit': given['vit'].flip(-1)})
    # Keys without positions: the CNN's half sees the same set of places.
    torch.testing.assert_close(flipped[:, :16], before[:, :16])
    changed = joined(given | {'vit': 2 * given['vit'] + 1})
    assert not torch.allclose(changed[:, :16], before[:, :16], atol=1e-3)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'strides': {'cnn': 32, 'vit': None}}, "the branch 'vit' gives vectors"),
        ({'mode': 'token'}, "mode must be map or vector, found 'token'"),
        ({'fusion': 'concat'}, "found 'concat'"),
        ({'width': 0}, 'width must be at least 1'),
        ({'grid': 0}, 'grid must be at least 1'),
        ({'grid': 7, 'mode': 'vector'}, 'grid needs mode: map'),
        ({'fusion': 'cross_attention', 'width': 20}, 'heads must divide the width 20, found 8'),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        neck(**options)
