"""A run that is resumed with another length equals one of that length, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support import subprocesses
from tests.toolkit.run.test_resume import read_all, run_in
from toolkit import cli
from toolkit.engine.training import schedule_length
from toolkit.errors import ToolkitError
from toolkit.run import capsule

STEPS = {
    'warm': {'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': False, 'end': 5},
    'steps': {'type': 'MultiStepLR', 'milestones': [7, 14, 16], 'by_epoch': False},
    'each': {'type': 'StepLR', 'step_size': 2, 'by_epoch': True, 'gamma': 0.7},
}
HORIZONS: dict[str, dict[str, Any]] = {
    'cosine': {'type': 'CosineAnnealingLR'},
    'linear': {'type': 'LinearLR', 'start_factor': 1.0, 'end_factor': 0.1},
    'poly': {'type': 'PolyLR', 'eta_min': 0.001, 'begin': 3},
    'momentum': {'type': 'LinearMomentum', 'start_factor': 0.5},
}


def make(tree: Any, iterations: int, schedules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return tree(
        train_cfg={'max_iters': iterations, 'val_interval': 7},
        param_scheduler=schedules,
        custom_hooks={'ema': {'type': 'EMA', 'decay': 0.9}},
        default_hooks={'logger': {'type': 'MetricsLog', 'interval': 7}},
        **more,
    )


def read_last(folder: Path) -> dict[str, Any]:
    content = torch.load(folder / 'checkpoints' / 'last.pth', weights_only=True)
    del content['meta']['config']
    return content


def test_a_longer_run_equals_one_of_that_length(
    tree: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The earlier end is a milestone, which a schedule that ended there would leave out."""
    whole, grown = tmp_path / 'whole', tmp_path / 'grown'
    run_in(whole, make(tree, 20, STEPS))
    run_in(grown, make(tree, 14, STEPS))
    before = (grown / 'metrics.jsonl').read_text()
    (grown / 'metrics.json').write_text('{}')
    capsys.readouterr()
    run_in(grown, make(tree, 20, STEPS), resume=True)
    said = capsys.readouterr().out
    assert '14 iterations are now 20: from iteration 14 on, the run equals one' in said
    assert 'metrics.json is of the test at iteration 14: it is now metrics_of_14.json' in said
    assert (grown / 'metrics_of_14.json').exists() and not (grown / 'metrics.json').exists()
    assert subprocesses.first_difference(read_last(whole), read_last(grown)) is None
    assert subprocesses.lines(whole) == subprocesses.lines(grown)
    assert (grown / 'metrics.jsonl').read_text().startswith(before)
    record = capsule.read(grown)
    (resumed,) = record['resumed']
    assert (record['status'], resumed['changed']) == ('finished', ['train_cfg.max_iters'])
    assert (resumed['length']['before'], resumed['length']['after']) == (14, 20)
    with pytest.raises(ToolkitError, match='with 16 iterations: it has done 20; give it more'):
        run_in(grown, make(tree, 16, STEPS), resume=True)


@pytest.mark.parametrize('name', HORIZONS)
def test_a_schedule_of_another_length_is_refused_or_followed(
    tree: Any, tmp_path: Path, name: str
) -> None:
    folder, schedules = tmp_path / 'run', {'one': HORIZONS[name], 'warm': STEPS['warm']}
    run_in(folder, make(tree, 7, schedules))
    before = read_all(folder)
    with pytest.raises(ToolkitError) as caught:
        run_in(folder, make(tree, 20, schedules), resume=True)
    assert '20 iterations in place of 7' in str(caught.value)
    assert 'the schedule one depends on the length. Start anew' in str(caught.value)
    assert read_all(folder) == before and capsule.read(folder)['resumed'] == []
    run_in(folder, make(tree, 20, schedules), resume=True, allow_changed=('schedules',))
    run_in(tmp_path / 'whole', make(tree, 20, schedules))
    ends = [read_last(f)['optimizer']['param_groups'] for f in (folder, tmp_path / 'whole')]
    assert ends[0] == ends[1]  # as if it had followed this schedule from the start
    (resumed,) = capsule.read(folder)['resumed']
    assert resumed['changed'] == ['train_cfg.max_iters', 'param_scheduler.one']


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'optim_wrapper__accumulative_counts': 4}, 'last step was made of 3 iterations, not 4'),
        (
            {
                'param_scheduler': {
                    'plateau': {'type': 'ReduceOnPlateauLR', 'monitor': 'mse', 'by_epoch': True}
                }
            },
            'the schedule plateau counts validations',
        ),
        (
            {
                'custom_hooks': {
                    'stop': {'type': 'EarlyStoppingHook', 'monitor': 'mse', 'rule': 'less'}
                }
            },
            'early stopping counts the validation at iteration 7',
        ),
        (
            {'default_hooks': {'checkpoint': {'type': 'Checkpoint', 'save_best': 'mse'}}},
            'best.pth is of the validation at iteration 7',
        ),
        (
            {'custom_hooks': {'follow': {'type': 'FollowsValidation'}}},
            'the hook follow uses the validation at iteration 7',
        ),
        ({'train_cfg': {'max_epochs': 9}}, 'were counted in iterations, not epochs'),
    ],
)
def test_what_else_an_earlier_end_changes_is_refused(
    tree: Any, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    later = {'max_iters': 20, 'val_interval': 5}
    first = tree(**{'train_cfg': {'max_iters': 7, 'val_interval': 5}, **changes})
    if 'train_cfg' in changes:
        first, later = tree(train_cfg={'max_iters': 7}), changes['train_cfg']
    run_in(tmp_path, first)
    with pytest.raises(ToolkitError, match=message):
        run_in(tmp_path, {**first, 'train_cfg': later}, resume=True)


def test_a_milestone_to_come_may_be_moved(tree: Any, tmp_path: Path) -> None:
    schedules = {'steps': {**STEPS['steps'], 'milestones': [3, 6]}}
    moved = {'steps': {**STEPS['steps'], 'milestones': [3, 16]}}
    run_in(tmp_path, make(tree, 5, schedules))
    with pytest.raises(ToolkitError, match='differs in param_scheduler.steps.milestones'):
        run_in(tmp_path, make(tree, 5, moved), resume=True)
    run_in(tmp_path, make(tree, 8, moved), resume=True)
    assert 'milestones' in capsule.read(tmp_path)['resumed'][0]['changed'][1]


def test_the_command_extends_by_iterations(
    tree: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / 'config.yaml'
    cosine = {'type': 'CosineAnnealingLR', 'T_max': 9, 'eta_min': 0.001}
    schedules = {'cosine': cosine, 'warm': STEPS['warm']}
    config.write_text(json.dumps(tree(train_cfg={'max_epochs': 9}, param_scheduler=schedules)))
    words = ['train', str(config), '--work-dir', str(tmp_path / 'run'), '--iterations']
    assert cli.main([*words, '4']) == 0
    assert cli.main([*words, '8', '--resume']) == 2
    assert 'the schedule cosine depends on the length. Start' in capsys.readouterr().err
    assert cli.main([*words, '8', '--resume', '--allow-changed']) == 0
    assert read_last(tmp_path / 'run')['loop']['iter'] == 8


def test_a_validation_at_the_earlier_end_changes_no_weights(tree: Any, tmp_path: Path) -> None:
    """The longer run has none there, so that it alone is in the log."""
    for name, lengths in (('whole', [12]), ('grown', [5, 12])):
        for place, length in enumerate(lengths):
            run_in(tmp_path / name, make(tree, length, STEPS), resume=place > 0)
    ends = [read_last(tmp_path / name) for name in ('whole', 'grown')]
    for content in ends:
        del content['losses']  # since the last line of the log, which differ
    assert subprocesses.first_difference(*ends) is None
    assert '"iter": 5, "epoch"' in (tmp_path / 'grown' / 'metrics.jsonl').read_text()


def test_a_stand_in_for_an_optimizer_begins_where_the_schedules_have() -> None:
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([{'params': [parameter], 'lr': 0.5}], betas=(0.8, 0.9))
    from mmengine.optim import LinearLR, LinearMomentum

    LinearLR(optimizer, start_factor=0.1)
    LinearMomentum(optimizer, start_factor=0.1)
    (values,) = schedule_length._Settings(optimizer).copy_values()
    assert (values['lr'], values['momentum'], values['betas']) == (0.5, 0.8, (0.8, 0.9))
