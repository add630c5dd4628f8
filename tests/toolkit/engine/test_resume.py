"""A run that is killed and resumed is the run that was left alone, to the last bit."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import subprocesses


def whole(tree: Any, mode: str, workers: int, slow: float = 0.0) -> dict[str, Any]:
    """A config with everything that has a state: dropout, BatchNorm, augmentation, an average of
    weights, a schedule, accumulation, clipping, early stopping, a best checkpoint."""
    length = {'max_epochs': 8} if mode == 'epochs' else {'max_iters': 41, 'val_interval': 6}
    interval = 1 if mode == 'epochs' else 4
    return tree(
        train_cfg=length,
        train_dataloader__num_workers=workers,
        train_dataloader__dataset__slow=slow,
        train_dataloader__dataset__length=19,
        optim_wrapper__accumulative_counts=3,
        optim_wrapper__paramwise_cfg={'custom_keys': {'head': {'lr_mult': 0.5}}},
        optim_wrapper__clip_grad={'max_norm': 1.0},
        param_scheduler={
            'warm': {'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': False, 'end': 5},
            'steps': {'type': 'MultiStepLR', 'milestones': [2, 30]},
        },
        default_hooks={
            'logger': {'type': 'MetricsLog', 'interval': 3},
            'progress': {'type': 'Progress'},
            'checkpoint': {'type': 'Checkpoint', 'interval': interval, 'save_best': 'mse'},
        },
        custom_hooks={
            'ema': {'type': 'EMA', 'decay': 0.9},
            'stop': {
                'type': 'EarlyStoppingHook',
                'monitor': 'err.close',
                'rule': 'greater',
                'patience': 7,
            },
        },
    )


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('mode', ['epochs', 'iterations'])
def test_killed_and_resumed_equals_undisturbed(
    tree: Any, tmp_path: Path, mode: str, workers: int
) -> None:
    calm, killed = tmp_path / 'calm', tmp_path / 'killed'
    undisturbed = subprocesses.start(whole(tree, mode, workers), calm)
    undisturbed.join()
    assert undisturbed.exitcode == 0, subprocesses.output(calm)

    moments = random.Random(f'{mode}{workers}')
    slow = whole(tree, mode, workers, slow=0.003)
    deaths = 0
    for attempt in range(6):
        process = subprocesses.start(slow, killed, resume=attempt > 0)
        begun = time.monotonic()
        while process.is_alive() and not (killed / 'metrics.jsonl').exists():
            time.sleep(0.01)
        process.join(moments.uniform(0.0, 0.5))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            deaths += 1
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), subprocesses.output(killed)
        assert time.monotonic() - begun < 30
        if process.exitcode == 0:
            break
    if process.exitcode != 0:
        process = subprocesses.start(slow, killed, resume=True)
        process.join()
        assert process.exitcode == 0, subprocesses.output(killed)
    assert deaths >= 1
    # The two differ in `slow` alone, which their checkpoints' config says.
    subprocesses.drop_configs(calm, killed)
    subprocesses.assert_same_run(calm, killed)
    assert json.loads((killed / 'capsule.json').read_text())['status'] == 'finished'
