"""Hook that writes losses and metrics to metrics.jsonl, and hands them to the trackers."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mmengine.hooks import Hook

from toolkit.engine.process import distributed
from toolkit.errors import RunError
from toolkit.io import atomic_write
from toolkit.io.json_values import replace_nonfinite
from toolkit.io.read_metrics_log import read_metrics_log
from toolkit.io.run_layout import METRICS_LOG
from toolkit.ranges import PositiveInt
from toolkit.registry import HOOKS

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner


@HOOKS.register
class MetricsLog(Hook):
    """Writes `metrics.jsonl`.

    A training line has `iter`, `epoch` (passes over the data, 1.5 in the middle of the second),
    `lr`, the mean of `loss` and of each of its terms since the line before, `grad_norm` if
    gradients are clipped by norm, `time` (seconds an iteration) and `data_time` (of these, waiting
    for data). A validation line has `iter`, `epoch` and `val` with the metrics. A number that is
    not finite is null. Losses are means over all processes.

    Args:
        interval: iterations between two training lines.
    """

    priority = 'BELOW_NORMAL'

    def __init__(self, interval: PositiveInt = 10) -> None:
        if interval < 1:
            raise ValueError(f'interval must be at least 1, found {interval}')
        self.interval = interval
        self._file: IO[str] | None = None
        self._since = (0, 0.0)
        self._waited = 0.0
        self._paused = 0.0
        self._logged: int | None = None  # iteration of the last training line of earlier processes

    def before_train(self, runner: Runner) -> None:
        self._since = (runner.iter, time.perf_counter())
        self._waited = runner.train_loop.waited
        folder = Path(runner.work_dir)
        # All processes know it: they write a line together.
        self._logged = distributed.run_on_main(lambda: truncate_log(folder, runner.iter))
        if not distributed.is_main():
            return
        try:
            self._file = open(folder / METRICS_LOG, 'a', encoding='utf-8')  # noqa: SIM115 (see close)
        except OSError as error:
            raise RunError(f'cannot write {folder / METRICS_LOG}: {error.strerror}') from error

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        if (runner.iter + 1) % self.interval == 0:
            self._write_training(runner, runner.iter + 1)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self._file is None:
            return
        self._write(
            runner, {**_locate(runner, runner.iter), 'val': replace_nonfinite(metrics or {})}
        )
        runner.trackers.log('val', metrics or {}, runner.iter)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        self._sync()

    def _sync(self) -> None:
        """Puts the lines on the disk before a checkpoint that stands for them, for a power cut."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # such as a pipe
                os.fsync(self._file.fileno())

    def before_val(self, runner: Runner) -> None:
        self._paused = time.perf_counter()

    def after_val(self, runner: Runner) -> None:
        # The time of an iteration does not include the validation.
        start, clock = self._since
        self._since = (start, clock + time.perf_counter() - self._paused)

    def after_train(self, runner: Runner) -> None:
        # An interrupted run goes on with the window that it saved.
        unlogged = runner.iter % self.interval and runner.iter != self._logged
        if runner.train_loop.finished and unlogged:
            self._write_training(runner, runner.iter)
        self.close()

    def close(self) -> None:
        """Closes the open files, however the run ended."""
        if self._file is not None:
            self._sync()
            file, self._file = self._file, None
            with contextlib.suppress(OSError):  # a line whose failure has been told is tried again
                file.close()

    def _write_training(self, runner: Runner, iteration: int) -> None:
        means = distributed.average_scalars(runner.losses.take())
        start, clock = self._since
        now = time.perf_counter()
        self._since = (iteration, now)
        waited = runner.train_loop.waited - self._waited
        self._waited += waited
        if self._file is None or not means:
            return
        line = {
            **_locate(runner, iteration),
            'lr': runner.optim_wrapper.learning_rate,
            **replace_nonfinite(means),
            'time': (now - clock) / max(1, iteration - start),
            'data_time': waited / max(1, iteration - start),
        }
        self._write(runner, line)
        runner.trackers.log('train', {'lr': line['lr'], **means}, iteration)

    def _write(self, runner: Runner, line: dict[str, Any]) -> None:
        assert self._file is not None
        try:
            self._file.write(json.dumps(line) + '\n')
            self._file.flush()
        except OSError as error:
            raise RunError(
                f'cannot write {Path(runner.work_dir) / METRICS_LOG}: {error.strerror}'
            ) from error


def truncate_log(folder: Path, iteration: int) -> int | None:
    """Drops the lines after an iteration and an incomplete last line.

    A resumed run writes the lines after its checkpoint again.

    Returns:
        The iteration of the last training line that is kept; None if there is none.
    """
    if not (folder / METRICS_LOG).exists():
        return None
    kept = [line for line in read_metrics_log(folder) if line['iter'] <= iteration]
    text = ''.join(json.dumps(line) + '\n' for line in kept)
    atomic_write.write(folder / METRICS_LOG, text)
    return max((line['iter'] for line in kept if 'val' not in line), default=None)


def _locate(runner: Runner, iteration: int) -> dict[str, Any]:
    return {'iter': iteration, 'epoch': round(iteration / runner.train_loop.epoch_length, 4)}
