"""Hook that prints a header, a progress bar (lines without a terminal) and the result."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from toolkit.engine.evaluator import list_main_metrics
from toolkit.engine.process import distributed
from toolkit.io.run_layout import METRICS_LOG
from toolkit.io.tables.formatting import format_duration
from toolkit.io.tables.shown_console import ShownConsole
from toolkit.ranges import NonNegativeFloat
from toolkit.registry import HOOKS

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner

# Redraws are limited, since reading the loss makes the CPU wait for the GPU.
REDRAW_SECONDS = 0.25
MAX_VALUES = 8  # of a validation, in one line


@HOOKS.register
class Progress(Hook):
    """Shows the progress of a run: iteration, time left, loss, and the metrics of each validation.

    Args:
        every: seconds between two lines if the output is not a terminal.
    """

    priority = 'LOW'

    def __init__(self, every: NonNegativeFloat = 10.0) -> None:
        if every < 0:
            raise ValueError(f'every must be 0 seconds or more, found {every}')
        self.every = every
        self._bar: Bar | None = None
        self._task = TaskID(0)
        self._shown = 0.0
        self._begin = (0, 0.0)
        self._evaluation: TaskID | None = None

    # -- training --------------------------------------------------------------------------------

    def before_train(self, runner: Runner) -> None:
        self._open()
        runner.say(_format_header(runner))
        self._begin = (runner.iter, time.perf_counter())
        self._shown = time.perf_counter()
        if self._bar is not None:
            self._task = self._bar.add_task(
                'train', total=runner.max_iters, completed=runner.iter, note=''
            )

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        now = time.perf_counter()
        if now - self._shown < (self.every if self._bar is None else REDRAW_SECONDS):
            return
        if not distributed.is_main():
            self._shown = now
            return
        self._shown = now
        self._show(runner, runner.iter + 1)

    def _show(self, runner: Runner, iteration: int) -> None:
        loss = runner.losses.get_latest().get('loss')
        text = '' if loss is None else f'loss {loss:.4g}'
        if self._bar is not None:
            self._bar.update(self._task, completed=iteration, note=text)
            return
        start, clock = self._begin
        pace = (time.perf_counter() - clock) / max(1, iteration - start)
        left = format_duration(pace * (runner.max_iters - iteration))
        runner.say(f'{iteration:,}/{runner.max_iters:,}  {text}  {left} left')

    def after_train(self, runner: Runner) -> None:
        if self._bar is not None and runner.iter > self._begin[0]:
            self._show(runner, runner.iter)
        self.close()
        if runner.iter == self._begin[0]:
            runner.say(f'nothing left to do: the run ended at iteration {runner.iter:,}')
        elif runner.signal == 0:
            seconds = time.perf_counter() - self._begin[1]
            waiting = f'{runner.train_loop.waited / seconds:.0%} of them waiting for data'
            loss = distributed.average_scalars(runner.losses.get_latest()).get('loss')
            ending = '' if loss is None else f', loss {loss:.4g}'
            runner.say(
                f'trained {runner.iter:,} iterations in {format_duration(seconds)}, '
                f'{waiting}{ending}'
            )

    # -- validation and test ---------------------------------------------------------------------

    def before_val(self, runner: Runner) -> None:
        self._begin_evaluation('val', len(runner.val_dataloader))

    def after_val_iter(self, runner: Runner, *arguments: Any, **keywords: Any) -> None:
        self._advance()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._end_evaluation()
        main = list_main_metrics(runner.val_loop.evaluator.metrics)
        text = _format_values(metrics or {}, main)
        runner.say(f'{runner.iter:,}/{runner.max_iters:,}  validation: {text}')
        self._shown = time.perf_counter()

    def before_test(self, runner: Runner) -> None:
        self._open()
        self._begin_evaluation('test', len(runner.test_dataloader))

    def after_test_iter(self, runner: Runner, *arguments: Any, **keywords: Any) -> None:
        self._advance()

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._end_evaluation()
        self.close()

    def _begin_evaluation(self, name: str, batches: int) -> None:
        if self._bar is not None:
            self._evaluation = self._bar.add_task(name, total=batches, note='')

    def _advance(self) -> None:
        if self._bar is not None and self._evaluation is not None:
            self._bar.advance(self._evaluation)

    def _end_evaluation(self) -> None:
        if self._bar is not None and self._evaluation is not None:
            self._bar.remove_task(self._evaluation)
        self._evaluation = None

    # -- the bar ---------------------------------------------------------------------------------

    def _open(self) -> None:
        if self._bar is None and distributed.is_main() and _is_terminal():
            self._bar = Bar(
                TextColumn('{task.description}'),
                BarColumn(),
                TextColumn('{task.completed:,.0f}/{task.total:,.0f}'),
                TimeRemainingColumn(),
                TextColumn('{task.fields[note]}'),
                console=ShownConsole(),
            )
            self._bar.start()

    def close(self) -> None:
        """Removes the bar from the terminal."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _format_header(runner: Runner) -> str:
    parameters = sum(p.numel() for p in runner.system.parameters())
    loop = runner.train_loop
    length = f'{loop.max_iters:,} iterations'
    if loop.iter:
        length = f'iterations {loop.iter + 1:,} to {loop.max_iters:,}'
    if runner.run_config.train_cfg.max_minutes is not None:
        length += f' or {format_duration(60 * runner.run_config.train_cfg.max_minutes)}'
    return ' · '.join(
        [
            type(runner.system).__name__,
            f'{parameters:,} parameters',
            str(runner.device) + (f' x {runner.world_size}' if runner.world_size > 1 else ''),
            runner.runtime.precision,
            length,
        ]
    )


def _format_values(metrics: dict[str, float], main: Sequence[str]) -> str:
    """Formats the main values in one line, with the number of the others."""
    shown = [name for name in main if name in metrics][:MAX_VALUES]
    texts = [f'{name} {metrics[name]:.4f}' for name in shown]
    if len(metrics) > len(shown):
        texts.append(f'({len(metrics) - len(shown)} more in {METRICS_LOG})')
    return '  '.join(texts)
