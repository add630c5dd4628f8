"""Temperature and threshold, chosen on validation data before a checkpoint is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from mmengine.hooks import Hook

from plugins.classification.metrics.clinical_metrics import by_task
from plugins.classification.metrics.functional.calibration import TEMPERATURES, fit_temperature
from plugins.classification.metrics.functional.thresholds import HALF, Rule, choose_threshold
from plugins.classification.metrics.predictions import Predictions, from_rows
from plugins.classification.system import Classifier
from toolkit.errors import ToolkitError
from toolkit.registry import HOOKS

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner

DEFAULTS = f'temperature 1 and threshold {HALF} are kept'
# Beyond these, the best one may lie outside of what is considered.
LOWEST, HIGHEST = TEMPERATURES[0] * 1.001, TEMPERATURES[1] / 1.001


@HOOKS.register
class Calibrate(Hook):
    """Fits each task's temperature and chooses its threshold after each validation.

    Both come from the validation's rows alone and are stored in the system before the checkpoint is
    written, so that the best checkpoint holds its own. The validation itself is always measured at
    temperature 1 and threshold 0.5, so that epochs can be compared. Each task needs a
    `ClinicalMetrics` in `val_evaluator`; one that has none, or too little validation data, keeps
    temperature 1 and threshold 0.5, and that is said.

    Args:
        threshold: how it is chosen: 'youden' for the highest sum of sensitivity and specificity,
            'F1', 'sensitivity' or 'specificity' for the best of those that have `at_least` that
            much of it, 'half' for 0.5.
        at_least: for 'sensitivity' and 'specificity'.
        temperature: fit it; otherwise it is 1.
        min_samples: labelled images of each class that a choice needs.
    """

    # After hooks that swap averaged weights in and out, before what writes checkpoints.
    priority = 'BELOW_NORMAL'

    def __init__(
        self,
        threshold: Rule = 'youden',
        at_least: float = 0.9,
        temperature: bool = True,
        min_samples: int = 5,
    ) -> None:
        if threshold not in get_args(Rule):
            raise ValueError(
                f'threshold is one of {", ".join(get_args(Rule))}, found {threshold!r}'
            )
        if not 0 < at_least <= 1:
            raise ValueError(f'at_least must be above 0 and at most 1, found {at_least}')
        if min_samples < 1:
            raise ValueError(f'min_samples must be at least 1, found {min_samples}')
        self.threshold: Rule = threshold
        self.at_least = at_least
        self.temperature = temperature
        self.min_samples = min_samples
        self._said: set[tuple[str, str]] = set()

    def before_train(self, runner: Runner) -> None:
        system = _classifier(runner)
        if runner.val_loop is None:
            raise ToolkitError(
                'Calibrate chooses on validation data, and the config has none: give '
                'val_dataloader and val_evaluator, or leave the hook out'
            )
        measured = by_task(runner.val_loop.evaluator)
        for name in system.tasks:
            if name not in measured:
                self._say(runner, name, f'val_evaluator has no ClinicalMetrics of it; {DEFAULTS}')

    def before_val_epoch(self, runner: Runner) -> None:
        system = _classifier(runner)
        for name, task in system.tasks.items():
            system.calibration.choose(name, 1.0, None if task.positive is None else HALF)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        calibration, result = _classifier(runner).calibration, runner.val_loop.result
        for name, (key, metric) in by_task(runner.val_loop.evaluator).items():
            chosen, why = self.choice(from_rows(result.rows[key], metric.task).labelled())
            if chosen is not None:
                calibration.choose(name, *chosen)
            if why:
                self._say(runner, name, why)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        # Averages of weights keep buffers of their own, older than this validation.
        for name, buffer in _classifier(runner).calibration.named_buffers():
            checkpoint['state_dict'][f'calibration.{name}'] = buffer

    def choice(self, labelled: Predictions) -> tuple[tuple[float, float | None] | None, str]:
        """Temperature and threshold that labelled predictions say, None where they say nothing, and
        what is to be told of it."""
        task, labels = labelled.task, labelled.labels
        counts = {name: int((labels == i).sum()) for i, name in enumerate(task.classes)}
        few = {name: count for name, count in counts.items() if count < self.min_samples}
        if few:
            found = ', '.join(f'{count} of {name}' for name, count in few.items())
            return None, (
                f'found {found} in validation, {self.min_samples} of each class needed; {DEFAULTS}'
            )
        assert labelled.logits is not None
        temperature = fit_temperature(labelled.logits, labels) if self.temperature else 1.0
        why = ''
        if self.temperature and not LOWEST < temperature < HIGHEST:
            why = f'the temperature is at the end of its range, {temperature:g}'
        if labelled.positive is None:
            return (temperature, None), why
        probability = _as_the_system(labelled.logits, temperature)[:, labelled.positive]
        try:
            cut = choose_threshold(
                probability, labels == labelled.positive, self.threshold, self.at_least
            )
        except ValueError as error:
            return (temperature, HALF), f'{error}; the threshold stays {HALF}'
        return (temperature, cut), why

    def _say(self, runner: Runner, task: str, why: str) -> None:
        """Say it, once for each reason."""
        if (task, why) not in self._said:
            self._said.add((task, why))
            runner.say(f'Calibrate, task {task!r}: {why}')


def _as_the_system(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (N, K) just as the system will give them, so that a threshold between two of
    them divides them then too."""
    given = torch.tensor(logits, dtype=torch.float32)
    return torch.softmax(given / torch.tensor(temperature, dtype=torch.float32), -1).numpy()


def _classifier(runner: Runner) -> Classifier:
    if not isinstance(runner.system, Classifier):
        raise ToolkitError(
            'Calibrate stores what it chooses in a Classifier; the system is a '
            f'{type(runner.system).__name__}'
        )
    return runner.system
