"""Tests of TimmBackbone: feature layouts, channels, sizes, freezing, attention, cache keys."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from plugins.classification.heads import LinearHead
from plugins.classification.system import Classifier
from plugins.classification.tasks import Task
from plugins.timm_zoo import feature_layout as layouts
from plugins.timm_zoo.attention import SE, SimAM
from plugins.timm_zoo.backbone import TimmBackbone
from plugins.timm_zoo.feature_layout import FeatureLayout, find_layout
from plugins.timm_zoo.stage_attention import StageWithAttention
from toolkit.bench.cost import measure_costs
from toolkit.engine.training.parameter_groups import build_param_groups
from toolkit.errors import ToolkitError
from toolkit.registry.build import ComponentFactory

CNN, VIT = 'test_resnet', 'test_vit'  # timm's own small ones, of 0.4 and 0.3 million parameters


def backbone(model: str = VIT, size: int = 32, seed: int = 0, **given: Any) -> TimmBackbone:
    torch.manual_seed(seed)
    return TimmBackbone(given.pop('in_channels', 3), size, model, **given)


def image(channels: int = 3, size: int = 32) -> Tensor:
    return torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(1))


def trained(module: nn.Module) -> set[str]:
    return {name for name, p in module.named_parameters() if p.requires_grad}


# -- features -------------------------------------------------------------------------------------


def test_map_tokens_and_vector_of_a_transformer_equal_timms() -> None:
    given = {kind: backbone(features=kind).eval() for kind in ('map', 'tokens', 'vector')}
    reference = timm.create_model(VIT, img_size=32, num_classes=0).eval()
    reference.load_state_dict(given['vector'].model.state_dict())
    images = image()
    with torch.no_grad():
        features = {kind: one(images) for kind, one in given.items()}
        mean, std = given['map'].mean, given['map'].std
        wanted = reference.forward_features((images - mean) / std)  # (2, 1 + 4, 64)
        assert torch.equal(features['tokens'], wanted)
        assert torch.equal(features['map'].flatten(2).mT, wanted[:, reference.num_prefix_tokens :])
        assert torch.equal(features['vector'], reference.forward_head(wanted, pre_logits=True))
    assert [given[k].stride for k in given] == [16, 16, None]
    assert [given[k].prefix_tokens for k in given] == [0, 1, 0]
    for kind in ('map', 'tokens'):
        assert torch.equal(given[kind].to_map(features[kind]), features['map'])
    assert given['vector'].to_map(features['vector']).shape == (2, 64, 1, 1)
    assert features['map'].shape == (2, 64, 2, 2)


def test_a_cnns_tokens_are_the_cells_of_its_map() -> None:
    mapped, tokens = (backbone(CNN, 64, features=kind).eval() for kind in ('map', 'tokens'))
    with torch.no_grad():
        cells = mapped(image(size=64))
        assert torch.equal(tokens(image(size=64)), cells.flatten(2).mT)
    assert cells.shape == (2, 96, 2, 2)


def test_a_layout_converts_to_a_map_and_back() -> None:
    refined = torch.arange(2 * 5 * 9.0).view(2, 5, 3, 3)
    for layout, shape in (
        (FeatureLayout('NCHW', 5), (2, 5, 3, 3)),
        (FeatureLayout('NHWC', 5), (2, 3, 3, 5)),
        (FeatureLayout('tokens', 5, 2), (2, 11, 5)),
    ):
        features = torch.rand(shape)
        out = layout.from_map(refined, features)
        assert out.shape == shape
        assert torch.equal(layout.to_map(out), refined)
        if layout.kind == 'tokens':
            assert torch.equal(out[:, :2], features[:, :2])


def test_the_prefix_of_tokens_is_found() -> None:
    model = nn.Module()
    model.num_prefix_tokens = 1
    assert find_layout(model, torch.zeros(1, 10, 5)).prefix == 1
    assert find_layout(model, torch.zeros(1, 9, 5)).prefix == 0  # the class token joins later
    with pytest.raises(ValueError, match='gives 8 tokens, not a square grid'):
        find_layout(model, torch.zeros(1, 8, 5))
    with pytest.raises(ValueError, match='gives list, neither'):
        find_layout(model, [])


def test_a_grid_averages_the_map() -> None:
    whole, coarse = backbone(size=64).eval(), backbone(size=64, grid=2).eval()
    with torch.no_grad():
        cells = whole(image(size=64))  # (2, 64, 4, 4)
        wanted = cells.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
        torch.testing.assert_close(coarse(image(size=64)), wanted)
    assert (whole.stride, coarse.stride) == (16, 32)


def test_images_of_another_size_are_resized_first() -> None:
    part = backbone(CNN, 28, resize=64)
    assert part(image(size=28)).shape == (2, 96, 2, 2)
    assert part.stride == 14


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ToolkitError, match='created for images of 32 x 32 px, found 64 x 64'):
        backbone()(image(size=64))
    assert backbone(CNN, 64)(image(size=96)).shape == (2, 96, 3, 3)


def test_unused_layers_are_removed() -> None:
    """mobilenetv3 has a layer after its pooling, which a map does not use."""
    with torch.device('meta'):
        mapped = backbone('mobilenetv3_small_050', 64)
        vector = backbone('mobilenetv3_small_050', 64, features='vector')
    counts = [sum(p.numel() for p in part.parameters()) for part in (mapped, vector)]
    assert counts[1] - counts[0] == 288 * 1024 + 1024
    assert (mapped.out_channels, vector.out_channels) == (288, 1024)


class TwoNames(nn.Module):
    """A model with a module, a parameter and an unused layer that stand under two names each."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b = self.a
        self.c = nn.BatchNorm1d(3)
        self.c.bias = self.c.weight
        self.d = nn.Sequential(self.a, self.c)
        self.e = nn.Linear(3, 9)
        self.f = self.e

    def forward(self, x: Tensor) -> Tensor:
        return self.d(self.b(x))


def test_a_module_with_two_names_is_used_on_the_meta_device_and_comes_back_whole() -> None:
    model = TwoNames()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _, unused = layouts.run_on_meta(model, lambda m, x: m(x), (2, 3))
    assert unused == {'e.weight', 'e.bias'}
    assert model.a is model.b and model.c.bias is model.c.weight
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    layouts.remove_unused(model, unused)
    assert [name for name, _ in model.named_parameters()] == ['a.weight', 'a.bias', 'c.weight']


def test_a_second_backbone_equals_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[object] = []
    run = layouts._run_on_meta
    monkeypatch.setattr(layouts, '_RESULTS', {})
    monkeypatch.setattr(layouts, '_run_on_meta', lambda *a: found.append(a) or run(*a))
    wide = {'model': 'mobilenetv3_small_050', 'size': 64}
    kinds: list[dict[str, Any]] = [{}, {'features': 'vector'}, {'size': 64}, wide]
    kinds.append({**wide, 'features': 'vector'})
    first, second = ([backbone(**given) for given in kinds] for _ in range(2))
    assert len(found) == len(kinds)
    for one, other in zip(first, second, strict=True):
        assert (one.out_channels, one.stride) == (other.out_channels, other.stride)
        assert one.state_dict().keys() == other.state_dict().keys()
        assert trained(one) == trained(other)


@pytest.mark.parametrize(
    ('channels', 'given', 'mean'),
    [
        (1, {}, [0.5]),
        (4, {}, [0.5] * 4),
        (3, {'mean': [0.1, 0.2, 0.3]}, [0.1, 0.2, 0.3]),
        (2, {'mean': [0.25], 'std': [1.0]}, [0.25, 0.25]),
    ],
)
def test_any_number_of_channels(channels: int, given: dict[str, Any], mean: list[float]) -> None:
    part = backbone(in_channels=channels, **given)
    assert part.mean.flatten().tolist() == pytest.approx(mean)
    assert part(image(channels)).shape == (2, 64, 2, 2)


def test_half_precision_and_channels_last() -> None:
    part = backbone(CNN, 64).eval()
    with torch.no_grad():
        plain = part(image(size=64))
        other = copy.deepcopy(part).to(memory_format=torch.channels_last)
        with torch.autocast('cpu', torch.bfloat16):
            half = other(image(size=64).to(memory_format=torch.channels_last))
    assert half.dtype == torch.bfloat16
    assert torch.cosine_similarity(half.float().flatten(), plain.flatten(), dim=0) > 0.999


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for checkpointing in (False, True):
        part = backbone(grad_checkpointing=checkpointing, attention=SE)
        assert part.model.grad_checkpointing == checkpointing
        part(image()).square().sum().backward()
        gradients.append([p.grad for p in part.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


# -- cost ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('model', 'channels', 'macs'),
    [('efficientnet_b2', 1408, 0.658e9), ('vit_base_patch16_224', 768, 17.56e9)],
)
def test_published_sizes_on_the_meta_device(model: str, channels: int, macs: float) -> None:
    """Checks CSASN's two models at 224 px, without classifiers; fused attention is counted."""
    system = functools.partial(
        Classifier,
        tasks={'a': Task(('x', 'y'))},
        branches={'one': functools.partial(TimmBackbone, model=model)},
        head=LinearHead,
    )
    rows = {row.name: row for row in measure_costs(system)}
    assert rows['branches.one'].macs == pytest.approx(macs, rel=2e-3)
    side = 7 if channels == 1408 else 14
    assert rows['branches.one'].shape == f'(1, {channels}, {side}, {side})'


# -- trained parameters ---------------------------------------------------------------------------


def test_a_frozen_backbone_does_not_change() -> None:
    part = backbone(CNN, 64, trained='none')
    assert part.frozen and not trained(part)
    assert not any(m.training for m in part.train().model.modules())
    before = copy.deepcopy(part.state_dict())
    part(image(size=64))
    assert all(torch.equal(before[k], v) for k, v in part.state_dict().items())
    assert not backbone(CNN, 64).frozen


def test_only_the_last_stages_or_the_norm_layers_are_trained() -> None:
    last = backbone(CNN, 64, trained=1)
    assert {name.split('.')[1] for name in trained(last)} == {'layer4'}
    assert last.train().model.layer4.training and not last.model.layer3.training
    blocks = backbone(trained=2)
    assert {'.'.join(n.split('.')[1:3]) for n in trained(blocks)} == {
        *(f'blocks.{i}' for i in (len(blocks.model.blocks) - 2, len(blocks.model.blocks) - 1)),
        'norm.weight',
        'norm.bias',
    }
    norms = backbone(CNN, 64, trained='norm')
    assert {p.ndim for n, p in norms.named_parameters() if p.requires_grad} == {1}
    assert len(trained(norms)) == len([n for n, p in norms.named_parameters() if p.ndim == 1])
    assert norms.train().model.layer1[0].bn1.training and not norms.model.layer1[0].conv1.training


def test_rates_by_layer() -> None:
    part = backbone(attention=SE, attention_after=[-1])
    depth = len(part.model.blocks)
    assert part.layers_above('model.patch_embed.proj.weight') == depth + 1
    assert part.layers_above('model.blocks.0.attn.qkv.weight') == depth
    inner = f'model.blocks.{depth - 1}.before_attention.attn.qkv.weight'
    assert part.layers_above(inner) == part.layers_above('model.norm.weight') == 1
    names = dict(part.named_parameters())
    assert inner in names
    assert part.layers_above(next(n for n in names if '.attention.' in n)) == 0
    system = nn.ModuleDict({'cnn': backbone(CNN, 64), 'vit': part, 'head': nn.Linear(2, 2)})
    groups = build_param_groups(system, {'layer_decay': 0.5}, 1.0, None)
    rates = {id(p): g.get('lr', 1.0) for g in groups for p in g['params']}
    assert rates[id(names['model.patch_embed.proj.weight'])] == 0.5 ** (depth + 1)
    assert rates[id(system['head'].weight)] == 1.0
    assert rates[id(system['cnn'].model.layer4[0].conv1.weight)] == 0.5
    assert rates[id(system['cnn'].model.conv1[0].weight)] < 0.5**4


# -- attention inside ------------------------------------------------------------------------------


@pytest.mark.parametrize(('model', 'size', 'count'), [(CNN, 64, 4), (VIT, 32, 6)])
def test_attention_after_every_stage(model: str, size: int, count: int) -> None:
    part = backbone(model, size, attention=functools.partial(SE, reduction=4))
    inside = [m for m in part.model.modules() if isinstance(m, StageWithAttention)]
    assert len(inside) == count
    part(image(size=size)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in part.parameters())


class Negate(SimAM):
    """Changes the sign of the map, which shows the positions that it acts on."""

    def forward(self, features: Tensor) -> Tensor:
        return -features


def test_overlapping_patches_take_any_size() -> None:
    with torch.device('meta'):
        backbone = TimmBackbone(3, 100, 'pvt_v2_b0')
        assert backbone(torch.empty(2, 3, 100, 100)).shape == (2, 256, 4, 4)
        with pytest.raises(ValueError, match='set resize: 96 or 112'):
            TimmBackbone(3, 100, 'vit_tiny_patch16_224')


def test_attention_acts_only_on_patch_tokens() -> None:
    plain = backbone(features='tokens').eval()
    other = backbone(
        features='tokens', attention=ComponentFactory(Negate, {}), attention_after=[-1]
    ).eval()
    plain.model.norm = other.model.norm = nn.Identity()
    with torch.no_grad():
        before, after = plain(image()), other(image())
    prefix = plain.model.num_prefix_tokens
    assert prefix and torch.equal(after[:, :prefix], before[:, :prefix])
    assert torch.equal(after[:, prefix:], -before[:, prefix:])


def test_attention_in_a_frozen_backbone_is_trained() -> None:
    part = backbone(CNN, 64, trained='none', attention=SE, attention_after=[1, -1])
    assert not part.frozen
    assert {name.split('.')[1] for name in trained(part)} == {'layer2', 'layer4'}
    assert all('.attention.' in name for name in trained(part))
    part.train()
    assert part.model.layer2.attention.training and not part.model.layer2.before_attention.training


# -- cache key ------------------------------------------------------------------------------------


def test_the_cache_key_depends_on_weights_and_arguments() -> None:
    given: dict[str, Any] = {'trained': 'none'}
    first = backbone(**given)
    keys = {
        'same': backbone(**given).cache_key(),
        'seed': backbone(seed=1, **given).cache_key(),
        'tokens': backbone(features='tokens', **given).cache_key(),
        'grid': backbone(grid=1, **given).cache_key(),
        'mean': backbone(mean=[0.1], **given).cache_key(),
        'inside': backbone(attention=ComponentFactory(SimAM, {}), **given).cache_key(),
    }
    assert keys.pop('same') == first.cache_key()
    assert len({first.cache_key(), *keys.values()}) == 6
    with torch.no_grad():
        first.model.norm.bias[0] += 1e-6
    assert first.cache_key() not in keys.values()
    assert first.cache_key() != backbone(**given).cache_key()


# -- invalid arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'model': 'resnet19'}, "no model 'resnet19'; did you mean 'resnet18'"),
        ({'model': 'resnet18.no_such'}, "no weights 'no_such'; it has: a1_in1k"),
        ({'model': 'hf-hub:timm/resnet18'}, 'has no model'),
        ({'model': VIT, 'size': 40}, 'patches of 16 px.*set resize: 32 or 48'),
        ({'model': 'efficientformer_l1'}, 'gives no map of images of 32 px.*resize: 224'),
        ({'model': 'pit_ti_224', 'size': 224}, 'class token only; set features: vector'),
        ({'model': CNN, 'grid': 2}, 'grid is 2, but the map has 1 x 1'),
        ({'grid': 2, 'features': 'vector'}, 'grid needs features: map'),
        ({'grid': 0}, 'grid must be at least 1'),
        ({'trained': 0}, 'trained must be at least 1 stage'),
        ({'model': CNN, 'trained': 9}, 'trained is 9, but test_resnet has 5 stages'),
        ({'model': 'vgg11', 'trained': 'norm'}, 'no norm layers'),
        ({'model': 'vgg11', 'drop_path': 0.1}, 'vgg11 has no drop_path'),
        ({'model': 'vgg11', 'grad_checkpointing': True}, 'no gradient checkpointing'),
        ({'drop_path': 1.0}, r'drop_path must be in \[0, 1\)'),
        ({'mean': [0.5, 0.5]}, 'mean has 2 values for 3 channels'),
        ({'std': [0.0]}, 'std must be above 0'),
        ({'model': CNN, 'attention': SE, 'attention_after': [7]}, 'stages 0 to 3 are: layer1'),
        ({'attention_after': [1]}, 'needs an attention'),
    ],
)
def test_invalid_arguments_are_refused(given: dict[str, Any], message: str) -> None:
    with torch.device('meta'), pytest.raises(ValueError, match=message):
        backbone(**given)
