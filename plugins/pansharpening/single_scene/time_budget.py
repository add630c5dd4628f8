"""How long a run's iterations and validations take here: the engine trains a few, for the clock."""

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
# Of the time, what is not planned with: machines are not equally fast all the time.
RESERVE = 0.07
# Of the time, what validations may take.
VALIDATING = 0.15


class TrainingSpeed(NamedTuple):
    """Seconds that an iteration, a validation and the measurement itself took."""

    iteration: float
    validation: float
    measuring: float

    def iterations(self, minutes: float, wanted: int, validations: int) -> tuple[int, int]:
        """How many iterations and validations fit.

        Args:
            minutes: there are, from now on.
            wanted: iterations at most.
            validations: at most.
        Returns:
            At least one of each.
        """
        seconds = 60 * minutes * (1 - RESERVE)
        few = int(VALIDATING * seconds / max(self.validation, 1e-9))
        validations = min(max(few, 1), validations)
        fitting = int((seconds - validations * self.validation) / max(self.iteration, 1e-9))
        return max(min(fitting, wanted), 1), validations


def measure(run: RunConfig) -> TrainingSpeed:
    """Time a run's first iterations and one validation.

    Args:
        run: as it is to be trained; nothing of it is changed or written.
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
    """Takes the time after each iteration, and of the validation."""

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
