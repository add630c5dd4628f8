"""`toolkit check` refuses what a training would refuse, with file and line, and warns."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_plugin import make_tree
from toolkit.cli import main
from toolkit.config import load
from toolkit.config.checks.check import fill_checked
from toolkit.config.dump import dump
from toolkit.engine.preflight import inspect_run


def inspect(folder: Path, seconds: float = 20.0, data: bool = True, **changes: Any) -> Any:
    """Looks at the tiny config with changes."""
    (folder / 'c.yaml').write_text(dump(make_tree(**changes)))
    config = load(folder / 'c.yaml')
    return inspect_run(config, fill_checked(config), data=data, seconds=seconds)


def test_a_good_config_has_nothing_against_it(tmp_path: Path) -> None:
    found = inspect(tmp_path)
    assert (found.problems, found.warnings, found.unseen) == ([], [], [])


@pytest.mark.parametrize(
    ('changes', 'path', 'said'),
    [
        (
            {'custom_hooks': {'s': {'type': 'EarlyStoppingHook', 'monitor': 'm', 'rule': 'less'}}},
            'custom_hooks.s.monitor',
            "no metric is named 'm'",
        ),
        (
            {
                'custom_hooks': {
                    's': {'type': 'EarlyStoppingHook', 'monitor': 'mse', 'rule': 'greater'}
                }
            },
            'custom_hooks.s.rule',
            'follows mse to its worse values; set rule: less',
        ),
        (
            {
                'param_scheduler': {
                    'p': {'type': 'ReduceOnPlateauLR', 'monitor': 'err.close', 'rule': 'less'}
                }
            },
            'param_scheduler.p.rule',
            'set rule: greater',
        ),
        (
            {'optim_wrapper__paramwise_cfg': {'custom_keys': {'hed': {'lr_mult': 2.0}}}},
            'optim_wrapper.paramwise_cfg.custom_keys.hed',
            "no trainable parameter has 'hed'",
        ),
        ({'train_dataloader__dataset__length': 0}, 'train_dataloader.dataset', 'no samples'),
        (
            {'train_dataloader__batch_size': 64, 'train_dataloader__drop_last': True},
            'train_dataloader.dataset',
            'gives no batch: 20 samples, batch_size 64, drop_last true',
        ),
        ({'test_dataloader__dataset__broken': 0}, 'test_dataloader.dataset', 'sample 0 is cut off'),
        ({'val_dataloader__dataset__broken': 5}, 'val_dataloader.dataset', 'sample 5 is cut off'),
        (
            {'model__vector_norm': True, 'train_dataloader__batch_size': 1},
            'train_dataloader.dataset',
            'BatchNorm1d) cannot be trained',
        ),
        (
            {
                'train_dataloader__dataset__people': ['a'],
                'test_dataloader__dataset__people': ['a'],
            },
            'test_dataloader.dataset',
            'that the training holds too',
        ),
    ],
)
def test_what_a_training_would_refuse(
    tmp_path: Path, changes: dict[str, Any], path: str, said: str
) -> None:
    (problem,) = inspect(tmp_path, **changes).problems
    assert problem.path == path and said in problem.message
    assert problem.place.startswith(str(tmp_path / 'c.yaml:')) or 'c.yaml:' in problem.place


@pytest.mark.parametrize(
    ('changes', 'path', 'said'),
    [
        (
            {'param_scheduler': {'c': {'type': 'CosineAnnealingLR', 'T_max': 9}}},
            'param_scheduler.c.T_max',
            'needs 9 steps to reach its lowest rate, but the schedule has 2',
        ),
        (
            {'param_scheduler': {'c': {'type': 'CosineAnnealingLR', 'T_max': 1}}},
            'param_scheduler.c.T_max',
            'rises again',
        ),
        (
            {'param_scheduler': {'w': {'type': 'LinearLR', 'start_factor': 0.1, 'end': 7}}},
            'param_scheduler.w.end',
            'the warm-up lasts until 7, but the training ends at 2',
        ),
        # 20 samples in batches of 4, 2 epochs: 10 iterations.
        (
            {
                'param_scheduler': {
                    's': {'type': 'MultiStepLR', 'milestones': [5, 10], 'by_epoch': False}
                }
            },
            'param_scheduler.s.milestones',
            '10 is never reached: the training ends at 10',
        ),
        (
            {'param_scheduler': {'s': {'type': 'StepLR', 'step_size': 5}}},
            'param_scheduler.s.step_size',
            'the rate never falls: the training ends at 2',
        ),
        ({'allow_overlap': ['since']}, 'allow_overlap', 'hold nothing in common'),
    ],
)
def test_what_is_only_suspicious(
    tmp_path: Path, changes: dict[str, Any], path: str, said: str
) -> None:
    found = inspect(tmp_path, **changes)
    assert found.problems == []
    (warning,) = found.warnings
    assert warning.path == path and said in warning.message


def test_time_is_limited_and_what_was_not_seen_is_said(tmp_path: Path) -> None:
    started = time.perf_counter()
    found = inspect(tmp_path, seconds=0.2, train_dataloader__dataset__slow=60.0)
    assert time.perf_counter() - started < 20
    assert found.problems == []
    assert found.unseen == ['train_dataloader.dataset: 5 of 5 batches']


def test_a_sample_is_seen_where_a_batch_takes_too_long(tmp_path: Path) -> None:
    found = inspect(tmp_path, seconds=0.8, train_dataloader__dataset__slow=0.25)
    assert found.unseen == ['train_dataloader.dataset: 5 of 5 batches but for one sample']


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = make_tree(
        test_dataloader__dataset__broken=0,
        param_scheduler={'s': {'type': 'StepLR', 'step_size': 5}},
    )
    (tmp_path / 'c.yaml').write_text(dump(bad))
    assert main(['check', str(tmp_path / 'c.yaml')]) == 2
    said = capsys.readouterr()
    assert 'sample 0 is cut off' in said.err and 'Traceback' not in said.err
    assert 'warning: ' in said.out and 'the rate never falls' in said.out
    assert main(['check', str(tmp_path / 'c.yaml'), '--no-data']) == 0
    said = capsys.readouterr()
    assert 'no problem found' in said.out and 'not looked at: the data (--no-data)' in said.out
