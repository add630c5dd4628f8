"""A disk that fails at any one write of a run costs at most what came after the last checkpoint.

The slow test fails every twentieth operation; `make failing-disk` fails each.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support import subprocesses
from tests.support.failing_disk import FailingDisk, check_files
from toolkit.config.schema import RunConfig
from toolkit.engine import checkpoint
from toolkit.errors import RunError, ToolkitError
from toolkit.registry import build
from toolkit.run import work_dir as work_dirs
from toolkit.run.capsule import CapsuleInput
from toolkit.run.train import train

INTERVAL = 3
FAULTS = {
    'an error once': {'error': errno.EIO},
    'a short write': {'error': errno.ENOSPC, 'short': True},
    'full from then on': {'error': errno.ENOSPC, 'lasting': True},
}
STEP = int(os.environ.get('TOOLKIT_DISK_STEP', 20))


@pytest.fixture
def run_tree(tree: Any) -> dict[str, Any]:
    return tree(
        train_cfg={'max_iters': 7, 'val_interval': 3},
        train_dataloader__dataset__length=8,
        optim_wrapper__accumulative_counts=2,
        default_hooks={
            'checkpoint': {
                'type': 'Checkpoint',
                'interval': INTERVAL,
                'keep': 1,
                'save_best': 'mse',
            },
            'logger': {'type': 'MetricsLog', 'interval': 2},
        },
    )


def start(folder: Path, tree: dict[str, Any], resume: bool = False) -> Any:
    given = CapsuleInput(tree, json.dumps(tree))
    return train(build.fill(RunConfig, tree), folder, resume=resume, capsule_input=given)


def count_saved(operations: list[str]) -> int:
    return operations.count('replace .last.pth.tmp')


def sweep_training(tree: dict[str, Any], tmp_path: Path, fault: str, part: slice) -> None:
    calm, hurt = tmp_path / 'calm', tmp_path / 'hurt'
    with FailingDisk(calm).mounted() as disk:
        start(calm, tree)
    operations = disk.operations
    assert count_saved(operations) == 3 and len(operations) > 60, operations
    for number in list(range(1, len(operations) + 1))[part]:
        case = f'{fault} at {number}, {operations[number - 1]}'
        with FailingDisk(hurt, number, **FAULTS[fault]).mounted() as disk:  # type: ignore[arg-type]
            try:
                start(hurt, tree)
                failed = False
            except ToolkitError as error:
                failed = True
                assert isinstance(error, RunError), case
                assert str(error).count('\n') == 0 and str(hurt) in str(error), (case, error)
            except OSError as error:
                raise AssertionError(case) from error
        if hurt.exists():
            check_files(hurt)
        saved = count_saved(operations[: number - 1])
        if saved:
            last = checkpoint.load(hurt / 'checkpoints' / 'last.pth')
            assert last['meta']['iter'] >= min(INTERVAL * saved, 7), case
        if failed:
            start(hurt, tree, resume=work_dirs.holds_run(hurt))
        subprocesses.assert_same_run(calm, hurt)
        check_files(hurt)
        shutil.rmtree(hurt)


def test_a_disk_that_fills_up_during_a_training(run_tree: Any, tmp_path: Path) -> None:
    sweep_training(run_tree, tmp_path, 'full from then on', slice(50, None, 40))


def test_a_disk_that_cannot_be_written(run_tree: Any, tmp_path: Path) -> None:
    with (
        FailingDisk(tmp_path, 1, errno.EROFS, lasting=True).mounted(),
        pytest.raises(RunError, match='cannot write to the work folder .*run: Read-only file sys'),
    ):
        start(tmp_path / 'run', run_tree)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize('fault', FAULTS)
def test_operations_of_a_training_fail_once(run_tree: Any, tmp_path: Path, fault: str) -> None:
    sweep_training(run_tree, tmp_path, fault, slice(list(FAULTS).index(fault) % STEP, None, STEP))
