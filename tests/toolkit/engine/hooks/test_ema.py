"""EMA: decay, what is validated and saved, and scores after few iterations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.tiny_plugin import config, one_thread, tiny_plugin, tree
from toolkit.engine.hooks import EMA
from toolkit.run.train import train

__all__ = ['config', 'one_thread', 'tiny_plugin', 'tree']


def load(folder: Path, name: str = 'last') -> dict[str, Any]:
    return torch.load(folder / 'checkpoints' / f'{name}.pth', weights_only=True)


def test_decay_warms_up() -> None:
    hook = EMA(decay=0.9)
    assert [hook.get_decay(n) for n in (0, 1, 2, 10)] == [0, 2 / 11, 3 / 12, 11 / 20]
    assert hook.get_decay(79) == pytest.approx(80 / 89)
    assert hook.get_decay(80) == hook.get_decay(10**6) == 0.9
    constant = EMA(decay=0.9, warm_up=False)
    assert [constant.get_decay(n) for n in (0, 1, 100)] == [0, 0.9, 0.9]


@pytest.mark.parametrize('decay', [-0.1, 1.0, 1.5, float('nan')])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match='decay.*at least 0 and below 1, found'):
        EMA(decay=decay)


@pytest.mark.parametrize('buffers', [True, False])
def test_the_average_is_that_of_the_weights_after_each_step(
    config: Any, tmp_path: Path, buffers: bool
) -> None:
    history = []

    class Recorder(EMA):
        def after_train_iter(self, runner: Any, *arguments: Any, **keywords: Any) -> None:
            super().after_train_iter(runner, *arguments, **keywords)
            state = runner.system.state_dict()
            history.append({name: tensor.clone() for name, tensor in state.items()})

    run = config(optim_wrapper__accumulative_counts=2)
    run.custom_hooks = {'ema': lambda: Recorder(decay=0.5, buffers=buffers)}
    train(run, tmp_path / 'run')
    steps = history[1::2]  # an optimizer step at every second iteration
    assert len(steps) == 5
    content = load(tmp_path / 'run')
    assert content['ema']['updates'] == 5
    for name, last in steps[-1].items():
        expected = steps[0][name]
        if last.is_floating_point() and (buffers or 'running' not in name):
            for n, step in enumerate(steps[1:], 1):
                decay = min(0.5, (1 + n) / (10 + n))
                expected = decay * expected + (1 - decay) * step[name]
        else:
            expected = last
        torch.testing.assert_close(content['state_dict'][name], expected)
        assert torch.equal(content['ema']['state_dict'][name], last)


def test_training_is_the_same_with_and_without(config: Any, tmp_path: Path) -> None:
    train(config(), tmp_path / 'plain')
    train(config(custom_hooks={'ema': {'type': 'EMA'}}), tmp_path / 'ema')
    plain, averaged = load(tmp_path / 'plain'), load(tmp_path / 'ema')
    for name, tensor in plain['state_dict'].items():
        assert torch.equal(averaged['ema']['state_dict'][name], tensor)


def test_before_the_first_step_nothing_is_averaged(config: Any, tmp_path: Path) -> None:
    hooks = {'ema': {'type': 'EMA'}}
    run = config(
        train_cfg={'max_iters': 4, 'val_interval': 1},
        optim_wrapper__accumulative_counts=4,
        custom_hooks=hooks,
    )
    train(run, tmp_path / 'run', stop_at=2)
    content = load(tmp_path / 'run')
    assert 'ema' not in content
    train(run, tmp_path / 'run', resume=True)
    assert load(tmp_path / 'run')['ema']['updates'] == 1


def test_best_holds_the_averaged_weights(config: Any, tmp_path: Path) -> None:
    run = config(
        custom_hooks={'ema': {'type': 'EMA'}},
        default_hooks={'checkpoint': {'type': 'Checkpoint', 'save_best': 'mse'}},
    )
    result = train(run, tmp_path / 'run')
    assert result.best['iter'] == 10
    best, last = load(tmp_path / 'run', 'best'), load(tmp_path / 'run')
    assert best.keys() == {'state_dict', 'meta'}
    for name, tensor in last['state_dict'].items():
        assert torch.equal(best['state_dict'][name], tensor)


def test_a_short_training_does_not_keep_its_first_weights(config: Any, tmp_path: Path) -> None:
    def score(name: str, **ema: Any) -> float:
        hooks = {'ema': {'type': 'EMA', **ema}} if ema else {}
        run = config(train_cfg={'max_epochs': 12}, custom_hooks=hooks)
        return train(run, tmp_path / name).metrics['mse']

    without = score('without')
    # The decay of mmengine's EMAHook, which has no warm-up.
    first = score('first', decay=0.9998, warm_up=False)
    averaged = score('averaged', decay=0.9998)
    assert first > 2 * without
    assert averaged <= (without + first) / 2
