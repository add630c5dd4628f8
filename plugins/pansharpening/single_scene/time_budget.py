"""Measures training speed and plans how many iterations fit a time budget."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.hooks import Hook

from toolkit.config.schema import RunConfig, TrainCfg
from toolkit.run.train import train

# The first iterations lay out memory and choose algorithms.
WARM, TIMED = 2, 4
# Share of the time that is kept in reserve, since the speed of a machine varies.
RESERVE = 0.07
# Largest share of the time for validations.
VALIDATING = 0.15


class TrainingSpeed(NamedTuple):
    """Seconds of an iteration, of a validation and of the measurement itself."""

    iteration: float
    validation: float
    measuring: float

    def iterations(self, minutes: float, wanted: int, validations: int) -> tuple[int, int]:
        """Computes how many iterations and validations fit into a time budget.

        Args:
            minutes: time budget.
            wanted: largest number of iterations.
            validations: largest number of validations.
        Returns:
            At least one of each.
        """
        seconds = 60 * minutes * (1 - RESERVE)
        few = int(VALIDATING * seconds / max(self.validation, 1e-9))
        validations = min(max(few, 1), validations)
        fitting = int((seconds - validations * self.validation) / max(self.iteration, 1e-9))
        return max(min(fitting, wanted), 1), validations


def measure(run: RunConfig) -> TrainingSpeed:
    """Measures the first iterations of a run and one validation.

    Args:
        run: run to measure; nothing of it is changed or written.
    Raises:
        ToolkitError: the run cannot be trained.
    """
    clock = _Clock()
    short = dataclasses.replace(
        run,
        train_cfg=TrainCfg(max_iters=WARM + TIMED),
        param_scheduler={},
        default_hooks={'clock': lambda: clock},
        custom_hooks={},
    )
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        result = train(short, Path(folder) / 'pace')
    if result.exit_status:
        raise KeyboardInterrupt
    times = clock.times
    # An interruption may leave fewer.
    each = [after - before for before, after in zip(times[WARM - 1 :], times[WARM:])]
    return TrainingSpeed(
        statistics.median(each) if each else math.inf,
        clock.validation,
        time.perf_counter() - started,
    )


class _Clock(Hook):
    """Hook that records the time of each iteration and of the validation."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.validation = 0.0

    def after_train_iter(self, runner: Any, batch_idx: int, **rest: Any) -> None:
        runner.losses.get_latest()  # waits for the GPU
        self.times.append(time.perf_counter())

    def before_val(self, runner: Any) -> None:
        self.validation = time.perf_counter()

    def after_val(self, runner: Any) -> None:
        self.validation = time.perf_counter() - self.validation
