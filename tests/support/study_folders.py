"""Study folders written by hand, as a study would leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CAPSULE = {
    'toolkit': '0.1.0',
    'kind': 'train',
    'status': 'finished',
    'started': '2026-01-02T03:04:05+00:00',
    'ended': '2026-01-02T03:05:05+00:00',
    'command': ['toolkit', 'train', 'x'],
    'seed': 0,
    'processes': 1,
    'device': 'cpu',
    'threads': 2,
    'git': {'commit': '0123456789abcdef0123456789abcdef01234567', 'dirty': False},
    'sources': {},
    'data': {'train': 'aaaa', 'val': 'bbbb'},
    'python': '3.11.7',
    'packages': {'torch': '2.6.0', 'numpy': '2.0.0'},
    'hardware': {'system': 'Linux', 'cpu': 'A CPU', 'cores': 2, 'gpus': []},
    'config': None,
    'plugins': [],
    'resumed': [],
}

# Of all runs, planned and run.
FINGERPRINT = {'config': 'config', 'code': 'code', 'data': 'data', 'train': 'train'}


def planned(variant: str, seed: int = 0, **more: Any) -> dict[str, Any]:
    """A run of the plan."""
    id_ = more.pop('id', f'{variant}-s{seed}')
    return {
        'id': id_,
        'variant': variant,
        'settings': {},
        'data': None,
        'seed': seed,
        'fold': None,
        'folder': f'runs/{id_}',
        'fingerprint': FINGERPRINT,
        'changes': [],
        'parameters': 1000,
        'macs': 2_000_000,
        **more,
    }


def write_plan(folder: Path, runs: list[dict[str, Any]], **more: Any) -> Path:
    """The plan and the study file."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = {'study': 'tiny', 'compare_to': 'full', 'metrics': {'score': True}, 'runs': runs}
    write(folder / 'plan.json', {**plan, **more})
    (folder / 'study.yaml').write_text('study: tiny\ncompare_to: full\n')
    return folder


def finish(
    run: Path,
    metrics: dict[str, float | None],
    rows: dict[str, list[dict]] | None = None,
    **status: Any,
) -> None:
    """Writes the files of a finished run: status, metrics, capsule, config and curves."""
    write(
        run / 'status.json',
        {
            'status': 'finished',
            'attempts': 1,
            'seconds': 10.0,
            'memory': 500_000_000,
            'started': None,
            'ended': None,
            'message': '',
            'fingerprint': FINGERPRINT,
            **status,
        },
    )
    directions = {name: not name.startswith('error') for name in metrics}
    write(
        run / 'metrics.json',
        {'metrics': metrics, 'directions': directions, 'rows': rows or {}, 'checkpoint': None},
    )
    write_run(run)


def write_run(run: Path, config: str = 'model: {type: X}\n', level: float = 1.0) -> None:
    """Capsule, config and curves of a run."""
    write(run / 'capsule.json', CAPSULE)
    (run / 'config.yaml').write_text(config)
    lines = [
        {'iter': i, 'epoch': i / 10, 'lr': 0.1, 'loss': level / i, 'time': 0.01}
        for i in range(1, 41)
    ]
    lines.append({'iter': 40, 'epoch': 4.0, 'val': {'score': 0.5}})
    (run / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))


def begin(run: Path, attempts: int = 1) -> None:
    """A run that is running."""
    status = {'status': 'running', 'attempts': attempts, 'fingerprint': FINGERPRINT}
    write(run / 'status.json', status)


def fail(run: Path, message: str, attempts: int = 2) -> None:
    """A run that died."""
    status = {'status': 'failed', 'attempts': attempts, 'seconds': 1.0, 'message': message}
    status['fingerprint'] = FINGERPRINT
    write(run / 'status.json', status)


def study_of(folder: Path, scores: dict[str, list[float | None]], **plan: Any) -> Path:
    """A study with a value of `score` for each variant and seed; None is a run that failed."""
    runs = [planned(variant, seed) for variant, s in scores.items() for seed in range(len(s))]
    write_plan(folder, runs, **plan)
    for variant, values in scores.items():
        for seed, value in enumerate(values):
            run = folder / 'runs' / f'{variant}-s{seed}'
            if value is None:
                fail(run, 'loss is not finite')
            else:
                finish(run, {'score': value})
    return folder


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
