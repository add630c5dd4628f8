"""Components of one task are refused in a config of the other, with file and line."""

from __future__ import annotations

import pytest

from plugins.timm_zoo.backbone import TimmBackbone
from toolkit.config import load
from toolkit.config.checks.check import check, fill_checked
from toolkit.config.checks.config_checker import find_task
from toolkit.engine.preflight import inspect_run
from toolkit.registry import get_kinds, plugin_index


@pytest.mark.parametrize(
    ('config', 'change', 'path'),
    [
        (
            'csasn/csasn_demo',
            'train_dataloader.dataset.transforms.flip={type: Flip}',
            'train_dataloader.dataset.transforms.flip.type',
        ),
        (
            'csasn/csasn_demo',
            'model.losses.classes={type: ReferenceMSE}',
            'model.losses.classes.type',
        ),
        (
            'csasn/csasn_demo',
            'test_dataloader.dataset={type: ManifestScenes, manifest: x.csv}',
            'test_dataloader.dataset.type',
        ),
        (
            'csasn/csasn_demo',
            'test_evaluator.metrics={one: {type: SAM}}',
            'test_evaluator.metrics.one.type',
        ),
        (
            'ldpnet/ldpnet_2022',
            'model.losses.kl={type: Focal}',
            'model.losses.kl.type',
        ),
        (
            'ldpnet/ldpnet_2022',
            '+train_dataloader.dataset.transforms={flip: {type: RandomFlip}}',
            'train_dataloader.dataset.transforms.flip.type',
        ),
        (
            'ldpnet/ldpnet_2022',
            '+custom_hooks={calibrate: {type: Calibrate}}',
            'custom_hooks.calibrate.type',
        ),
    ],
)
def test_a_component_of_another_task(config, change, path):
    found = [p for p in check(load(config, [change])) if 'is a component of' in p.message]
    assert path in [problem.path for problem in found]
    assert all(problem.place == 'command line' or ':' in problem.place for problem in found)


def test_every_component_of_a_task_says_so_and_the_rest_serve_all():
    plugin_index.import_all()
    tasks = {'classification', 'csasn', 'pansharpening', 'ldpnet', 'classical', 'fusion_cnns'}
    for kind in get_kinds().values():
        for cls in kind.module_dict.values():
            package = cls.__module__.split('.')
            if package[0] == 'plugins':
                assert (find_task(cls) is not None) == (package[1] in tasks), cls
    assert find_task(TimmBackbone) is None


def problems(change):
    config = load('csasn/csasn_demo', change)
    return {
        (p.path, p.message.split(':')[0])
        for p in inspect_run(config, fill_checked(config)).problems
    }


def test_samplers_and_hooks_that_need_what_is_not_there():
    (found,) = problems(['train_dataloader.sampler={type: WeightedSampler, task: patology}'])
    assert found[0].startswith('train_dataloader.') and 'patology' in found[1]
    found = problems(['val_dataloader=null', 'val_evaluator=null', 'test_evaluator={metrics: {}}'])
    assert {path for path, _ in found} >= {'custom_hooks.calibrate', 'custom_hooks.clinical'}
    (found,) = problems(['+model.losses.classes.weight=0'])
    assert found == ('model.losses', 'all losses have the weight 0')
