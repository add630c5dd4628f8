"""The residual multiscale trunk."""

from __future__ import annotations

import pytest
import torch

from plugins.csasn.trunk import ResidualMultiscale
from toolkit.errors import ToolkitError


def trunk(**options):
    torch.manual_seed(0)
    return ResidualMultiscale(in_channels=12, **{'widths': (16, 8, 4), 'width': 6, **options})


def test_the_papers_paths():
    paper = ResidualMultiscale(in_channels=2176)
    hidden = [path[0].out_features for path in paper.paths]
    assert hidden == [1024, 512, 256]
    assert paper.out_channels == 512
    assert [type(layer).__name__ for layer in paper.paths[0]] == [
        'Linear',
        'LayerNorm',
        'GELU',
        'Dropout',
        'Linear',
    ]


@pytest.mark.parametrize('widths', [(16,), (16, 8), (16, 8, 4, 2)])
def test_any_number_of_scales(widths):
    x = torch.randn(3, 12)
    summed, joined = (trunk(widths=widths, combine=c).eval() for c in ('sum', 'join'))
    assert (summed.out_channels, joined.out_channels) == (6, 6 * len(widths))
    assert summed(x).shape == (3, 6)
    assert joined(x).shape == (3, 6 * len(widths))


def test_by_its_formula():
    x = torch.randn(3, 12)
    full, joined = trunk().eval(), trunk(combine='join').eval()
    torch.testing.assert_close(full(x), sum(path(x) for path in full.paths) + full.skip(x))
    expected = torch.cat([path(x) for path in joined.paths], 1) + joined.skip(x)
    torch.testing.assert_close(joined(x), expected)
    bare = trunk(residual=False).eval()
    assert bare.skip is None
    torch.testing.assert_close(bare(x), sum(path(x) for path in bare.paths))


def test_batch_norm_and_one_sample():
    normed = trunk(norm='batch')
    normed(torch.randn(2, 12))
    with pytest.raises(ToolkitError, match='norm: batch cannot train on a batch of one sample'):
        normed(torch.randn(1, 12))
    assert normed.eval()(torch.randn(1, 12)).shape == (1, 6)
    assert trunk()(torch.randn(1, 12)).shape == (1, 6)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'widths': ()}, r'found widths \[\]'),
        ({'widths': (8, 0)}, r'found widths \[8, 0\]'),
        ({'combine': 'mean'}, "combine must be sum or join, found 'mean'"),
        ({'norm': 'group'}, "norm must be layer or batch, found 'group'"),
        ({'dropout': 1.0}, 'dropout must be in'),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        trunk(**options)
