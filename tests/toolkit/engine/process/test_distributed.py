"""Two processes are one run: equal weights, the samples of a single process, its metrics."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support import subprocesses
from toolkit.engine import checkpoint


def finish(processes: list[Any], work_dir: Path, expected: int = 0) -> None:
    for rank, process in enumerate(processes):
        process.join(60)
        text = Path(f'{work_dir}.out{rank}').read_text(encoding='utf-8')
        assert process.exitcode == expected, text


def assert_losses_are_close(*folders: Path) -> None:
    logged = [
        [
            (line['iter'], name, line[name])
            for line in subprocesses.lines(folder)
            for name in ('loss', 'fit', 'size')
            if name in line
        ]
        for folder in folders
    ]
    assert logged[0]
    for (*place, a), (*other, b) in zip(*logged, strict=True):
        assert place == other and a == pytest.approx(b, rel=1e-4), place


def hashes(work_dir: Path) -> set[str]:
    return {Path(f'{work_dir}.hash{rank}').read_text(encoding='utf-8') for rank in range(2)}


def test_both_end_with_equal_weights_and_only_one_writes(tree: Any, tmp_path: Path) -> None:
    config = tree(train_dataloader__dataset__length=18, custom_hooks={'ema': {'type': 'EMA'}})
    finish(subprocesses.start_joined('train', config, tmp_path / 'run', 2), tmp_path / 'run')
    assert len(hashes(tmp_path / 'run')) == 1
    assert (tmp_path / 'run.out1').read_text() == ''
    assert 'cpu x 2' in (tmp_path / 'run.out0').read_text()
    record = json.loads((tmp_path / 'run' / 'capsule.json').read_text())
    assert (record['status'], record['processes']) == ('finished', 2)
    # A thread of gloo that outlives Python aborts a process whose work is done.
    for rank in range(2):
        threads = (tmp_path / f'run.threads{rank}').read_text().split()
        assert threads and not [name for name in threads if 'gloo' in name], threads


def test_two_with_four_are_one_with_eight(tree: Any, tmp_path: Path) -> None:
    # Without what depends on how a batch is shared: BatchNorm's statistics, dropout's masks.
    plain = {'model__norm': False, 'model__dropout': 0.0, 'train_dataloader__dataset__length': 16}
    config = tree(**plain, optim_wrapper__optimizer={'type': 'SGD', 'lr': 0.05})
    finish(subprocesses.start_joined('train', config, tmp_path / 'two', 2), tmp_path / 'two')
    config['train_dataloader']['batch_size'] = 8
    assert subprocesses.start(config, tmp_path / 'one').join() is None
    two, one = (
        torch.load(tmp_path / name / 'checkpoints' / 'last.pth', weights_only=True)['state_dict']
        for name in ('two', 'one')
    )
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-6)
    # The losses of the log are those of all samples too, and not those of the first process.
    assert_losses_are_close(tmp_path / 'two', tmp_path / 'one')


def test_metrics_are_those_of_one_process(tree: Any, tmp_path: Path) -> None:
    config = tree()
    subprocesses.start(config, tmp_path / 'run').join()
    last = str(tmp_path / 'run' / 'checkpoints' / 'last.pth')
    # Seven samples in batches of 3: the second process's last batch is filled up.
    for world in (1, 2):
        folder = tmp_path / f'test{world}'
        finish(subprocesses.start_joined('test', config, folder, world, checkpoint=last), folder)
    one, two = (json.loads((tmp_path / f'test{w}' / 'metrics.json').read_text()) for w in (1, 2))
    assert [row['id'] for row in two['rows']['mse']] == [f'item{i}' for i in range(7)]
    assert one['metrics'] == pytest.approx(two['metrics'], rel=1e-6)
    for a, b in zip(one['rows']['mse'], two['rows']['mse'], strict=True):
        assert a['value'] == pytest.approx(b['value'], rel=1e-6)


def test_one_process_told_to_stop_stops_both_and_they_resume(tree: Any, tmp_path: Path) -> None:
    config = tree(
        train_dataloader__dataset__slow=0.003,
        train_cfg={'max_iters': 40, 'val_interval': 15},
        optim_wrapper__accumulative_counts=4,
        default_hooks={'logger': {'type': 'MetricsLog', 'interval': 3}},
    )
    calm, stopped = tmp_path / 'calm', tmp_path / 'stopped'
    finish(subprocesses.start_joined('train', config, calm, 2), calm)
    processes = subprocesses.start_joined('train', config, stopped, 2)
    while not (stopped / 'metrics.jsonl').exists():
        assert processes[0].is_alive()
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(processes[1].pid, signal.SIGTERM)
    finish(processes, stopped, 143)
    assert 'SIGTERM at iteration' in (tmp_path / 'stopped.out0').read_text()
    finish(subprocesses.start_joined('train', config, stopped, 2, resume=True), stopped)
    contents = [torch.load(d / 'checkpoints/last.pth', weights_only=True) for d in (calm, stopped)]
    assert subprocesses.first_difference(*contents) is None
    assert subprocesses.lines(calm) == subprocesses.lines(stopped)
    # One process with as many samples as each of the two had is another training.
    single = subprocesses.start(config, stopped, resume=True)
    single.join()
    assert single.exitcode == 2
    assert 'train_dataloader.batch_size=8' in subprocesses.output(stopped)


@pytest.mark.parametrize(
    ('killed', 'workers'), [(1, 0), pytest.param(0, 2, marks=pytest.mark.slow)]
)
def test_a_process_whose_other_is_killed_ends_with_one_line(
    tree: Any, tmp_path: Path, killed: int, workers: int
) -> None:
    config = tree(
        train_dataloader__dataset__slow=0.003,
        train_dataloader__num_workers=workers,
        train_cfg={'max_iters': 4000, 'val_interval': 2000},
        default_hooks={
            'logger': {'type': 'MetricsLog', 'interval': 1},
            'checkpoint': {'type': 'Checkpoint', 'interval': 2},
        },
    )
    processes = subprocesses.start_joined('train', config, tmp_path / 'run', 2)
    while not (tmp_path / 'run' / 'checkpoints' / 'last.pth').exists():
        assert processes[0].is_alive() and processes[1].is_alive()
        time.sleep(0.01)
    os.kill(processes[killed].pid, signal.SIGKILL)
    other = 1 - killed
    begun = time.monotonic()
    processes[other].join(60)
    assert time.monotonic() - begun < 20  # a worker that outlives its process notices after 5 s
    assert processes[other].exitcode == 1
    (line,) = [
        line
        for line in (tmp_path / f'run.out{other}').read_text().splitlines()
        if not line.startswith('TinySystem')
    ]
    assert f'process {other} of 2 cannot go on: another process' in line and '--resume' in line
    checkpoint.load(tmp_path / 'run' / 'checkpoints' / 'last.pth')
    if other == 0:
        record = json.loads((tmp_path / 'run' / 'capsule.json').read_text())
        assert record['status'].startswith('failed: process 0 of 2 cannot go on')


@pytest.mark.slow
@pytest.mark.parametrize(('first', 'then'), [(1, 2), (2, 1)])
def test_a_run_goes_on_with_another_number_of_processes(
    tree: Any, tmp_path: Path, first: int, then: int
) -> None:
    """Its samples and rates are the same; its weights are, but for the order of sums."""

    def make(world: int) -> Any:
        return tree(
            model__norm=False,  # their results depend on how a batch is shared
            model__dropout=0.0,
            train_dataloader__dataset__length=24,
            train_dataloader__batch_size=8 // world,
            optim_wrapper={
                'optimizer': {'type': 'SGD', 'lr': 0.05, 'momentum': 0.9},
                'accumulative_counts': 2,
            },
            param_scheduler={'steps': {'type': 'MultiStepLR', 'milestones': [2, 3]}},
            custom_hooks={'ema': {'type': 'EMA', 'decay': 0.9}},
            default_hooks={
                # One line is of iterations before and after the number changes.
                'logger': {'type': 'MetricsLog', 'interval': 2},
                'checkpoint': {'type': 'Checkpoint', 'interval': 5, 'keep': 2},
            },
            train_cfg={'max_iters': 10, 'val_interval': 5},
        )

    calm, run = tmp_path / 'calm', tmp_path / 'run'
    finish(subprocesses.start_joined('train', make(first), calm, first), calm)
    shutil.copytree(calm, run)
    # In the middle of an epoch and of a window of accumulated gradients.
    options = {'resume': run / 'checkpoints' / 'iter_5.pth'}
    refused = subprocesses.start_joined('train', make(then), run, then, **options)
    finish(refused, run, 2)
    said = (tmp_path / 'run.out0').read_text()
    assert f'processes (was {first}, is {then}) changed' in said and '--allow-changed' in said
    options['allow_changed'] = ('processes',)
    finish(subprocesses.start_joined('train', make(then), run, then, **options), run)
    one, other = (
        torch.load(folder / 'checkpoints' / 'last.pth', weights_only=True) for folder in (calm, run)
    )
    assert one['state_dict'].keys() == other['state_dict'].keys()
    for name, tensor in one['state_dict'].items():
        torch.testing.assert_close(tensor, other['state_dict'][name], rtol=1e-5, atol=1e-6)
    assert one['loop'] == other['loop'] and one['meta']['iter'] == 10
    rates = [
        [(line['iter'], line['lr']) for line in subprocesses.lines(folder) if 'lr' in line]
        for folder in (calm, run)
    ]
    assert rates[0] == rates[1] and len(rates[0]) == 5
    assert_losses_are_close(calm, run)
    assert 'goes on as another' not in (tmp_path / 'run.out0').read_text()
    record = json.loads((run / 'capsule.json').read_text())
    assert set(record['resumed'][-1]['changed']) == {
        'processes',
        'train_dataloader.batch_size',
    }


@pytest.mark.slow
def test_a_skipped_last_iteration_is_that_of_all_processes(tree: Any, tmp_path: Path) -> None:
    """The gradients before it, which no backward pass averages any more, are averaged then."""
    config = tree(
        model__norm=False,
        model__dropout=0.0,
        model__explode_at=5,
        train_dataloader__dataset__length=16,
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.05}, 'accumulative_counts': 3},
        train_cfg={'max_iters': 5, 'on_nonfinite': 'skip'},
    )
    finish(subprocesses.start_joined('train', config, tmp_path / 'two', 2), tmp_path / 'two')
    assert len(hashes(tmp_path / 'two')) == 1
    config['train_dataloader']['batch_size'] = 8
    config['model']['explode_at'] = 0
    config['train_cfg']['max_iters'] = 4
    assert subprocesses.start(config, tmp_path / 'one').join() is None
    two, one = (
        torch.load(tmp_path / name / 'checkpoints' / 'last.pth', weights_only=True)['state_dict']
        for name in ('two', 'one')
    )
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-5, atol=1e-6)


def test_an_error_of_the_main_process_is_everyones(tree: Any, tmp_path: Path) -> None:
    config = tree(train_cfg={'max_iters': 1})
    (tmp_path / 'run').write_text('a file')
    finish(subprocesses.start_joined('train', config, tmp_path / 'run', 2), tmp_path / 'run', 1)


@pytest.mark.slow
def test_torchrun(tree: Any, tmp_path: Path) -> None:
    command = ['-m', 'torch.distributed.run', '--nproc_per_node', '2', subprocesses.__file__]
    done = subprocess.run(
        [sys.executable, *command, json.dumps(tree()), str(tmp_path / 'run')],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[4])},
    )
    assert done.returncode == 0, done.stderr
    assert len(hashes(tmp_path / 'run')) == 1
