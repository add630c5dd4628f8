"""Each workaround for mmengine is still needed: a test that fails here is one to take out."""

from __future__ import annotations

import functools
import os
import pickle
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine import hooks
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.optim.scheduler import CosineAnnealingLR
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from toolkit.engine import mmengine_compat
from toolkit.registry import HOOKS


class Model(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, inputs: Tensor, mode: str = 'tensor') -> Any:
        return {'loss': self.layer(inputs).square().mean()}


class Raising(Hook):
    def after_train_iter(self, *arguments: Any, **keywords: Any) -> None:
        raise TypeError('of a hook')


@pytest.fixture(scope='module')
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runner, Path, str]:
    """mmengine's own Runner after two iterations, its folder and what it printed."""
    folder = tmp_path_factory.mktemp('plain')
    patch = pytest.MonkeyPatch()
    printed: list[str] = []

    class Recorder:
        def write(self, text: str) -> None:
            printed.append(text)

        def flush(self) -> None: ...

    patch.setattr(sys, 'stdout', Recorder())
    try:
        runner = Runner(
            model=Model(),
            work_dir=str(folder),
            train_dataloader=DataLoader([{'inputs': torch.ones(2)}] * 2),  # type: ignore[arg-type]
            train_cfg={'by_epoch': True, 'max_epochs': 1},
            optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
            experiment_name='plain',
            default_scope=None,
        )
        runner.train()
    finally:
        patch.undo()
    return runner, folder, ''.join(printed)


def test_runner_prints_its_environment_and_litters(plain: tuple[Runner, Path, str]) -> None:
    runner, folder, printed = plain
    assert 'System environment' in printed
    assert 'Hooks will be executed' in printed
    assert (folder / runner.timestamp).is_dir()
    assert (folder / f'{runner.timestamp}.py').exists()


def test_runner_makes_a_figure_nobody_asked_for(plain: tuple[Runner, Path, str]) -> None:
    assert plain[0].visualizer.fig_save is not None


def test_checkpoints_cannot_be_loaded_safely(plain: tuple[Runner, Path, str]) -> None:
    path = plain[1] / 'epoch_1.pth'
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    # Nor do they hold what an exact resumption needs.
    content = torch.load(path, weights_only=False)
    assert not [key for key in content if 'rng' in key or 'random' in key]


def test_call_hook_hides_where_a_type_error_came_from(plain: tuple[Runner, Path, str]) -> None:
    runner = plain[0]
    runner.register_hook(Raising())
    with pytest.raises(TypeError) as caught:
        runner.call_hook('after_train_iter', batch_idx=0)
    runner._hooks.pop()
    assert "raise TypeError('of a hook')" not in ''.join(traceback.format_tb(caught.tb))


def test_instances_outlive_their_run(plain: tuple[Runner, Path, str]) -> None:
    assert MMLogger.check_instance_created(plain[0].experiment_name)


def test_wrap_model_asks_for_a_gpu_number(
    plain: tuple[Runner, Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain[0], '_distributed', True)
    monkeypatch.delitem(os.environ, 'LOCAL_RANK', raising=False)
    with pytest.raises(KeyError, match='LOCAL_RANK'):
        plain[0].wrap_model(None, Model())


def test_history_buffers_are_copied_whole_on_every_update() -> None:
    buffer = HistoryBuffer([0.0] * 1000, [1] * 1000)
    before = buffer._log_history
    buffer.update(1.0)
    assert buffer._log_history is not before
    assert len(buffer._log_history) == 1001


@pytest.mark.skipif(torch.cuda.is_available(), reason='about machines without a GPU')
def test_amp_wrapper_refuses_cpus() -> None:
    with pytest.raises(AssertionError, match='only available'):
        AmpOptimWrapper(optimizer=torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1))


@pytest.mark.skipif(torch.cuda.is_available(), reason='about machines without a GPU')
def test_init_dist_sets_a_gpu_even_for_gloo(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmengine.dist import init_dist

    for name in ('RANK', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '0')
    with pytest.raises((RuntimeError, AssertionError, AttributeError)) as caught:
        init_dist('pytorch', backend='gloo')
    assert 'set_device' in ''.join(traceback.format_tb(caught.tb))


def test_early_stopping_has_no_state_and_needs_a_training_loop() -> None:
    hook = EarlyStoppingHook('loss')
    assert not hasattr(hook, 'state_dict')

    class NoTraining:
        train_loop = None

    with pytest.raises(AssertionError, match='stop_training'):
        hook.before_run(NoTraining())


def test_early_stopping_is_given_a_state() -> None:
    first, second = (EarlyStoppingHook('loss') for _ in range(2))
    first.wait_count, first.best_score = 3, 0.5
    state = mmengine_compat.get_hook_state(first)
    assert state is not None
    mmengine_compat.load_hook_state(second, state)
    assert (second.wait_count, second.best_score) == (3, 0.5)
    assert not mmengine_compat.is_test_hook(first)
    assert mmengine_compat.get_hook_state(Hook()) is None


def wrapper() -> OptimWrapper:
    return OptimWrapper(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1))


def test_loading_a_schedule_brings_back_its_old_end() -> None:
    cosine = functools.partial(CosineAnnealingLR, T_max=100)
    short, longer, ours = (cosine(wrapper(), end=end) for end in (2, 9, 9))
    kept = mmengine_compat.SchedulerState(short)
    state = mmengine_compat.SchedulerState(ours)
    short.optimizer.step()
    short.step()
    longer.load_state_dict(short.state_dict())
    assert longer.end == 2
    state.load(kept.save())
    assert (ours.end, ours.last_step) == (9, 1)


def test_a_schedule_before_the_first_step_warns() -> None:
    scheduler = CosineAnnealingLR(wrapper(), T_max=3)
    with pytest.warns(UserWarning, match='Detected call of `scheduler.step'):
        scheduler.step()
    with warnings.catch_warnings(record=True) as caught:
        mmengine_compat.silence_warnings()
        CosineAnnealingLR(wrapper(), T_max=3).step()
    assert not caught


def test_refused_hooks_are_mmengines() -> None:
    assert all(issubclass(getattr(hooks, name), Hook) for name in HOOKS.refused)
    assert not HOOKS.refused.keys() & HOOKS.library_components().keys()


def test_a_hook_derived_from_a_refused_one_is_found() -> None:
    class Derived(hooks.EMAHook): ...

    assert mmengine_compat.find_refused_base(Derived()) == 'EMAHook'
    assert mmengine_compat.find_refused_base(EarlyStoppingHook('loss')) is None


def test_clip_grad_writes_to_a_history_buffer() -> None:
    from mmengine.logging import MessageHub

    wrapped = OptimWrapper(
        torch.optim.SGD((layer := nn.Linear(1, 1)).parameters(), lr=0.1), clip_grad={'max_norm': 1}
    )
    wrapped.update_params(layer(torch.ones(1, 1)).sum())
    assert isinstance(
        MessageHub.get_current_instance().get_scalar('train/grad_norm'), HistoryBuffer
    )
