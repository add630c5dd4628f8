"""Runs of the engine in child processes, to be killed, interrupted or joined."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

# Imports torch once and forks a fresh process from that for every run.
CONTEXT = multiprocessing.get_context('forkserver')
CONTEXT.set_forkserver_preload(['toolkit.run.train', 'toolkit.run.test', 'torch._dynamo'])


def start(tree: dict[str, Any], work_dir: Path, resume: bool = False) -> Any:
    """Starts training in another process; its output goes to `WORK_DIR.out`."""
    process = CONTEXT.Process(target=_train, args=(tree, str(work_dir), resume))
    process.start()
    return process


def start_joined(
    task: str, tree: dict[str, Any], work_dir: Path, world: int, **options: Any
) -> Any:
    """Starts `world` processes that are one run, as torchrun does; `task` is train or test."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(world):
        environment = {
            'RANK': str(rank),
            'LOCAL_RANK': str(rank),
            'WORLD_SIZE': str(world),
            'MASTER_ADDR': '127.0.0.1',
            'MASTER_PORT': str(port),
        }
        process = CONTEXT.Process(
            target=_joined, args=(task, tree, str(work_dir), environment, options)
        )
        process.start()
        processes.append(process)
    return processes


def _joined(
    task: str, tree: dict[str, Any], work_dir: str, environment: dict[str, str], options: Any
) -> None:
    os.environ.update(environment)
    _redirect(f'{work_dir}.out{environment["RANK"]}')
    if task == 'train':
        sys.exit(train(tree, work_dir, **options))
    sys.exit(test(tree, work_dir, options.get('checkpoint')))


def hold(work_dir: str) -> None:
    """Holds a folder as a run until killed."""
    import time

    from toolkit.run import work_dir as work_dirs

    with work_dirs.claimed(Path(work_dir)):
        (Path(work_dir) / 'held').touch()
        time.sleep(60)


def output(work_dir: Path) -> str:
    return Path(f'{work_dir}.out').read_text(encoding='utf-8')


def _train(tree: dict[str, Any], work_dir: str, resume: bool) -> None:
    _redirect(f'{work_dir}.out')
    sys.exit(train(tree, work_dir, resume))


def _redirect(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def train(
    tree: dict[str, Any],
    work_dir: str,
    resume: bool | Path = False,
    allow_changed: tuple[str, ...] = (),
) -> int:
    """Trains as the command line does and returns the exit status.

    Each process writes a hash of its weights and its threads beside the folder.
    """
    from toolkit.engine.runner import Runner
    from toolkit.run.capsule import CapsuleInput
    from toolkit.run.train import train

    hashes = []
    release = Runner.train

    def recording(self: Any, *arguments: Any) -> Any:
        result = release(self, *arguments)
        hashes.append(fingerprint(self.system.state_dict()))
        return result

    Runner.train = recording  # type: ignore[method-assign]

    def task(run: Any) -> int:
        given = CapsuleInput(tree, json.dumps(tree))
        result = train(
            run, work_dir, resume=resume, capsule_input=given, allow_changed=allow_changed
        )
        rank = os.environ.get('RANK', '0')
        Path(f'{work_dir}.hash{rank}').write_text(hashes[0], encoding='utf-8')
        Path(f'{work_dir}.threads{rank}').write_text('\n'.join(list_threads()), encoding='utf-8')
        return result.exit_status

    return _run(tree, task)


def test(tree: dict[str, Any], work_dir: str, checkpoint: str | None) -> int:
    """Test as the command line does; returns the exit status."""
    from toolkit.run import test as run_test

    return _run(tree, lambda run: run_test.test(run, work_dir, checkpoint) and 0)


def _run(tree: dict[str, Any], task: Callable[[Any], int]) -> int:
    from toolkit.config.schema import RunConfig
    from toolkit.errors import ToolkitError
    from toolkit.registry import build, plugin_index

    torch.set_num_threads(1)
    for plugin in tree['plugins']:
        plugin_index.add(plugin)
    try:
        return task(build.fill(RunConfig, tree))
    except ToolkitError as error:
        print(f'error: {error}')
        return error.exit_status
    except Exception:
        traceback.print_exc()
        return 99


def list_threads() -> list[str]:
    """Lists the names of this process's threads, those of libraries included."""
    tasks = Path('/proc/self/task')
    return [(task / 'comm').read_text().strip() for task in tasks.iterdir()]


def fingerprint(state: dict[str, torch.Tensor]) -> str:
    """Returns a hash of weights, for comparing processes."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def lines(work_dir: Path) -> list[dict[str, Any]]:
    """Returns the lines of metrics.jsonl without times."""
    text = (work_dir / 'metrics.jsonl').read_text(encoding='utf-8')
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        line.pop('time', None), line.pop('data_time', None)
    return found


def first_difference(a: Any, b: Any, path: str = '') -> str | None:
    """Returns the path of the first difference in bits of two nested values, None if equal."""
    if isinstance(a, torch.Tensor):
        same = isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
        return None if same else path
    if isinstance(a, dict):
        if not isinstance(b, dict) or a.keys() != b.keys():
            return path
        return next((d for k in a if (d := first_difference(a[k], b[k], f'{path}.{k}'))), None)
    if isinstance(a, (list, tuple)):
        if not isinstance(b, (list, tuple)) or len(a) != len(b):
            return path
        pairs = enumerate(zip(a, b, strict=True))
        return next(
            (d for i, (x, y) in pairs if (d := first_difference(x, y, f'{path}[{i}]'))), None
        )
    is_nan = a != a and b != b  # a metric of a class without samples
    return None if a == b or is_nan else path


def assert_same_run(a: Path, b: Path) -> None:
    """Asserts that two runs wrote the same checkpoints and metrics."""
    for name in ('last.pth', 'best.pth'):
        contents = [torch.load(d / 'checkpoints' / name, weights_only=True) for d in (a, b)]
        assert first_difference(*contents) is None, name
    assert lines(a) == lines(b)


def drop_configs(*folders: Path) -> None:
    """Takes the config out of the checkpoints of runs that differ in their speed alone."""
    for folder in folders:
        for name in ('last.pth', 'best.pth'):
            path = folder / 'checkpoints' / name
            content = torch.load(path, weights_only=True)
            content['meta'].pop('config')
            torch.save(content, path)


if __name__ == '__main__':
    sys.exit(train(json.loads(sys.argv[1]), sys.argv[2], '--resume' in sys.argv))
