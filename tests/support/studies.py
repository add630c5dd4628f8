"""Studies of the engine's tiny system, and a command line whose report is not written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
TINY = ROOT / 'tests' / 'support' / 'tiny_engine.py'

BASE: dict[str, Any] = {
    'plugins': [str(TINY)],
    'model': {'type': 'TinySystem', 'width': 8, 'dropout': 0.2},
    'train_dataloader': {
        'dataset': {'type': 'TinyData', 'length': 20, 'slow': 0.0},
        'batch_size': 4,
    },
    'test_dataloader': {'dataset': {'type': 'TinyData', 'length': 7, 'augment': False}},
    'test_evaluator': {'metrics': {'mse': {'type': 'SquaredError'}, 'err': {'type': 'Errors'}}},
    'optim_wrapper': {'optimizer': {'type': 'Adam', 'lr': 0.01}},
    'train_cfg': {'max_iters': 10},
    'default_hooks': {
        'log': {'type': 'MetricsLog', 'interval': 2},
        'progress': {'type': 'Progress'},
        'checkpoint': {'type': 'Checkpoint', 'interval': 2},
    },
}
STUDY: dict[str, Any] = {
    'study': 'tiny',
    'base': 'base.yaml',
    'seeds': [0, 1],
    'variants': {'full': {}, 'wide': {'model.width': 16}},
    'metrics': ['mse'],
    'launcher': {'jobs': 2, 'threads': 1},
}


def write(folder: Path, name: str = 'study.yaml', **changes: Any) -> Path:
    """A study's file with its base beside it; None takes a key out."""
    study = {**STUDY, **changes}
    study = {key: value for key, value in study.items() if value is not None}
    (folder / 'base.yaml').write_text(yaml.safe_dump(BASE, sort_keys=False))
    (folder / name).write_text(yaml.safe_dump(study, sort_keys=False))
    return folder / name


def drop_pauses(changes: dict[str, Any]) -> dict[str, Any]:
    """Returns a study's changes without the seconds that samples take, which change no result."""
    return {**changes, 'common': {**changes['common'], 'train_dataloader.dataset.slow': 0.0}}


def command(file: Path, work_dir: Path, *options: str) -> list[str]:
    """Returns the command line of a study that ends with its runs."""
    return [sys.executable, str(Path(__file__)), str(file), str(work_dir), *options]


def environment() -> dict[str, str]:
    """Returns the environment of a child process that imports this checkout."""
    paths = [str(ROOT), os.environ.get('PYTHONPATH', '')]
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths))}


def start(file: Path, work_dir: Path, *options: str, **keywords: Any) -> subprocess.Popen[str]:
    """A study in a process of its own; its output goes to `WORK_DIR.out`."""
    with open(f'{work_dir}.out', 'a', encoding='utf-8') as output:
        return subprocess.Popen(
            command(file, work_dir, *options),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(),
            text=True,
            **keywords,
        )


def run(file: Path, work_dir: Path, *options: str, **keywords: Any) -> tuple[int, str]:
    """Runs a study to its end; returns its exit status and output."""
    process = start(file, work_dir, *options, **keywords)
    process.wait(300)
    return process.returncode, Path(f'{work_dir}.out').read_text(encoding='utf-8')


def statuses(folder: Path) -> dict[str, str]:
    """Returns the status of each planned run."""
    plan = json.loads((folder / 'plan.json').read_text(encoding='utf-8'))
    found = {}
    for planned in plan['runs']:
        path = folder / planned['folder'] / 'status.json'
        found[planned['id']] = json.loads(path.read_text(encoding='utf-8'))['status']
    return found


def results(folder: Path) -> dict[str, Any]:
    """Returns the exact metrics and the log of each planned run."""
    plan = json.loads((folder / 'plan.json').read_text(encoding='utf-8'))
    found = {}
    for planned in plan['runs']:
        path = folder / planned['folder']
        record = json.loads((path / 'metrics.json').read_text(encoding='utf-8'))
        for rows in record['rows'].values():
            for row in rows:
                row.pop('pid', None)
        lines = []
        if (path / 'metrics.jsonl').exists():
            lines = [json.loads(x) for x in (path / 'metrics.jsonl').read_text().splitlines()]
            for line in lines:
                line.pop('time', None), line.pop('data_time', None)
        found[planned['id']] = {'metrics': record['metrics'], 'rows': record['rows'], 'log': lines}
    return found


if __name__ == '__main__':
    from toolkit import cli
    from toolkit.commands import study as command

    command.write_results = lambda folder: None
    sys.exit(cli.main(['study', sys.argv[1], '--work-dir', *sys.argv[2:]]))
