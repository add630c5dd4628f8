"""A long run holds no more at its end than after its first iterations, and is as fast.

`make long-run` trains 100,000 iterations; TOOLKIT_LONG_RUN chooses another length.
"""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.support import subprocesses

ITERATIONS = int(os.environ.get('TOOLKIT_LONG_RUN', 1500))
WINDOW = min(1000, ITERATIONS // 10)


@pytest.mark.slow
def test_memory_handles_files_and_cost_stay_flat(tree: Any, tmp_path: Path) -> None:
    watched = tmp_path / 'watched'
    config = tree(
        train_cfg={'max_iters': ITERATIONS, 'val_interval': WINDOW},
        param_scheduler={'cosine': {'type': 'CosineAnnealingLR', 'by_epoch': False}},
        optim_wrapper__clip_grad={'max_norm': 1.0},
        default_hooks={
            'logger': {'type': 'MetricsLog', 'interval': 10},
            'progress': {'type': 'Progress'},
            'checkpoint': {
                'type': 'Checkpoint',
                'interval': WINDOW,
                'keep': 2,
                'save_best': 'mse',
            },
        },
        custom_hooks={
            'ema': {'type': 'EMA', 'decay': 0.9},
            'watch': {'type': 'Watch', 'file': str(watched), 'interval': WINDOW},
        },
    )
    process = subprocesses.start(config, tmp_path / 'run')
    process.join()
    assert process.exitcode == 0, subprocesses.output(tmp_path / 'run')
    lines = [json.loads(line) for line in watched.read_text().splitlines()]
    assert [line['iter'] for line in lines] == list(range(WINDOW, ITERATIONS + 1, WINDOW))
    first, last = lines[1], lines[-1]
    costs = [
        1000 * (b['seconds'] - a['seconds']) / WINDOW
        for a, b in zip(lines, lines[1:], strict=False)
    ]
    third = max(1, len(costs) // 3)
    early, late = statistics.median(costs[:third]), statistics.median(costs[-third:])
    print(
        f'{ITERATIONS:,} iterations: memory {first["memory"] / 1e6:.1f} to '
        f'{last["memory"] / 1e6:.1f} MB, handles {first["handles"]} to {last["handles"]}, threads '
        f'{first["threads"]} to {last["threads"]}, files {len(first["files"])} to '
        f'{len(last["files"])}, CPU {early:.3f} to {late:.3f} ms an iteration, log '
        f'{(tmp_path / "run" / "metrics.jsonl").stat().st_size / 1e6:.2f} MB'
    )
    assert last['memory'] <= 1.05 * lines[0]['memory']
    assert last['handles'] == first['handles'] and last['threads'] == first['threads']
    assert len(last['files']) <= len(lines[2]['files'])
    assert late <= 1.25 * early
