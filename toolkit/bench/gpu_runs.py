"""Whole runs, trained and tested in processes side by side, as rows of means over seeds."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from toolkit.bench.gpu_record import Recorder

# Seconds that are kept for the test of a run and for writing.
RESERVE = 3


class RunJob(NamedTuple):
    """A run to be trained and tested.

    Attributes:
        label: of its row; runs that differ in their seeds share one.
        config: its name.
        overrides: changes to it.
        seed: of the run.
    """

    label: str
    config: str
    overrides: Sequence[str]
    seed: int


def run_jobs(
    recorder: Recorder,
    table: str,
    jobs: Sequence[RunJob],
    parallel: int,
    columns: Mapping[str, str],
) -> None:
    """Train and test runs, and record means and standard deviations over the finished seeds.

    A run that does not end in the time of the part is ended and counts as not finished.

    Args:
        recorder: of the part.
        table: its name.
        jobs: in this order.
        parallel: runs at a time.
        columns: names of columns -> names of metrics.
    """
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    lock = threading.Lock()

    def work(job: RunJob) -> None:
        with recorder.attempt(f'{job.label}, seed {job.seed}'):
            metrics = _train_and_test(job, recorder, max(1, (os.cpu_count() or 1) // parallel))
            with lock:
                found[job.label].append(metrics)
                recorder.row(table, job.label, _row(found[job.label], columns))

    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(work, jobs))


def _row(runs: Sequence[Mapping[str, float]], columns: Mapping[str, str]) -> dict[str, object]:
    row: dict[str, object] = {'seeds': len(runs)}
    for column, metric in columns.items():
        values = [run[metric] for run in runs if metric in run]
        if values:
            spread = f' ± {statistics.stdev(values):.4f}' if len(values) > 1 else ''
            row[column] = f'{statistics.mean(values):.4f}{spread}'
    row['training, s'] = round(statistics.mean(run['seconds'] for run in runs), 1)
    return row


def _train_and_test(job: RunJob, recorder: Recorder, threads: int) -> dict[str, float]:
    environment = {**os.environ, 'OMP_NUM_THREADS': str(min(threads, 4))}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / 'run'
        started = time.perf_counter()
        overrides = [*job.overrides, f'randomness.seed={job.seed}']
        device = f'runtime.device={recorder.device.type}'
        _call(
            ['train', job.config, *overrides, device, '--work-dir', str(run)],
            recorder.left - RESERVE,
            environment,
        )
        seconds = time.perf_counter() - started
        _call(['test', '--run', str(run)], recorder.left, environment)
        found = json.loads((run / 'metrics.json').read_text(encoding='utf-8'))
    return {**found['metrics'], 'seconds': seconds}


def _call(arguments: Sequence[str], seconds: float, environment: Mapping[str, str]) -> None:
    if seconds <= 0:
        raise TimeoutError('the time was over before it began')
    process = subprocess.Popen(
        [sys.executable, '-m', 'toolkit', *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(environment),
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate()
        last = output.strip().splitlines()[-1:] or ['nothing was printed']
        raise TimeoutError(f'not finished in {seconds:.0f} s; its last line: {last[0]}') from error
    if process.returncode:
        raise RuntimeError(output.strip()[-400:])
