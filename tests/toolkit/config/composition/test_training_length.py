"""Any config becomes a training of so many iterations, with its schedules scaled."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.config import load
from toolkit.config.checks.check import check
from toolkit.config.composition.training_length import set_iterations
from toolkit.config.load import Draft
from toolkit.config.yaml_file import COMMAND_LINE


def shorten(iterations, **sections):
    draft = Draft(Path('c.yaml'), sections, {})
    set_iterations(draft.tree, draft.origins, iterations, {(): COMMAND_LINE})
    return draft.resolve().tree


def test_schedules_by_epoch_count_iterations_of_the_new_length():
    tree = shorten(
        90,
        train_cfg={'max_epochs': 30, 'val_interval': 5, 'max_minutes': 10},
        param_scheduler={
            'warmup': {'type': 'LinearLR', 'begin': 0, 'end': 2, 'by_epoch': True},
            'cosine': {
                'type': 'CosineAnnealingLR',
                'begin': 2,
                'end': '${train_cfg.max_epochs}',
                'T_max': 28,
            },
            'steps': {'type': 'StepLR', 'step_size': 5, 'by_epoch': True},
            'smooth': {'type': 'PolyLR', 'begin': 100, 'end': 2000, 'by_epoch': False},
        },
        default_hooks={'keep': {'type': 'Checkpoint', 'interval': 10}},
    )
    assert tree['train_cfg'] == {'max_iters': 90, 'max_minutes': 10}
    schedules = tree['param_scheduler']
    assert schedules['warmup'] == {'type': 'LinearLR', 'begin': 0, 'end': 6, 'by_epoch': False}
    assert {key: schedules['cosine'][key] for key in ('begin', 'end', 'T_max', 'by_epoch')} == {
        'begin': 6,
        'end': 90,
        'T_max': 84,
        'by_epoch': False,
    }
    assert schedules['steps'] == {'type': 'StepLR', 'step_size': 5, 'by_epoch': True}
    assert schedules['smooth']['end'] == 2000  # of a length that is not known before the data are
    assert tree['default_hooks']['keep']['interval'] == 30


def test_what_a_bad_loss_does_stays():
    kept = {'on_nonfinite': 'skip', 'max_skips': 3}
    tree = shorten(9, train_cfg={'max_epochs': 30, 'val_begin': 2, **kept})
    assert tree['train_cfg'] == {'max_iters': 9, **kept}


def test_steps_of_epochs_stay_epochs():
    for steps in ({'type': 'StepLR', 'step_size': 5}, {'type': 'MultiStepLR', 'milestones': [3]}):
        tree = shorten(90, train_cfg={'max_epochs': 30}, param_scheduler={'steps': steps})
        assert tree['param_scheduler']['steps'] == {**steps, 'by_epoch': True}
        ending = {'steps': {**steps, 'end': '${train_cfg.max_epochs}'}}
        assert shorten(90, train_cfg={'max_epochs': 30}, param_scheduler=ending) == tree
        tree = shorten(90, train_cfg={'max_iters': 30}, param_scheduler={'steps': steps})
        assert tree['param_scheduler']['steps'] == steps


def test_a_training_by_iterations_and_parts_shorter_than_one():
    schedule = {'type': 'LinearLR', 'begin': 0, 'end': 10}
    tree = shorten(200, train_cfg={'max_iters': 400}, param_scheduler={'warmup': dict(schedule)})
    assert tree['param_scheduler']['warmup'] == {'type': 'LinearLR', 'begin': 0, 'end': 5}
    tree = shorten(2, train_cfg={'max_iters': 400}, param_scheduler={'warmup': dict(schedule)})
    assert tree['param_scheduler']['warmup'] is None
    assert shorten(2, train_cfg=None) == {'train_cfg': None}


SHIPPED = ['csasn/csasn_small', 'baselines/frozen_linear', 'ldpnet/ldpnet_2022_synthetic']


@pytest.mark.parametrize('name', SHIPPED)
def test_shipped_schedules_can_be_shortened(name):
    for iterations in (1, 500):
        config = load(name, iterations=iterations)
        assert [str(problem) for problem in check(config)] == []
        assert config.tree['train_cfg'] == {'max_iters': iterations}


@pytest.mark.parametrize('name', SHIPPED)
def test_one_epoch_is_right_or_refused_at_the_schedule(name):
    config = load(name, ['train_cfg.max_epochs=1'])
    found = check(config)
    assert len(found) == (name == 'csasn/csasn_small')
    for problem in found:
        assert problem.path == 'param_scheduler.cosine.begin'
        assert problem.place and 'set train_cfg.max_epochs to 3 or more' in problem.message
