"""A loss that is not finite names its samples, and stops the run or is skipped, but not often."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support import subprocesses
from toolkit.engine.dataloader import build_loader
from toolkit.engine.hooks import Checkpoint
from toolkit.engine.training.training_step import SkippingStep, StepScalars, sum_losses
from toolkit.errors import RunError, ToolkitError
from toolkit.run.train import train

LENGTH = {'max_iters': 12, 'val_interval': 5}


def test_the_samples_and_the_last_good_checkpoint_are_named(config: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        train(config(model__explode_at=8, train_cfg=LENGTH), tmp_path / 'run')
    message = str(caught.value)
    order = torch.load(tmp_path / 'run/checkpoints/last.pth', weights_only=True)['meta']
    assert order['iter'] == 5
    assert (
        f'the last good checkpoint is {tmp_path}/run/checkpoints/last.pth (iteration 5)' in message
    )
    named = message.partition('its samples: ')[2].partition('; the last')[0]
    run = config(train_cfg=LENGTH)
    loader = build_loader(
        run.train_dataloader,
        run.train_dataloader.dataset(),
        training=True,
        seed=run.randomness.seed,
        device=torch.device('cpu'),
    )
    # Iteration 8 is the third batch of the second epoch.
    (batch,) = itertools.islice(loader.batch_sampler._batches(1, 2, 3), 1)
    loaded = [request.index for request in batch]
    assert [int(word.split()[0].strip(',')) for word in named.split('), ')] == loaded


def test_no_checkpoint_before_it(config: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match='no checkpoint had been written before'):
        train(config(model__explode_at=2, train_cfg=LENGTH), tmp_path / 'run')


def test_a_skipped_batch_changes_nothing(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of several skips, weights, optimizer and averages of BatchNorm know nothing."""
    length = {**LENGTH, 'on_nonfinite': 'skip', 'max_skips': 1}
    result = train(config(model__explode_at=8, train_cfg=length), tmp_path / 'run')
    assert (result.status, result.iterations) == ('finished', 12)
    content = torch.load(result.checkpoint, weights_only=True)
    assert all(bool(t.isfinite().all()) for t in content['state_dict'].values())
    assert content['loop']['skipped'] == 1
    assert content['state_dict']['norm.num_batches_tracked'] == 11
    steps = {state['step'].item() for state in content['optimizer']['state'].values()}
    assert steps == {11}
    printed = capsys.readouterr().out
    assert (
        "iteration 8 is skipped (1 of at most 1): the loss 'fit' is nan; its samples: " in printed
    )
    lines = subprocesses.lines(tmp_path / 'run')
    assert all(line.get('loss', 0) is not None for line in lines)


def test_a_skipped_batch_leaves_no_trace_in_averages_and_resumption(
    config: Any, tmp_path: Path
) -> None:
    """Also where gradients of several iterations are accumulated."""
    run = config(
        model__explode_at=3,
        train_cfg={'max_iters': 12, 'on_nonfinite': 'skip'},
        optim_wrapper__accumulative_counts=2,
        default_hooks={'checkpoint': {'type': 'Checkpoint', 'interval': 10, 'keep': 1}},
        custom_hooks={'ema': {'type': 'EMA'}},
    )
    whole = train(run, tmp_path / 'whole').checkpoint
    shutil.copytree(tmp_path / 'whole', tmp_path / 'again')
    again = train(run, tmp_path / 'again', resume=tmp_path / 'again/checkpoints/iter_10.pth')
    first, second = (torch.load(p, weights_only=True) for p in (whole, again.checkpoint))
    assert (first['loop']['skipped'], first['ema']['updates']) == (1, 6)  # of 11 batches
    assert subprocesses.first_difference(first, second) is None


@pytest.mark.parametrize('skipped', [1, 5, 7, 8])
def test_the_last_window_of_gradients_is_as_long_as_what_is_left(
    config: Any, tmp_path: Path, skipped: int
) -> None:
    """A training that skips an iteration is one of its other iterations."""

    def run(name: str, **changes: Any) -> dict[str, Any]:
        given = config(
            model__norm=False,
            model__dropout=0.0,
            train_dataloader__dataset__augment=False,
            train_dataloader__dataset__length=4,  # each batch holds all samples
            optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': 3},
            custom_hooks={'ema': {'type': 'EMA', 'decay': 0.5}},
            **changes,
        )
        return torch.load(train(given, tmp_path / name).checkpoint, weights_only=True)

    length = {'max_iters': 8, 'on_nonfinite': 'skip'}
    found = run('skips', model__explode_at=skipped, train_cfg=length)
    expected = run('shorter', train_cfg={'max_iters': 7})
    assert found['loop']['skipped'] == 1 and found['ema']['updates'] == 3
    for key in found['state_dict']:
        torch.testing.assert_close(found['state_dict'][key], expected['state_dict'][key])
        torch.testing.assert_close(
            found['ema']['state_dict'][key], expected['ema']['state_dict'][key]
        )


@pytest.mark.parametrize('way', ['stop', 'skip'])
def test_the_first_batch_is_held_to_contracts_either_way(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    run = config(train_cfg={'max_iters': 1, 'on_nonfinite': way})
    monkeypatch.setattr(
        run.model.cls, 'loss', lambda self, batch: {'fit': self.tensor(batch).mean().detach()}
    )
    with pytest.raises(ToolkitError, match='the losses depend on no parameter to be trained'):
        train(run, tmp_path / 'run')


def test_the_loss_of_a_skipped_batch_is_told(
    config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a system whose only term is named `loss`, and where only the sum is not finite."""
    run = config(train_cfg={'max_iters': 3, 'on_nonfinite': 'skip'})
    largest = torch.finfo(torch.float32).max
    for losses, told in (({'loss': float('inf')}, 'inf'), ({'a': largest, 'b': largest}, 'inf')):
        step = SkippingStep.__call__
        given = {name: torch.tensor(value) for name, value in losses.items()}
        scalars = {**given, 'loss': sum_losses(given)}
        monkeypatch.setattr(
            SkippingStep,
            '__call__',
            lambda self, batch, s=step, v=scalars: (
                StepScalars(v, {}, is_skipped=True) if not self.runner.iter else s(self, batch)
            ),
        )
        train(run, tmp_path / ''.join(losses))
        assert f"the loss 'loss' is {told};" in capsys.readouterr().out
        monkeypatch.undo()


def test_skips_are_bounded(config: Any, tmp_path: Path) -> None:
    length = {**LENGTH, 'on_nonfinite': 'skip', 'max_skips': 3}
    run = config(optim_wrapper__optimizer={'type': 'SGD', 'lr': 1e30}, train_cfg=length)
    with pytest.raises(RunError, match=r"the loss 'fit' is (nan|inf) at iteration"):
        train(run, tmp_path / 'run')


def test_without_a_bad_loss_skipping_has_the_same_bits(config: Any, tmp_path: Path) -> None:
    weights = []
    for name, more in (('stop', {}), ('skip', {'on_nonfinite': 'skip'})):
        run = config(train_cfg={'max_iters': 8, **more}, optim_wrapper__accumulative_counts=3)
        path = train(run, tmp_path / name).checkpoint
        weights.append(torch.load(path, weights_only=True)['state_dict'])
    assert subprocesses.first_difference(*weights) is None


def test_checkpoints_by_time(config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 7))  # seconds; it is read once a step, and after each checkpoint
    monkeypatch.setattr('toolkit.engine.hooks.checkpoint.time.monotonic', lambda: next(clock))
    hook = {'type': 'Checkpoint', 'interval': 1000, 'every': '20 s', 'keep': -1}
    train(config(train_cfg={'max_iters': 13}, default_hooks={'checkpoint': hook}), tmp_path / 'run')
    names = {p.name for p in (tmp_path / 'run' / 'checkpoints').glob('iter_*.pth')}
    assert names == {'iter_3.pth', 'iter_6.pth', 'iter_9.pth', 'iter_12.pth'}
    for text in ('10', '0 s', '3 weeks', '-1 min'):
        with pytest.raises(ValueError, match='expected a time such as 30 s, 10 min or 2 h'):
            Checkpoint(every=text)
    assert Checkpoint(every='10 min').seconds == 600
