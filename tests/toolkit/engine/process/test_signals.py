"""Ctrl-C and SIGTERM: the iteration is finished, the run is saved, and says how to go on."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support import subprocesses
from toolkit.engine.process import signals


def started(tree: Any, folder: Path, **changes: Any) -> tuple[Any, dict[str, Any]]:
    config = tree(
        train_dataloader__dataset__slow=0.004,
        train_cfg={'max_iters': 60, 'val_interval': 25},
        default_hooks={
            'logger': {'type': 'MetricsLog', 'interval': 4},
            'progress': {'type': 'Progress', 'every': 0.1},
        },
        **changes,
    )
    process = subprocesses.start(config, folder)
    while not (folder / 'metrics.jsonl').exists() or not subprocesses.lines(folder):
        assert process.is_alive(), subprocesses.output(folder)
        time.sleep(0.01)
    return process, config


@pytest.mark.parametrize(
    ('number', 'status', 'workers'),
    [
        (signal.SIGINT, 130, 0),
        (signal.SIGTERM, 143, 2),
        pytest.param(signal.SIGHUP, 129, 2, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_the_run_goes_on_as_if_nothing_had_been(
    tree: Any, tmp_path: Path, number: signal.Signals, status: int, workers: int
) -> None:
    stopped, calm = tmp_path / 'stopped', tmp_path / 'calm'
    process, config = started(tree, stopped, train_dataloader__num_workers=workers)
    # As a terminal and a batch system do, to the workers of the loader too.
    for pid in [*children(process.pid), process.pid]:
        os.kill(pid, number)
    process.join(20)
    printed = subprocesses.output(stopped)
    assert process.exitcode == status, printed
    assert f'{number.name}: stopping after this iteration; once more to quit now' in printed
    content = torch.load(stopped / 'checkpoints' / 'last.pth', weights_only=True)
    iteration = content['meta']['iter']
    assert 4 <= iteration < 60
    assert f'stopped by {number.name} at iteration {iteration} of 60, saved; go on with' in printed
    assert f'--resume --work-dir {stopped}' in printed
    record = json.loads((stopped / 'capsule.json').read_text())
    assert (record['status'], record['signal']) == ('interrupted', number.name)
    for folder, resume in ((stopped, True), (calm, False)):
        again = subprocesses.start(config, folder, resume=resume)
        again.join()
        assert again.exitcode == 0, subprocesses.output(folder)
    contents = [torch.load(d / 'checkpoints/last.pth', weights_only=True) for d in (calm, stopped)]
    assert subprocesses.first_difference(*contents) is None
    assert subprocesses.lines(calm) == subprocesses.lines(stopped)


def test_a_second_signal_quits_at_once(tree: Any, tmp_path: Path) -> None:
    folder = tmp_path / 'run'
    # One iteration of four samples takes two seconds.
    config = tree(train_dataloader__dataset__slow=0.5)
    process = subprocesses.start(config, folder)
    while not (folder / 'metrics.jsonl').exists():
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.1)
    begun = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    process.join(10)
    assert process.exitcode == 143
    assert time.monotonic() - begun < 1.5
    assert not (folder / 'checkpoints').exists()


def test_a_hangup_stops_a_run_unless_it_is_ignored() -> None:
    assert signals.list_handled() == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        assert signals.list_handled() == [signal.SIGINT, signal.SIGTERM]
        with signals.Interruption(lambda line: None) as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
        assert interruption.received == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def children(pid: int) -> list[int]:
    text = Path(f'/proc/{pid}/task/{pid}/children').read_text(encoding='utf-8')
    return [int(word) for word in text.split()]
