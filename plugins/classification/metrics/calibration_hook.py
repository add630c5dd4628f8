"""Hook that fits temperature and threshold on validation data before a checkpoint is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_args

import numpy as np
import torch
from mmengine.hooks import Hook

from plugins.classification.metrics.clinical_metrics import find_clinical_metrics
from plugins.classification.metrics.functional.calibration import TEMPERATURES, fit_temperature
from plugins.classification.metrics.functional.thresholds import HALF, Rule, choose_threshold
from plugins.classification.metrics.predictions import Predictions, read_rows
from plugins.classification.system import Classifier
from toolkit.errors import ToolkitError
from toolkit.ranges import Gt, Le, PositiveInt
from toolkit.registry import HOOKS

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner

DEFAULTS = f'temperature 1 and threshold {HALF} are kept'
# A temperature at the end of the search range: the best one may lie outside of it.
LOWEST, HIGHEST = TEMPERATURES[0] * 1.001, TEMPERATURES[1] / 1.001


@HOOKS.register
class Calibrate(Hook):
    """Fits each task's temperature and chooses its threshold after each validation.

    Both use the rows of the validation alone and are stored in the system before the checkpoint is
    written, so that each checkpoint holds its own. The validation itself is always measured at
    temperature 1 and threshold 0.5, so that epochs can be compared. Each task needs a
    `ClinicalMetrics` in `val_evaluator`; a task without one, or with too little validation data,
    keeps temperature 1 and threshold 0.5, and the hook prints why.

    Args:
        threshold: rule for the threshold: 'youden' for the highest sum of sensitivity and
            specificity, 'F1' for the highest F1, 'sensitivity' for the best specificity with a
            sensitivity of `at_least`, 'specificity' for the reverse, 'half' for 0.5.
        at_least: limit of the rules 'sensitivity' and 'specificity'.
        temperature: fit the temperature; otherwise it is 1.
        min_samples: labelled images of each class that are needed.
    Raises:
        ValueError: an unknown rule, or a number out of its range.
    """

    uses_validation = True
    # After hooks that swap averaged weights in and out, before hooks that write checkpoints.
    priority = 'BELOW_NORMAL'

    def __init__(
        self,
        threshold: Rule = 'youden',
        at_least: Annotated[float, Gt(0), Le(1)] = 0.9,
        temperature: bool = True,
        min_samples: PositiveInt = 5,
    ) -> None:
        if threshold not in get_args(Rule):
            raise ValueError(
                f'threshold must be one of {", ".join(get_args(Rule))}, found {threshold!r}'
            )
        if not 0 < at_least <= 1:
            raise ValueError(f'at_least must be above 0 and at most 1, found {at_least}')
        if min_samples < 1:
            raise ValueError(f'min_samples must be at least 1, found {min_samples}')
        self.threshold: Rule = threshold
        self.at_least = at_least
        self.temperature = temperature
        self.min_samples = min_samples
        self._printed: set[tuple[str, str]] = set()

    def before_train(self, runner: Runner) -> None:
        system = _require_classifier(runner)
        if runner.val_loop is None:
            raise ToolkitError(
                'Calibrate needs validation data, and the config has none: give val_dataloader and '
                'val_evaluator, or leave the hook out'
            )
        measured = find_clinical_metrics(runner.val_loop.evaluator.metrics)
        for name in system.tasks:
            if name not in measured:
                self._print_once(
                    runner, name, f'val_evaluator has no ClinicalMetrics of it; {DEFAULTS}'
                )

    def before_val_epoch(self, runner: Runner) -> None:
        system = _require_classifier(runner)
        for name, task in system.tasks.items():
            system.calibration.store(name, 1.0, None if task.positive is None else HALF)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        calibration, result = _require_classifier(runner).calibration, runner.val_loop.result
        for name, (key, metric) in find_clinical_metrics(runner.val_loop.evaluator.metrics).items():
            fitted, warning = self.fit(read_rows(result.rows[key], metric.task).labelled())
            if fitted is not None:
                calibration.store(name, *fitted)
            if warning:
                self._print_once(runner, name, warning)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        # Averages of weights keep buffers of their own, older than this validation.
        for name, buffer in _require_classifier(runner).calibration.named_buffers():
            checkpoint['state_dict'][f'calibration.{name}'] = buffer

    def fit(self, labelled: Predictions) -> tuple[tuple[float, float | None] | None, str]:
        """Fit temperature and threshold to labelled predictions.

        Returns:
            Temperature and threshold, or None if a class has too few samples; and a warning, ''
            for none.
        """
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
        warning = ''
        if self.temperature and not LOWEST < temperature < HIGHEST:
            warning = f'the temperature is at the end of its range, {temperature:g}'
        if labelled.positive is None:
            return (temperature, None), warning
        probability = _system_probabilities(labelled.logits, temperature)[:, labelled.positive]
        try:
            cut = choose_threshold(
                probability, labels == labelled.positive, self.threshold, self.at_least
            )
        except ValueError as error:
            return (temperature, HALF), f'{error}; the threshold stays {HALF}'
        return (temperature, cut), warning

    def _print_once(self, runner: Runner, task: str, warning: str) -> None:
        """Print a warning of a task the first time that it occurs."""
        if (task, warning) not in self._printed:
            self._printed.add((task, warning))
            runner.say(f'Calibrate, task {task!r}: {warning}')


def _system_probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Compute probabilities (N, K) in the system's precision.

    A threshold between two of them then divides the system's own probabilities too.
    """
    single = torch.tensor(logits, dtype=torch.float32)
    return torch.softmax(single / torch.tensor(temperature, dtype=torch.float32), -1).numpy()


def _require_classifier(runner: Runner) -> Classifier:
    if not isinstance(runner.system, Classifier):
        raise ToolkitError(
            'Calibrate stores temperature and threshold in a Classifier; the system is a '
            f'{type(runner.system).__name__}'
        )
    return runner.system
