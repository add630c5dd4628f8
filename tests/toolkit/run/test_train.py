"""A training from outside: what it leaves, what it refuses, what stops it."""

from __future__ import annotations

import functools
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from tests.support import subprocesses
from toolkit.config import Config
from toolkit.config.checks.check import check
from toolkit.engine import checkpoint
from toolkit.errors import ComponentError, RunError, ToolkitError
from toolkit.run import work_dir as work_dirs
from toolkit.run.capsule import CapsuleInput
from toolkit.run.rerun import rerun
from toolkit.run.train import train


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file()}


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def test_what_a_run_leaves(
    config: Any, tree: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = CapsuleInput(tree(), 'model: {}\n', {'model': 'a.yaml:1'}, ['toolkit', 'train'])
    result = train(config(), tmp_path / 'run', capsule_input=given)
    assert (result.status, result.exit_status) == ('finished', 0)
    assert (result.iterations, result.max_iters) == (10, 10)
    assert result.metrics.keys() == {'mse', 'err.worst', 'err.close'}
    found = files(tmp_path / 'run') - {'diff.patch', '.lock'}
    assert found == {
        'capsule.json',
        'config.yaml',
        'origins.json',
        'metrics.jsonl',
        'train.log',
        'checkpoints/last.pth',
        'plugins/tiny_engine.py',
    }
    record = json.loads((tmp_path / 'run' / 'capsule.json').read_text())
    assert record['command'] == ['toolkit', 'train']
    assert record['data'] == {'train': 'tiny-20', 'val': 'tiny-7'}
    assert record['packages']['torch'] == torch.__version__.split('+')[0]
    assert 'toolkit.run.train' in record['sources']
    assert any(name.endswith('tiny_engine') for name in record['sources'])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == 'TinySystem · 255 parameters · cpu · fp32 · 10 iterations'
    assert printed[1].startswith('5/10  validation: mse ')
    assert printed[-1].startswith('trained 10 iterations in ')
    assert len(printed) == 4


def test_the_checkpoint_is_plain(config: Any, tmp_path: Path) -> None:
    run = config(runtime__channels_last=True, custom_hooks={'ema': {'type': 'EMA'}})
    last = train(run, tmp_path / 'run').checkpoint
    content = torch.load(last, weights_only=True)
    names = run.model().state_dict().keys()
    assert content['state_dict'].keys() == names
    assert content['meta']['iter'] == 10
    system = run.model()
    checkpoint.load_weights(system, last)
    # With an average of weights, the plain ones are the average.
    in_training = content['ema']['state_dict']
    assert in_training.keys() == names
    assert not torch.equal(in_training['conv.weight'], system.conv.weight)


def test_metrics_lines(config: Any, tmp_path: Path) -> None:
    hooks = {'logger': {'type': 'MetricsLog', 'interval': 4}}
    train(config(default_hooks=hooks, optim_wrapper__clip_grad={'max_norm': 1.0}), tmp_path / 'run')
    lines = records(tmp_path / 'run')
    assert [(line['iter'], 'val' in line) for line in lines] == [
        (4, False),
        (5, True),
        (8, False),
        (10, True),
        (10, False),
    ]
    assert [line['epoch'] for line in lines] == [0.8, 1.0, 1.6, 2.0, 2.0]
    assert lines[0].keys() == {'iter', 'epoch', 'lr', 'fit', 'size', 'loss', 'grad_norm'} | {
        'time',
        'data_time',
    }
    for line in lines:
        if 'val' not in line:
            assert line['loss'] == pytest.approx(line['fit'] + line['size'], rel=1e-5)
            assert line['lr'] == 0.01


def test_a_log_line_is_the_mean_since_the_last(config: Any, tmp_path: Path) -> None:
    lines = {}
    for interval in (1, 5):
        hooks = {'logger': {'type': 'MetricsLog', 'interval': interval}}
        run = config(default_hooks=hooks, val_dataloader=None, val_evaluator=None)
        train(run, tmp_path / str(interval))
        lines[interval] = records(tmp_path / str(interval))
    assert lines[5][0]['loss'] == pytest.approx(sum(x['loss'] for x in lines[1][:5]) / 5)


def test_best_is_by_the_metrics_direction_and_numbered_ones_are_kept(
    config: Any, tmp_path: Path
) -> None:
    for metric, better in (('err.close', max), ('mse', min)):
        folder = tmp_path / metric
        hook = {'type': 'Checkpoint', 'interval': 2, 'save_best': metric, 'keep': 2}
        hooks = {'checkpoint': hook, 'logger': {'type': 'MetricsLog'}}
        run = config(train_cfg={'max_epochs': 6}, default_hooks=hooks)
        result = train(run, folder)
        values = {x['iter']: x['val'][metric] for x in records(folder) if 'val' in x}
        best = better(values.values())
        first = next(i for i, value in values.items() if value == best)
        assert result.best == {'metric': metric, 'value': best, 'iter': first}
        content = torch.load(folder / 'checkpoints' / 'best.pth', weights_only=True)
        assert content['meta']['best'] == result.best
        assert content['meta']['iter'] == first
        assert content.keys() == {'state_dict', 'meta'}
        names = {p.name for p in (folder / 'checkpoints').iterdir()}
        assert names == {'best.pth', 'last.pth', 'iter_20.pth', 'iter_30.pth'}


def test_early_stopping_ends_a_run_and_is_not_resumed(config: Any, tmp_path: Path) -> None:
    stop = {'type': 'EarlyStoppingHook', 'monitor': 'mse', 'rule': 'less', 'patience': 1}
    changes = {
        'train_cfg': {'max_epochs': 9},
        'custom_hooks': {'stop': {**stop, 'min_delta': 9.0}},
    }
    first = train(config(**changes), tmp_path / 'run')
    assert (first.status, first.iterations) == ('finished', 10)
    again = train(config(**changes), tmp_path / 'run', resume=True)
    assert (again.status, again.iterations) == ('finished', 10)


def test_hooks_see_what_mmengine_promises(config: Any, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    class Watching(Hook):
        def _note(self, stage: str, runner: Any) -> None:
            seen.append((stage, runner.iter, runner.epoch))

        def before_train_epoch(self, runner: Any) -> None:
            self._note('start', runner)

        def after_train_iter(self, runner: Any, batch_idx: int, **rest: Any) -> None:
            assert rest['outputs']['loss'].ndim == 0
            assert batch_idx == runner.iter % 5
            assert runner.message_hub.get_info('iter') == runner.iter
            self._note('iter', runner)

        def after_train_epoch(self, runner: Any) -> None:
            self._note('end', runner)

        def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
            assert metrics['mse'] > 0
            assert not runner.model.training
            self._note('val', runner)

    run = config()
    run.custom_hooks = {'watch': Watching}
    train(run, tmp_path / 'run')
    assert seen == [
        ('start', 0, 0),
        *(('iter', i, 0) for i in range(5)),
        ('end', 5, 0),
        ('val', 5, 1),
        ('start', 5, 1),
        *(('iter', i, 1) for i in range(5, 10)),
        ('end', 10, 1),
        ('val', 10, 2),
    ]


def test_validation_does_not_move_the_training(config: Any, tmp_path: Path) -> None:
    without = config(val_dataloader=None, val_evaluator=None)
    weights = [
        torch.load(train(run, tmp_path / name).checkpoint, weights_only=True)['state_dict']
        for name, run in (('with', config()), ('without', without))
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_loss_that_is_not_finite_stops_the_run(config: Any, tmp_path: Path) -> None:
    run = config(model__explode_at=8, train_cfg={'max_iters': 40, 'val_interval': 5})
    with pytest.raises(RunError, match=r"the loss 'fit' is nan at iteration 8;"):
        train(run, tmp_path / 'run')
    content = torch.load(tmp_path / 'run' / 'checkpoints' / 'last.pth', weights_only=True)
    assert content['meta']['iter'] == 5
    assert all(t.isfinite().all() for t in content['state_dict'].values())
    assert json.loads((tmp_path / 'run/capsule.json').read_text())['status'].startswith('failed: ')


def test_weights_that_are_not_finite_are_not_saved(config: Any, tmp_path: Path) -> None:
    class Breaking(Hook):
        """As a gradient that is not finite does, while the loss still was."""

        def after_train_iter(self, runner: Any, batch_idx: int, **rest: Any) -> None:
            if runner.iter == 9:
                runner.system.head.bias.data.fill_(float('inf'))

    run = config(train_cfg={'max_iters': 40, 'val_interval': 5})
    run.custom_hooks = {'break': Breaking}
    with pytest.raises(RunError, match=r'the weights head.bias are not finite after iteration 10;'):
        train(run, tmp_path / 'run')
    content = torch.load(tmp_path / 'run' / 'checkpoints' / 'last.pth', weights_only=True)
    assert content['meta']['iter'] == 5


def test_time_ends_a_run_with_a_validation(
    config: Any, tree: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {
        'train_dataloader__dataset__slow': 0.01,
        'train_cfg': {'max_iters': 10**6, 'max_minutes': 0.02},
    }
    given = CapsuleInput(tree(**changes), 'a: 1\n')
    result = train(config(**changes), tmp_path / 'run', capsule_input=given)
    assert (result.status, result.exit_status, result.time_over) == ('finished', 0, True)
    assert 1 <= result.iterations < 100
    validated = [line['iter'] for line in records(tmp_path / 'run') if 'val' in line]
    assert validated == [result.iterations] == [torch.load(result.checkpoint)['meta']['iter']]
    printed = capsys.readouterr().out
    assert '1,000,000 iterations or 1.2 s' in printed
    assert f'the time was over at iteration {result.iterations} of 1,000,000' in printed
    again = rerun(tmp_path / 'run', tmp_path / 'again')  # ends where it ended, not by the time
    assert (again.equal, again.difference) == (True, None)
    # What was spent before counts; more may be given.
    changes['train_cfg'] = {'max_iters': 10**6, 'max_minutes': 0.02}
    assert train(config(**changes), tmp_path / 'run', resume=True).iterations == result.iterations
    changes['train_cfg'] = {'max_iters': result.iterations + 3, 'max_minutes': 1}
    longer = train(config(**changes), tmp_path / 'run', resume=True)
    assert (longer.iterations, longer.time_over) == (result.iterations + 3, False)


def test_a_repetition_is_not_bounded_by_the_time(config: Any, tree: Any, tmp_path: Path) -> None:
    changes = {'train_cfg': {'max_iters': 10, 'max_minutes': 5}}
    given = CapsuleInput(tree(**changes), 'a: 1\n')
    train(config(**changes), tmp_path / 'run', capsule_input=given)
    path = tmp_path / 'run' / 'capsule.json'
    record = json.loads(path.read_text())
    record['config']['train_cfg']['max_minutes'] = 1e-9  # as if this machine were slower
    path.write_text(json.dumps(record))
    assert rerun(tmp_path / 'run', tmp_path / 'again').equal


def test_a_run_is_cleared_and_nothing_else(config: Any, tmp_path: Path) -> None:
    folder = tmp_path / 'run'
    work_dirs.clear(folder)  # none is there
    train(config(), folder)
    (folder / 'notes.txt').write_text('mine')
    work_dirs.clear(folder)
    assert not work_dirs.holds_run(folder)
    assert files(folder) - {'.lock'} == {'notes.txt'}
    other = tmp_path / 'other'
    (other / 'checkpoints').mkdir(parents=True)
    work_dirs.clear(other)  # a folder of another kind, whatever the names in it
    assert (other / 'checkpoints').is_dir()


def test_a_time_that_is_none(tree: Any) -> None:
    config = Config(Path('c.yaml'), tree(train_cfg={'max_iters': 4, 'max_minutes': -1}))
    (problem,) = check(config)
    assert problem.path == 'train_cfg.max_minutes'
    assert 'above 0' in problem.message and '-1' in problem.message


def test_data_that_cannot_be_read_is_one_line(config: Any, tmp_path: Path) -> None:
    run = config(train_dataloader__dataset={'type': 'TinyData', 'broken': 3})
    with pytest.raises(RunError, match='^sample 3 is cut off$'):
        train(run, tmp_path / 'run')


def test_a_full_disk_ends_the_run_with_one_line(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, 'No space left on device')

    run = config()
    monkeypatch.setattr('torch.save', full)
    with pytest.raises(RunError, match='cannot write the checkpoint .*: No space left on device'):
        train(run, tmp_path / 'run')


def test_folders_are_not_shared(config: Any, tree: Any, tmp_path: Path) -> None:
    folder = tmp_path / 'run'
    with pytest.raises(ToolkitError, match='nothing to resume: .* holds no run'):
        train(config(), folder, resume=True)
    assert not folder.exists()
    train(config(), folder, capsule_input=CapsuleInput(tree()))
    with pytest.raises(ToolkitError, match='already holds a run: go on with --resume'):
        train(config(), folder)
    changed = tree(optim_wrapper__optimizer__lr=0.5, model__width=4)
    with pytest.raises(
        ToolkitError,
        match=r'the config differs in model\.width, optim_wrapper\.optimizer\.lr; resume',
    ):
        train(config(), folder, resume=True, capsule_input=CapsuleInput(changed))
    (tmp_path / 'file').write_text('')
    with pytest.raises(RunError, match='is a file'):
        train(config(), tmp_path / 'file')
    with pytest.raises(RunError, match='cannot write'):
        train(config(), tmp_path / 'file' / 'run')


def test_two_runs_in_one_folder(config: Any, tmp_path: Path) -> None:
    folder = tmp_path / 'run'
    folder.mkdir()
    holder = subprocesses.CONTEXT.Process(target=subprocesses.hold, args=(str(folder),))
    holder.start()
    try:
        while not (folder / 'held').exists():
            assert holder.is_alive()
            time.sleep(0.01)
        with pytest.raises(ToolkitError, match='another run is working in'):
            train(config(), folder)
    finally:
        holder.terminate()
        holder.join()
    assert not work_dirs.holds_run(folder)
    train(config(), folder)


def test_nothing_is_written_when_a_part_cannot_be_built(config: Any, tmp_path: Path) -> None:
    broken = [
        ({'optim_wrapper__optimizer': {'type': 'Adam', 'lr': -1.0}}, 'Invalid learning rate'),
        ({'train_dataloader__dataset': {'type': 'TinyData', 'length': 0}}, 'has no samples'),
        ({'model': {'type': 'Constant'}}, 'no trainable parameters'),
        ({'load_from': str(tmp_path / 'no.pth')}, 'no checkpoint'),
        ({'default_hooks': {'c': {'type': 'CheckpointHook'}}}, 'not used here: use Checkpoint'),
        ({'custom_hooks': {'e': {'type': 'EMAHook'}}}, 'EMAHook .*not used here: use EMA'),
        (
            {'default_hooks': {'c': {'type': 'Checkpoint', 'save_best': 'msee'}}},
            r"default_hooks\.c\.save_best: no metric is named 'msee'; did you mean 'mse'",
        ),
        (
            {'custom_hooks': {'s': {'type': 'EarlyStoppingHook', 'monitor': 'x', 'rule': 'less'}}},
            r"custom_hooks\.s\.monitor: no metric is named 'x'; .*mse, err\.worst, err\.close",
        ),
        ({'train_dataloader': None, 'optim_wrapper': None, 'train_cfg': None}, 'has no training'),
    ]
    if not torch.cuda.is_available():
        broken.append(({'runtime__device': 'cuda'}, 'torch finds no GPU'))
    for changes, message in broken:
        with pytest.raises(ToolkitError) as caught:
            train(config(**changes), tmp_path / 'run')
        assert re.search(message, str(caught.value)), str(caught.value)
        assert not (tmp_path / 'run').exists()


def test_a_dataset_that_does_not_fit_the_system(config: Any, tmp_path: Path) -> None:
    run = config()
    system = run.model()

    def check_data(dataset: Any) -> None:
        raise ComponentError('train_dataloader.dataset', 'has 3 bands, the model takes 4')

    system.check_data = check_data
    run.model = lambda: system
    with pytest.raises(ToolkitError, match='has 3 bands'):
        train(run, tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_longer_training_and_other_runtime_may_be_resumed(
    config: Any, tree: Any, tmp_path: Path
) -> None:
    schedule = {'cosine': {'type': 'CosineAnnealingLR', 'eta_min': 0.0}}
    short = {'param_scheduler': schedule, 'train_cfg': {'max_epochs': 2}}
    train(config(**short), tmp_path / 'run', capsule_input=CapsuleInput(tree(**short)))
    longer = {**short, 'train_cfg': {'max_epochs': 4}, 'runtime': {'threads': 1}}
    result = train(
        config(**longer),
        tmp_path / 'run',
        resume=True,
        capsule_input=CapsuleInput(tree(**longer)),
        allow_changed=('schedules',),
    )
    assert result.iterations == 20
    record = json.loads((tmp_path / 'run' / 'capsule.json').read_text())
    changed = ['train_cfg.max_epochs', 'runtime', 'param_scheduler.cosine']
    assert record['resumed'][0]['changed'] == changed
    rates = [line['lr'] for line in records(tmp_path / 'run') if 'lr' in line]
    assert len(rates) == 2 and rates[1] < rates[0]  # the schedule went on with the training


def test_a_damaged_last_checkpoint_is_said(config: Any, tmp_path: Path) -> None:
    last = train(config(), tmp_path / 'run').checkpoint
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(ToolkitError, match='damaged'):
        train(config(train_cfg={'max_epochs': 3}), tmp_path / 'run', resume=True)


def test_weights_alone_cannot_be_resumed(config: Any, tmp_path: Path) -> None:
    run = config()
    last = train(run, tmp_path / 'run').checkpoint
    checkpoint.save({'state_dict': run.model().state_dict()}, last)
    with pytest.raises(ToolkitError, match='cannot be resumed: it has no optimizer'):
        train(config(), tmp_path / 'run', resume=True)


def test_load_from_starts_with_other_weights(config: Any, tmp_path: Path) -> None:
    first = train(config(), tmp_path / 'a').checkpoint
    still = functools.partial(torch.optim.SGD, lr=0.0)
    run = config(load_from=str(first), val_dataloader=None, val_evaluator=None)
    run.optim_wrapper.optimizer = still
    second = train(run, tmp_path / 'b').checkpoint
    a, b = (torch.load(p, weights_only=True)['state_dict'] for p in (first, second))
    assert torch.equal(a['conv.weight'], b['conv.weight'])


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_half_precision_runs_and_resumes(config: Any, tmp_path: Path, precision: str) -> None:
    changes = {'runtime__precision': precision, 'runtime__channels_last': True}
    whole = train(config(**changes, train_cfg={'max_iters': 12}), tmp_path / 'whole')
    train(config(**changes, train_cfg={'max_iters': 7}), tmp_path / 'parts')
    parts = train(config(**changes, train_cfg={'max_iters': 12}), tmp_path / 'parts', resume=True)
    contents = [torch.load(r.checkpoint, weights_only=True) for r in (whole, parts)]
    assert subprocesses.first_difference(*contents) is None


@pytest.mark.slow
def test_compile_keeps_names(config: Any, tmp_path: Path) -> None:
    run = config(runtime__compile=True)
    content = torch.load(train(run, tmp_path / 'run').checkpoint, weights_only=True)
    assert content['state_dict'].keys() == run.model().state_dict().keys()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('precision', ['fp32', 'bf16', 'fp16'])
def test_the_same_path_on_a_gpu(config: Any, tmp_path: Path, precision: str) -> None:
    run = config(
        runtime={'device': 'cuda', 'precision': precision, 'channels_last': True},
        train_dataloader__pin_memory=True,
        train_dataloader__num_workers=1,
    )
    result = train(run, tmp_path / 'run')
    content = torch.load(result.checkpoint, weights_only=True)
    assert all(t.device.type == 'cpu' for t in content['state_dict'].values())
    assert train(run, tmp_path / 'run', resume=True).iterations == result.iterations
