"""Features of several stages of a timm model, compared with timm's own intermediates."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from plugins.timm_zoo.backbone import TimmBackbone

SIZE = 64


@pytest.mark.parametrize(
    ('model', 'stages'),
    [('test_resnet', [-3, -2, -1]), ('test_efficientnet', [2, 4]), ('test_vit', [1, 3])],
)
@pytest.mark.parametrize('features', ['map', 'vector'])
def test_stages_are_those_of_timm(model: str, stages: list[int], features: str) -> None:
    torch.manual_seed(0)
    backbone = TimmBackbone(3, SIZE, model, features=features, stages=stages).eval()
    image = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        found = backbone(image)
        maps = backbone.model.forward_intermediates(
            (image - backbone.mean) / backbone.std, norm=True, intermediates_only=True
        )
    chosen = [maps[i] for i in stages]
    grid = chosen[-1].shape[-2:]
    expected = torch.cat([F.adaptive_avg_pool2d(x, grid) for x in chosen], 1)
    if features == 'vector':
        expected = torch.cat([x.mean((2, 3)) for x in chosen], 1)
        assert backbone.stride is None
    else:
        assert backbone.stride == SIZE // grid[0]
    torch.testing.assert_close(found, expected)
    assert backbone.out_channels == found.shape[1] == sum(x.shape[1] for x in chosen)


def test_every_parameter_that_is_left_has_a_gradient() -> None:
    for model in ('test_resnet', 'test_efficientnet', 'test_vit'):
        backbone = TimmBackbone(3, SIZE, model, stages=[0, 1])
        backbone(torch.rand(2, 3, SIZE, SIZE)).square().mean().backward()
        trained = {n: p for n, p in backbone.named_parameters() if p.requires_grad}
        assert trained and not [n for n, p in trained.items() if p.grad is None]


def test_stages_are_part_of_the_cache_key() -> None:
    def key(**options: object) -> str:
        torch.manual_seed(0)
        return TimmBackbone(3, SIZE, 'test_resnet', trained='none', **options).cache_key()

    assert len({key(), key(stages=[-1]), key(stages=[-2, -1]), key(stages=[-3, -1])}) == 4


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'stages': []}, 'rising indices, at least one'),
        ({'stages': [2, 1]}, r'rising indices.*\[2, 1\]'),
        ({'stages': [1, 1]}, 'rising indices'),
        ({'stages': [1, 40]}, r'test_resnet has no stages \[1, 40\]; it has 5'),
        ({'stages': [1], 'features': 'tokens'}, 'set features to map or vector'),
        ({'stages': [-1], 'grid': 40}, 'grid is 40, but the map has'),
    ],
)
def test_what_is_refused(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TimmBackbone(3, SIZE, 'test_resnet', **options)
