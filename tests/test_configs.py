"""Every shipped config is right as a whole, and runs on embedded data."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.support.embedded_images import embedded_images
from tests.support.manifests import write_manifest, write_scene
from toolkit.cli import main
from toolkit.config import load
from toolkit.config.checks.check import check
from toolkit.config.dump import dump
from toolkit.config.find import list_configs, list_studies
from toolkit.study.planning.plan import make_plan
from toolkit.study.study_file import read_study

CONFIGS = list_configs()
STUDIES = list_studies()
# Studies that exchange one frozen network or one rule alone: two variants stand for the others.
EXCHANGED = [f'csasn/studies/{name}_branches' for name in ('cnn', 'vit')]
EXCHANGED += [
    f'baselines/studies/{name}'
    for name in ('breastmnist_apart', 'breastmnist_networks', 'busi_rules', 'ddti_rules')
]
# Studies whose plan takes longer than a default test: it is held where their variants run.
LONG = [f'csasn/studies/{name}' for name in ('ablation', 'modules', 'tasks')] + EXCHANGED
# The paper's size, and what differs from another config in its data alone.
SLOW = [
    'ldpnet/ldpnet_2021',
    *(f'csasn/csasn{data}' for data in ('', '_busi', '_ddti', '_breastmnist', '_breastmnist_192')),
    *(f'baselines/{name}' for name in ('frozen_linear', 'linear_busi', 'linear_ddti')),
    'baselines/breastmnist_192',
    'baselines/breastmnist_apart',
    'baselines/breastmnist_resnet18',
    'baselines/breastmnist_tuned',
    'csasn/csasn_breastmnist_apart',
    'csasn/csasn_busi_128',
    'baselines/linear_busi_128',
]
PATCHES = ['train_dataloader.dataset.size=64', 'train_dataloader.dataset.length=4']


def timed(names, *slow):
    """Parameters, those that take long marked so."""
    assert set(slow) <= set(names)
    return [pytest.param(n, marks=pytest.mark.slow) if n in slow else n for n in names]


def embedded(name, folder):
    """Overrides that put small synthetic scenes of the same bands, or images, under a config."""
    tree = load(name).tree
    if tree['model']['type'] == 'Classifier':
        return embedded_images(tree, folder)
    bands = tree['model']['bands']
    if tree['test_dataloader']['dataset']['type'] == 'ManifestScenes':
        rows = [
            {**write_scene(folder, split, 320, bands, seed), 'split': split}
            for seed, split in enumerate(('train', 'val', 'test'))
        ]
        manifest = write_manifest(folder / 'scenes.csv', rows)
        return [f'train_dataloader.dataset.manifest={manifest}']
    sensor = {4: 'IKONOS', 8: 'WV2'}[bands]
    scene = f'{{type: SyntheticScene, bands: {bands}, sensor: {sensor}, size: 512}}'
    return [f'test_dataloader.dataset.scene={scene}', 'test_dataloader.dataset.protocol=full']


def test_there_are_configs():
    assert {'ldpnet/ldpnet_2022', 'baselines/exp_synthetic'} <= set(CONFIGS)
    assert {'ldpnet/studies/demo', 'baselines/studies/methods'} <= set(STUDIES)


@pytest.mark.parametrize('name', CONFIGS)
def test_is_right(name):
    assert [str(problem) for problem in check(load(name))] == []


def make_right_plan(name):
    """The plan of a study, without a warning."""
    plan = make_plan(read_study(name), open_data=False)
    assert plan.warnings == []
    search = plan.study.spec.search
    assert len(plan.runs) + (search.trials if search else 0) >= 6
    return plan


@pytest.mark.parametrize('name', [name for name in STUDIES if name not in LONG])
def test_a_study_is_right(name):
    make_right_plan(name)


@pytest.mark.parametrize('name', timed(CONFIGS, *SLOW))
def test_runs(name, tmp_path, capsys, monkeypatch):
    """Two iterations with a validation where there is training, then a test."""
    monkeypatch.setenv('TOOLKIT_CACHE', str(tmp_path / 'cache'))
    overrides, run = embedded(name, tmp_path), str(tmp_path / 'run')
    if load(name).tree.get('train_dataloader') is None:
        assert main(['test', name, *overrides, '--work-dir', run]) == 0
    else:
        small = ['train_cfg={max_epochs: 1}', 'default_hooks.log.interval=1']
        if load(name).tree['model']['type'] == 'Classifier':
            small += ['train_dataloader.batch_size=4', 'param_scheduler={}']
        else:
            small += ['train_dataloader.batch_size=2', *PATCHES]
        assert main(['train', name, *overrides, *small, '--work-dir', run]) == 0
        lines = [json.loads(line) for line in Path(run, 'metrics.jsonl').read_text().splitlines()]
        validated = load(name).tree.get('val_dataloader') is not None
        assert [line['iter'] for line in lines] == ([1, 2, 2] if validated else [1, 2])
        assert ('val' in lines[-1]) == validated
        assert main(['test', '--run', run]) == 0
    said = capsys.readouterr()
    metrics = json.loads((tmp_path / 'run' / 'metrics.json').read_text())['metrics']
    undefined = {name for name, value in metrics.items() if value is None}
    # What is a share of the images that are called a class, where none is.
    assert all(re.search(r'\.(PPV|NPV|F1|macro_F1|MCC)', name) for name in undefined), undefined
    assert all(name.partition('/')[0] in said.out for name in metrics)


def simulated(node, size):
    """The config with a synthetic scene of the same sensor in place of every other."""
    if not isinstance(node, dict):
        return node
    if node.get('type') in ('MatScene', 'SyntheticScene'):
        sensor = node.get('sensor', 'IKONOS')
        bands = {'IKONOS': 4, 'WV2': 8}[sensor]
        return {'type': 'SyntheticScene', 'bands': bands, 'sensor': sensor, 'size': size}
    return {key: simulated(value, size) for key, value in node.items()}


def under_test(tree, folder):
    """A run's config, and the overrides that make it small and put embedded data under it."""
    if tree['model']['type'] == 'Classifier':
        small = ['train_dataloader.batch_size=4', 'param_scheduler={}']
        sizes = {
            'efficientnet_b2': 'tf_efficientnet_lite0',
            'vit_base': 'vit_tiny',
            'vit_small_patch14_dinov2': 'vit_tiny_patch16_224',
        }
        tree = copy.deepcopy(tree)
        for branch in filter(None, tree['model']['branches'].values()):
            for large, other in sizes.items():
                branch['model'] = branch['model'].replace(large, other)
        return tree, [*embedded_images(tree, folder), *small]
    crop = tree['test_dataloader']['dataset'].get('crop')
    small = ['train_dataloader.batch_size=2', *PATCHES] if tree.get('train_cfg') else []
    shared = {'allow_overlap': ['one drawn scene stands for all data']}
    return {**simulated(tree, crop or 256), **shared}, small


@pytest.mark.slow
@pytest.mark.parametrize('name', STUDIES)
def test_every_variant_of_a_study_runs(name, tmp_path):
    """Two iterations and a test of each with the first data set, and a test on every data set."""
    runs = {}
    plan = make_right_plan(name)
    for run in plan.runs:
        first = run.variant == next(iter(runs.values())).variant if runs else True
        runs.setdefault((run.variant, run.data if first else None), run)
    if plan.study.spec.design is not None:
        # All off, and most on; the plan has checked the combinations between.
        most = max(runs.values(), key=lambda run: run.variant.count('+'))
        runs = {'none': next(iter(runs.values())), 'most': most}
    if name in EXCHANGED:
        first, *_, last = runs.values()
        runs = {'first': first, 'last': last}
    for run in runs.values():
        tree, overrides = under_test(plan.configs[run.id].tree, tmp_path)
        folder = tmp_path / run.id
        (tmp_path / f'{run.id}.yaml').write_text(dump(tree))
        argv = [str(tmp_path / f'{run.id}.yaml'), '--work-dir', str(folder)]
        if tree.get('train_cfg') is None:
            assert main(['test', *argv, *overrides]) == 0
        else:
            assert main(['train', *argv, *overrides, 'train_cfg={max_iters: 2}']) == 0
            assert main(['test', '--run', str(folder)]) == 0
        assert json.loads((folder / 'metrics.json').read_text())['metrics']
        shutil.rmtree(folder)  # the checkpoints of all variants would fill a disk


@pytest.mark.slow
@pytest.mark.parametrize(
    'switches',
    ['precision: bf16', 'precision: fp16', 'channels_last: true', 'compile: true', 'threads: 1'],
)
def test_switches_change_how_not_what(switches, tmp_path):
    name = 'ldpnet/ldpnet_2022_synthetic'
    small = [
        'train_dataloader.batch_size=1',
        'train_dataloader.dataset.size=64',
        'train_dataloader.dataset.length=2',
        'train_cfg={max_epochs: 1}',
        'default_hooks.log.interval=1',
    ]
    losses = []
    for folder, runtime in (('plain', ''), ('switched', switches)):
        run = str(tmp_path / folder)
        argv = [*embedded(name, tmp_path), *small, f'runtime={{{runtime}}}', '--work-dir', run]
        assert main(['train', name, *argv]) == 0
        lines = Path(run, 'metrics.jsonl').read_text().splitlines()
        losses.append([json.loads(line)['loss'] for line in lines if 'loss' in line])
    plain, switched = losses
    assert len(switched) == 2
    assert switched[0] == pytest.approx(plain[0], rel=0.02)
    # fp16's gradient scaler begins by skipping steps, until the gradients do not overflow.
    assert switched[1] == pytest.approx(plain[1], rel=0.5 if 'fp16' in switches else 0.02)
