"""CUDA graphs of whole training steps: who may use them, and that they change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support import subprocesses
from toolkit.engine.process import distributed
from toolkit.engine.training.optim import build_optim_wrapper
from toolkit.errors import ComponentError, ToolkitError
from toolkit.run.train import train

GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]


def weights(config: Any, folder: Path, **changes: Any) -> dict[str, Any]:
    run = config(train_cfg={'max_iters': 12}, val_dataloader=None, val_evaluator=None, **changes)
    return torch.load(train(run, folder).checkpoint, weights_only=True)


def test_on_a_cpu_the_switch_changes_nothing(config: Any, tmp_path: Path) -> None:
    plain = weights(config, tmp_path / 'plain')
    switched = weights(config, tmp_path / 'switched', runtime={'cuda_graph': True})
    assert subprocesses.first_difference(plain['state_dict'], switched['state_dict']) is None


@pytest.mark.parametrize('mode', ['default', 'reduce-overhead', 'max-autotune'])
def test_modes_of_the_compiler_are_passed_on(
    config: Any, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    monkeypatch.setattr(torch.nn.Module, 'compile', lambda self, mode=None: found.append(mode))
    weights(config, tmp_path / 'run', runtime={'compile': mode})
    assert found == [mode]


def test_fused_steps_only_where_nothing_else_is_asked_for(config: Any) -> None:
    """Which options a GPU adds; the optimizer itself is built on the CPU here."""
    cuda = torch.device('cuda')
    for optimizer, fused in (
        ({'type': 'Adam', 'lr': 0.1}, True),
        ({'type': 'SGD', 'lr': 0.1}, True),
        ({'type': 'Adam', 'lr': 0.1, 'foreach': True}, None),
        ({'type': 'Adam', 'lr': 0.1, 'fused': False}, False),
    ):
        run = config(optim_wrapper={'optimizer': optimizer})
        wrapper = build_optim_wrapper(run.model(), run.optim_wrapper, run.runtime, cuda)
        assert wrapper.optimizer.param_groups[0]['fused'] is fused


def test_an_optimizer_that_cannot_be_captured(config: Any) -> None:
    run = config(
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}}, runtime={'cuda_graph': True}
    )
    with pytest.raises(ComponentError, match='cuda_graph: SGD cannot be captured.*Adam'):
        build_optim_wrapper(run.model(), run.optim_wrapper, run.runtime, torch.device('cuda'))


def test_processes_exchange_values_seldom_and_at_the_same_iteration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two processes of different speeds, told of a signal at different times."""
    calls: list[list[float]] = []

    def reduce(box: torch.Tensor, **options: Any) -> None:
        calls.append(box.tolist())
        box[1] = 0.01  # the slower one's seconds an iteration

    monkeypatch.setattr(distributed, 'get_world_size', lambda: 2)
    monkeypatch.setattr(distributed.dist, 'all_reduce', reduce)
    clock = iter(torch.arange(1000.0).div(1000).tolist())
    monkeypatch.setattr(distributed.time, 'perf_counter', lambda: next(clock))
    agreement = distributed.Agreement()
    found = [
        agreement.find_largest(iteration, 15 if iteration > 12 else 0) for iteration in range(40)
    ]
    assert [i for i, value in enumerate(found) if value] == [20, 30]
    assert len(calls) == 4  # at 0, 10, 20 and 30: every 0.1 s


# -- on a GPU --------------------------------------------------------------------------------------


def on_gpu(**runtime: Any) -> dict[str, Any]:
    return {
        'runtime': {'device': 'cuda', **runtime},
        'randomness': {'seed': 0, 'deterministic': True},
        'param_scheduler': {'decay': {'type': 'ExponentialLR', 'gamma': 0.9, 'by_epoch': False}},
    }


@pytest.mark.parametrize('gpu', [pytest.param(0, marks=GPU)])
def test_replays_compute_what_steps_compute(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: int
) -> None:
    """To the bit, with a schedule, clipping, BatchNorm and an uneven last batch; without dropout,
    whose random numbers a graph takes from other places of the same generator."""
    changes: dict[str, Any] = {
        'model__dropout': 0.0,
        'train_dataloader__dataset__length': 18,
        'optim_wrapper__clip_grad': {'max_norm': 0.5},
    }
    run = config(**changes, **on_gpu())
    monkeypatch.setattr(run.model.cls, 'capturable', True)
    plain = weights(config, tmp_path / 'plain', **changes, **on_gpu())
    replayed = weights(config, tmp_path / 'replayed', **changes, **on_gpu(cuda_graph=True))
    for name, tensor in plain['state_dict'].items():
        torch.testing.assert_close(replayed['state_dict'][name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('gpu', [pytest.param(0, marks=GPU)])
@pytest.mark.parametrize('cuda_graph', [False, True])
def test_a_resumed_run_on_a_gpu_ends_in_the_same_bits(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: int, cuda_graph: bool
) -> None:
    """With CUDA's generators, from which dropout draws."""
    changes = {**on_gpu(cuda_graph=cuda_graph), 'val_dataloader': None, 'val_evaluator': None}
    monkeypatch.setattr(config(**changes).model.cls, 'capturable', True)
    if cuda_graph:
        changes['model__dropout'] = 0.0
    whole = train(config(**changes, train_cfg={'max_iters': 14}), tmp_path / 'whole')
    cut = config(**changes, train_cfg={'max_iters': 14})
    train(cut, tmp_path / 'parts', stop_at=6)
    parts = train(cut, tmp_path / 'parts', resume=True)
    contents = [torch.load(r.checkpoint, weights_only=True) for r in (whole, parts)]
    assert (
        subprocesses.first_difference(contents[0]['state_dict'], contents[1]['state_dict']) is None
    )


@pytest.mark.parametrize('gpu', [pytest.param(0, marks=GPU)])
def test_a_system_that_cannot_be_captured_is_refused(config: Any, tmp_path: Path, gpu: int) -> None:
    with pytest.raises(ToolkitError, match='runtime.cuda_graph: TinySystem'):
        weights(config, tmp_path / 'run', runtime={'device': 'cuda', 'cuda_graph': True})


@pytest.mark.parametrize('gpu', [pytest.param(0, marks=GPU)])
@pytest.mark.parametrize('cuda_graph', [False, True])
def test_nothing_waits_for_the_gpu_between_log_lines(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: int, cuda_graph: bool
) -> None:
    from toolkit.engine.training.training_loop import TrainLoop

    run = config(
        runtime={'device': 'cuda', 'cuda_graph': cuda_graph},
        train_dataloader__dataset__length=200,
        train_cfg={'max_iters': 200},
        default_hooks={'logger': {'type': 'MetricsLog', 'interval': 1000}},
        val_dataloader=None,
        val_evaluator=None,
    )
    monkeypatch.setattr(run.model.cls, 'capturable', True)
    usual = TrainLoop._train_iter

    def guarded(self: Any, *arguments: Any) -> None:
        # A capture waits once.
        torch.cuda.set_sync_debug_mode('error' if self.iter > 8 else 'default')
        try:
            usual(self, *arguments)
        finally:
            torch.cuda.set_sync_debug_mode('default')

    monkeypatch.setattr(TrainLoop, '_train_iter', guarded)
    assert train(run, tmp_path / 'run').iterations == 200


@pytest.mark.parametrize('gpu', [pytest.param(0, marks=GPU)])
@pytest.mark.parametrize('cuda_graph', [False, True])
def test_memory_stays_as_it_is(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: int, cuda_graph: bool
) -> None:
    from toolkit.engine.training.training_loop import TrainLoop

    run = config(
        runtime={'device': 'cuda', 'cuda_graph': cuda_graph},
        train_cfg={'max_iters': 2000},
        val_dataloader=None,
        val_evaluator=None,
    )
    monkeypatch.setattr(run.model.cls, 'capturable', True)
    usual, used = TrainLoop._train_iter, {}

    def watched(self: Any, *arguments: Any) -> None:
        usual(self, *arguments)
        if self.iter in (200, 1200, 1990):
            used[self.iter] = torch.cuda.memory_allocated()

    monkeypatch.setattr(TrainLoop, '_train_iter', watched)
    train(run, tmp_path / 'run')
    assert max(used.values()) - min(used.values()) < 100_000, used
