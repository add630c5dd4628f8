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
from toolkit.engine import checkpoint

KILLS = int(os.environ.get('TOOLKIT_SOAK_KILLS', 10))
SEED = int(os.environ.get('TOOLKIT_SOAK_SEED', 0))
ITERATIONS = 40  # for each kill: more than a life lasts, so that none ends the run


def make_config(tree: Any, slow: float) -> dict[str, Any]:
    config = whole(tree, 'iterations', workers=0, slow=slow)
    config['train_cfg'] = {'max_iters': ITERATIONS * KILLS, 'val_interval': 6}
    config['default_hooks']['checkpoint']['keep'] = 2
    del config['custom_hooks']['stop']
    return config


def size_of_log(folder: Path) -> int:
    log = folder / 'metrics.jsonl'
    return log.stat().st_size if log.exists() else 0


@pytest.mark.slow
def test_many_kills_change_no_bit(tree: Any, tmp_path: Path) -> None:
    calm, killed = tmp_path / 'calm', tmp_path / 'killed'
    undisturbed = subprocesses.start(make_config(tree, 0.0), calm)
    undisturbed.join()
    assert undisturbed.exitcode == 0, subprocesses.output(calm)

    moments = random.Random(SEED)
    config = make_config(tree, 0.002)
    for death in range(KILLS):
        process = subprocesses.start(config, killed, resume=(killed / 'capsule.json').exists())
        before, deadline = size_of_log(killed), time.monotonic() + 60
        # Half of the lives end while they start or load, half while they train or save.
        while death % 2 and size_of_log(killed) == before:
            assert process.is_alive() and time.monotonic() < deadline, subprocesses.output(killed)
            time.sleep(0.002)
        process.join(moments.uniform(0.0, 0.3 if death % 2 else 1.0))
        assert process.is_alive(), subprocesses.output(killed)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        for path in (killed / 'checkpoints').glob('*.pth'):
            checkpoint.load(path)  # whole, whatever was being written
    last = subprocesses.start(config, killed, resume=(killed / 'capsule.json').exists())
    last.join()
    assert last.exitcode == 0, subprocesses.output(killed)
    # The two differ in `slow` alone, which their checkpoints' config says.
    subprocesses.drop_configs(calm, killed)
    subprocesses.assert_same_run(calm, killed)
