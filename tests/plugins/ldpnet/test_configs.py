"""The shipped configs build the published network, its loss and its schedule."""

from __future__ import annotations

import pytest
import torch

from plugins.pansharpening.system import Pansharpener
from tests.support import ldpnet_golden
from toolkit.config import load
from toolkit.config.checks.check import check
from toolkit.registry import SYSTEMS
from toolkit.registry.build import build

LDPNET = ('ldpnet/ldpnet_2022', 'ldpnet/ldpnet_2022_wv2', 'ldpnet/ldpnet_2022_synthetic')
EXP = ('baselines/exp', 'baselines/exp_wv2', 'baselines/exp_synthetic')
PARAMETERS = {4: 107_445, 8: 131_221}


@pytest.mark.parametrize('name', LDPNET + EXP)
def test_check(name: str) -> None:
    assert [str(problem) for problem in check(load(name))] == []


@pytest.mark.parametrize('name', LDPNET)
def test_model_is_the_published_one(name: str) -> None:
    with torch.device('meta'):
        system: Pansharpener = build(load(name).tree['model'], SYSTEMS, 'model')
    assert sum(p.numel() for p in system.parameters()) == PARAMETERS[system.bands]
    terms = {key: (type(loss), loss.weight) for key, loss in system.losses.items()}
    assert terms == ldpnet_golden.TERMS
    assert system.losses['kl'].reduction == 'sum'
    assert all(p.requires_grad for p in system.parameters())


def test_golden_weights_load_into_the_config() -> None:
    from plugins.ldpnet.published_weights import load_published

    torch.manual_seed(0)
    system = build(load('ldpnet/ldpnet_2022').tree['model'], SYSTEMS, 'model')
    load_published(system, ldpnet_golden.published_weights())
    recorded = ldpnet_golden.recorded()
    with torch.no_grad():
        hrms = system.generator(recorded['in_lrms_up'], recorded['in_pan'])
    torch.testing.assert_close(hrms, recorded['out_hrms'], rtol=1e-5, atol=1e-5)


def test_schedule_is_the_published_one() -> None:
    tree = load('ldpnet/ldpnet_2022').tree
    assert tree['optim_wrapper']['optimizer'] == {'type': 'Adam', 'lr': 1e-4}
    assert tree['param_scheduler']['decay']['step_size'] == 5
    assert tree['param_scheduler']['decay']['gamma'] == 0.1
    assert tree['train_cfg']['max_epochs'] == 50
    assert tree['train_dataloader']['batch_size'] == 16
    assert tree['train_dataloader']['dataset']['size'] == 256


@pytest.mark.parametrize('name', LDPNET + EXP)
def test_one_scene_for_all_loaders(name: str) -> None:
    """An override of the test scene moves the others too."""
    tree = load(name, ['test_dataloader.dataset.scene={type: SyntheticScene, size: 512}']).tree
    loaders = [tree.get(f'{role}_dataloader') for role in ('train', 'val', 'test')]
    scenes = [loader['dataset']['scene'] for loader in loaders if loader is not None]
    assert len(scenes) == (3 if name in LDPNET else 1)
    assert all(scene == {'type': 'SyntheticScene', 'size': 512} for scene in scenes)


def test_model_of_2021() -> None:
    """Width 128, images in [-1, 1], tanh after it and a 41x41 reblur, weights of its own."""
    tree = load('ldpnet/ldpnet_2021').tree
    with torch.device('meta'):
        system: Pansharpener = build(tree['model'], SYSTEMS, 'model')
    assert system.symmetric
    assert system.generator.content.up[0].weight.shape == (256, 64, 2, 2)
    assert isinstance(system.generator.rec.activation, torch.nn.Tanh)
    assert system.reblur.conv.weight.shape == (4, 4, 41, 41)
    assert system.reblur.activation == 'tanh'
    assert system.gray.sigmoid
    weights = {key: loss.weight for key, loss in system.losses.items()}
    assert weights == {
        'spatial_high': 10, 'spatial_low': 1, 'spectral_low': 10, 'spectral_high': 1, 'kl': 0.01,
    }  # fmt: skip
    assert not system.losses['spectral_low'].smooth
    assert tree['train_dataloader']['dataset']['size'] == 4 * 32


def test_our_own_config_has_none_of_the_known_defects() -> None:
    with torch.device('meta'):
        model = {**load('ldpnet/ldpnet_plus').tree['model']}
        system: Pansharpener = build(model, SYSTEMS, 'model')
    network = system.generator.network
    assert network.residual
    assert isinstance(network.rec.activation, torch.nn.Identity)
    assert network.extractor2.bands == 1
    assert type(system.reblur).__name__ == 'MTFReblur'
    assert type(system.gray).__name__ == 'RegressionGray'
    assert not any(type(loss).__name__ == 'LDPDetailKL' for loss in system.losses.values())


@pytest.mark.parametrize('bands', [4, 8])
@pytest.mark.parametrize('ratio', [2, 3, 4, 5, 6])
def test_our_own_at_all_bands_and_ratios(bands: int, ratio: int) -> None:
    """One step with every term; a sensor with gains of its own for each band has its bands."""
    torch.manual_seed(0)
    model = {**load('ldpnet/ldpnet_plus').tree['model'], 'bands': bands, 'ratio': ratio}
    model['upsample'] = 'interp23tap' if ratio in (2, 4) else 'bicubic'
    model['reblur'] = {**model['reblur'], 'sensor': 'IKONOS' if bands == 4 else 'WV3'}
    system: Pansharpener = build(model, SYSTEMS, 'model')
    batch = {
        'lrms': torch.rand(1, bands, 8, 8),
        'pan': torch.rand(1, 1, 8 * ratio, 8 * ratio),
    }
    sum(system.loss(batch).values()).backward()
    gradients = [p.grad for p in system.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    assert all(g.abs().max() > 0 for g in (system.generator.haze.grad, system.gray.weight.grad))
