"""A run that is killed many times, at random moments, ends like one that was left alone.

`make soak` kills 100 times; TOOLKIT_SOAK_KILLS and TOOLKIT_SOAK_SEED choose others.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import subprocesses
from tests.toolkit.engine.test_resume import whole
from toolkit.config import load
from toolkit.engine import checkpoint

KILLS = int(os.environ.get('TOOLKIT_SOAK_KILLS', 10))
SYSTEM_KILLS = int(os.environ.get('TOOLKIT_SOAK_KILLS', 1))
SEED = int(os.environ.get('TOOLKIT_SOAK_SEED', 0))
ITERATIONS = 40  # for each kill: more than a life lasts, so that none ends the run
EPOCHS = 2  # for each kill of a system, of 8 to 13 iterations
# The two systems as shipped, with small images: losses, data, optimizer and schedules are theirs.
SYSTEMS = {
    'ldpnet/ldpnet_2022_synthetic': [
        'train_dataloader.batch_size=1',
        'train_dataloader.dataset.size=32',
        'train_dataloader.dataset.length=8',
        'test_dataloader.dataset.scene.size=256',
        'default_hooks.checkpoint.save_best=ERGAS',
        '+allow_overlap=[the bits of the best checkpoint count here and not its result]',
    ],
    'csasn/csasn_small': [
        'model.size=64',
        'model.branches.cnn.model=test_resnet',
        'model.branches.vit.model=test_vit',
        'train_dataloader.batch_size=4',
        'train_dataloader.dataset.patients=30',
        '+train_dataloader.dataset.split.empty=allow',
        'default_hooks.checkpoint.save_best=pathology.accuracy',
    ],
}


def make_config(tree: Any, slow: float) -> dict[str, Any]:
    config = whole(tree, 'iterations', workers=0, slow=slow)
    config['train_cfg'] = {'max_iters': ITERATIONS * KILLS, 'val_interval': 6}
    config['default_hooks']['checkpoint']['keep'] = 2
    del config['custom_hooks']['stop']
    return config


def make_system_config(name: str) -> dict[str, Any]:
    settings = (
        f'train_cfg.max_epochs={EPOCHS + EPOCHS * SYSTEM_KILLS}',
        'train_cfg.val_interval=2',
        'default_hooks.log.interval=1',
        'default_hooks.checkpoint.interval=3',
    )
    return {'plugins': [], **load(name, [*SYSTEMS[name], *settings]).tree}


def size_of_log(folder: Path) -> int:
    log = folder / 'metrics.jsonl'
    return log.stat().st_size if log.exists() else 0


def kill_often(config: dict[str, Any], killed: Path, kills: int, start_seconds: float) -> None:
    """Kills and resumes a run, then lets it end."""
    moments = random.Random(SEED)
    for death in range(kills):
        process = subprocesses.start(config, killed, resume=(killed / 'capsule.json').exists())
        before, deadline = size_of_log(killed), time.monotonic() + 60
        # Half of the lives end while they train or save, the first one too; half while they start.
        trains = death % 2 == 0
        while trains and size_of_log(killed) == before:
            assert process.is_alive() and time.monotonic() < deadline, subprocesses.output(killed)
            time.sleep(0.002)
        process.join(moments.uniform(0.0, 0.3 if trains else start_seconds))
        assert process.is_alive(), subprocesses.output(killed)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        for path in (killed / 'checkpoints').glob('*.pth'):
            checkpoint.load(path)  # whole, whatever was being written
    last = subprocesses.start(config, killed, resume=(killed / 'capsule.json').exists())
    last.join()
    assert last.exitcode == 0, subprocesses.output(killed)


def run_undisturbed(config: dict[str, Any], calm: Path) -> None:
    process = subprocesses.start(config, calm)
    process.join()
    assert process.exitcode == 0, subprocesses.output(calm)


@pytest.mark.slow
def test_many_kills_change_no_bit(tree: Any, tmp_path: Path) -> None:
    calm, killed = tmp_path / 'calm', tmp_path / 'killed'
    run_undisturbed(make_config(tree, 0.0), calm)
    kill_often(make_config(tree, 0.002), killed, KILLS, 1.0)
    # The two differ in `slow` alone, which their checkpoints' config says.
    subprocesses.drop_configs(calm, killed)
    subprocesses.assert_same_run(calm, killed)


@pytest.mark.slow
@pytest.mark.parametrize('name', SYSTEMS)
def test_many_kills_change_no_bit_of_a_system(name: str, tmp_path: Path) -> None:
    config = make_system_config(name)
    calm, killed = tmp_path / 'calm', tmp_path / 'killed'
    run_undisturbed(config, calm)
    kill_often(config, killed, SYSTEM_KILLS, 3.0)
    subprocesses.assert_same_run(calm, killed)
