"""Times of a config's training steps, as the engine runs them."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from mmengine.hooks import Hook

from toolkit.config import load
from toolkit.config.checks.check import fill_checked
from toolkit.config.schema import RunConfig
from toolkit.engine.hooks import MetricsLog
from toolkit.run.train import train


class TrainingTime(NamedTuple):
    """Seconds of a training.

    Attributes:
        step: of a step, once warm.
        loop: from the first step to the end of the last.
        whole: with building, preparing and saving.
    """

    step: float
    loop: float
    whole: float


def time_training(
    name: str, overrides: Sequence[str], iterations: int, warm_up: int
) -> TrainingTime:
    """Train a config for some iterations, without validation, and time it.

    Args:
        name: of the config.
        overrides: changes to it, as on the command line.
        iterations: in all, more than `warm_up`.
        warm_up: iterations before steps are timed.
    """
    run = without_validation(
        fill_checked(load(name, [*overrides, f'+train_cfg.max_iters={iterations}']))
    )
    clock = StepClock(warm_up)
    hooks = {'log': MetricsLog, 'clock': lambda: clock}
    run = replace(run, default_hooks=hooks, custom_hooks={}, trackers={})
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        result = train(run, folder)
    if result.exit_status:
        raise InterruptedError(f'stopped at iteration {result.iterations} of {iterations}')
    step = (clock.ended - clock.warm) / (iterations - warm_up)
    return TrainingTime(step, clock.ended - clock.began, time.perf_counter() - started)


def without_validation(run: RunConfig) -> RunConfig:
    """The run without its validation."""
    return replace(run, val_dataloader=None, val_evaluator=None)


class StepClock(Hook):
    """Notes when steps begin and end, once the device has computed them."""

    priority = 'VERY_LOW'

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up
        self.began = self.warm = self.ended = 0.0

    def before_train(self, runner: Any) -> None:
        self.began = _now(runner.device)

    def after_train_iter(self, runner: Any, **keywords: Any) -> None:
        if runner.iter + 1 == self.warm_up:
            self.warm = _now(runner.device)
        elif runner.iter + 1 == runner.max_iters:
            self.ended = _now(runner.device)


def _now(device: torch.device) -> float:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter()
