"""Hook that fits temperature and decision rule on validation before a checkpoint is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, get_args

import numpy as np
import torch
from mmengine.hooks import Hook

from plugins.classification.calibration import Choice
from plugins.classification.metrics.clinical_metrics import (
    build_clinical_metrics,
    find_aggregations,
    find_clinical_metrics,
)
from plugins.classification.metrics.functional.decisions import choose_weights, fit_log_prior
from plugins.classification.metrics.functional.patients import Aggregation
from plugins.classification.metrics.functional.temperature_scaling import (
    TEMPERATURES,
    fit_temperature,
)
from plugins.classification.metrics.functional.thresholds import HALF, Rule, choose_threshold
from plugins.classification.metrics.predictions import Predictions, read_rows
from plugins.classification.metrics.set_limits import fit_set_limits
from plugins.classification.system import Classifier
from plugins.classification.tasks import Task
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.interfaces import Metric, System
from toolkit.ranges import Gt, Le, PositiveInt
from toolkit.registry import HOOKS

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner

DEFAULTS = f'temperature 1 and threshold {HALF} are kept'
# A temperature at the end of the search range: the best one may lie outside of it.
LOWEST, HIGHEST = TEMPERATURES[0] * 1.001, TEMPERATURES[1] / 1.001


@HOOKS.register
class Calibrate(Hook):
    """Fits the calibration of each task after each validation: temperature and decision rule.

    It uses the rows of the validation alone and is stored in the system before the checkpoint is
    written, so that each checkpoint holds its own. The validation itself is always measured without
    it, so that epochs can be compared. Each task needs a `ClinicalMetrics` in `val_evaluator`. What
    the validation data are too few for keeps its default, and the hook prints why: temperature 1,
    threshold 0.5, equal weights.

    A task with `coverage` gets the limits of its prediction sets, see
    `plugins.classification.metrics.functional.conformal`.

    The threshold of patients is chosen on patients, whose images are joined as in the test.

    Args:
        threshold: rule for the threshold: 'youden' for the highest sum of sensitivity and
            specificity, 'F1' for the highest F1, 'sensitivity' for the best specificity with a
            sensitivity of `at_least`, 'specificity' for the reverse, 'half' for 0.5.
        at_least: limit of the rules 'sensitivity' and 'specificity'.
        temperature: fit the temperature; otherwise it is 1.
        min_samples: labelled images of each class that a threshold or a floor needs, patients for
            the threshold of patients; the temperature, one number for all classes, needs twice as
            many images together, of two classes or more.
        priors: tasks whose class frequencies, which a weighted loss or a balanced sampler has
            changed, are set to those of the validation data, see `fit_log_prior`.
        floors: by task without a positive class, the least sensitivity by class; the decision
            weights of these classes are raised as little as validation data need.
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
        priors: list[str] | None = None,
        floors: dict[str, dict[str, Annotated[float, Gt(0), Le(1)]]] | None = None,
    ) -> None:
        if threshold not in get_args(Rule):
            raise ValueError(
                f'threshold must be one of {", ".join(get_args(Rule))}, found {threshold!r}'
            )
        if not 0 < at_least <= 1:
            raise ValueError(f'at_least must be above 0 and at most 1, found {at_least}')
        if min_samples < 1:
            raise ValueError(f'min_samples must be at least 1, found {min_samples}')
        for task, named in (floors or {}).items():
            for name, least in named.items():
                if not 0 < least <= 1:
                    raise ValueError(
                        f'floors.{task}.{name} must be above 0 and at most 1, found {least}'
                    )
        self.threshold: Rule = threshold
        self.at_least = at_least
        self.temperature = temperature
        self.min_samples = min_samples
        self.priors = tuple(priors or ())
        self.floors = dict(floors or {})
        self._printed: set[tuple[str, str]] = set()

    def check_run(self, system: System, metrics: Mapping[str, Mapping[str, Metric]]) -> None:
        if not isinstance(system, Classifier):
            raise ToolkitError(
                'Calibrate stores temperature and threshold in a Classifier; the system is a '
                f'{type(system).__name__}'
            )
        if 'val' not in metrics:
            raise ToolkitError(
                'Calibrate needs validation data, and the config has none: give val_dataloader and '
                'val_evaluator, or leave the hook out'
            )
        self._check_tasks(system.tasks)

    def before_train(self, runner: Runner) -> None:
        validation = runner.val_loop
        measured = {} if validation is None else {'val': validation.evaluator.metrics}
        self.check_run(runner.system, measured)
        system = _require_classifier(runner)
        measured = find_clinical_metrics(runner.val_loop.evaluator.metrics)
        for name in system.tasks:
            if name not in measured:
                self._print_once(
                    runner, name, f'val_evaluator has no ClinicalMetrics of it; {DEFAULTS}'
                )

    def before_val_epoch(self, runner: Runner) -> None:
        system = _require_classifier(runner)
        for name, task in system.tasks.items():
            system.calibration.store(name, Choice(1.0, None if task.positive is None else HALF))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        calibration, result = _require_classifier(runner).calibration, runner.val_loop.result
        rules = find_aggregations(runner.val_loop.evaluator.metrics)
        if (tested := runner.run_config.test_evaluator) is not None:
            rules |= find_aggregations(build_clinical_metrics(tested.metrics))
        for name, (key, metric) in find_clinical_metrics(runner.val_loop.evaluator.metrics).items():
            labelled = read_rows(result.rows[key], metric.task).labelled()
            choice, warnings = self.fit(labelled, name, rules[name])
            calibration.store(name, choice)
            for warning in warnings:
                self._print_once(runner, name, warning)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        # Averages of weights keep buffers of their own, older than this validation.
        calibration = _require_classifier(runner).calibration
        for name, buffer in calibration.state_dict().items():
            checkpoint['state_dict'][f'calibration.{name}'] = buffer

    def fit(
        self, labelled: Predictions, name: str = '', aggregate: Aggregation = 'mean'
    ) -> tuple[Choice, list[str]]:
        """Fit the calibration of a task to labelled predictions.

        Args:
            labelled: labelled images.
            name: name of the task, for `priors` and `floors`.
            aggregate: rule that joins the images of a patient.
        Returns:
            The calibration, and warnings about what keeps its default.
        """
        assert labelled.logits is not None
        logits, labels, warnings = labelled.logits, labelled.labels, []
        temperature, log_prior = 1.0, None
        wanted = 2 * self.min_samples
        if len(labels) < wanted or len(np.unique(labels)) < 2:
            found = f'{len(labels)} labelled images of {len(np.unique(labels))} classes'
            warnings.append(f'found {found} in validation, {wanted} of 2 needed; {DEFAULTS}')
            return Choice(1.0, None if labelled.positive is None else HALF), warnings
        if self.temperature:
            temperature = fit_temperature(logits, labels)
            if not LOWEST < temperature < HIGHEST:
                warnings.append(f'the temperature is at the end of its range, {temperature:g}')
        if name in self.priors:
            log_prior = tuple(map(float, fit_log_prior(logits / temperature, labels)))
        probabilities = _system_probabilities(logits, temperature, log_prior)
        calibrated = replace(labelled, probabilities=probabilities)
        limits, warning = fit_set_limits(calibrated)
        warnings += warning
        if labelled.positive is None:
            weights, warning = self._choose_weights(calibrated, self.floors.get(name, {}))
            return Choice(temperature, None, None, weights, log_prior, *limits), warnings + warning
        cut, warning = self._choose_threshold(calibrated, 'images')
        warnings += warning
        joined = None
        if len(np.unique(labelled.patients)) < len(labelled):
            joined, warning = self._choose_threshold(calibrated.by_patient(aggregate), 'patients')
            warnings += warning
        own = HALF if cut is None else cut
        return Choice(
            temperature, own, own if joined is None else joined, None, log_prior, *limits
        ), warnings

    def _choose_threshold(self, items: Predictions, noun: str) -> tuple[float | None, list[str]]:
        """Choose the threshold of images or patients; None and the reason if it is not known."""
        assert items.positive is not None
        kept = 'the threshold stays 0.5' if noun == 'images' else 'theirs is that of images'
        if few := self._count_few(items):
            return None, [f'found {few} {noun} in validation, {self.min_samples} needed; {kept}']
        probability = items.probabilities[:, items.positive]
        truth = items.labels == items.positive
        try:
            return choose_threshold(probability, truth, self.threshold, self.at_least), []
        except ValueError as error:
            return None, [f'{error}; {kept}']

    def _choose_weights(
        self, images: Predictions, floors: Mapping[str, float]
    ) -> tuple[tuple[float, ...] | None, list[str]]:
        if not floors:
            return None, []
        if few := self._count_few(images, floors):
            return None, [
                f'found {few} images in validation, {self.min_samples} needed for the floor; '
                'weights stay equal'
            ]
        by_index = {images.task.classes.index(name): least for name, least in floors.items()}
        try:
            found = choose_weights(images.probabilities, images.labels, by_index)
        except ValueError as error:
            return None, [f'{error}; weights stay equal']
        return tuple(map(float, found)), []

    def _count_few(self, items: Predictions, names: Collection[str] | None = None) -> str:
        """Count the items of classes with too few, as text; '' if each has enough."""
        counts = np.bincount(items.labels, minlength=len(items.task.classes))
        few = [
            f'{count} {name}'
            for name, count in zip(items.task.classes, counts)
            if count < self.min_samples and (names is None or name in names)
        ]
        return ', '.join(few)

    def _check_tasks(self, tasks: Mapping[str, Task]) -> None:
        """Check the tasks and classes of `priors` and `floors`.

        Raises:
            ToolkitError: an unknown name, or a floor where there is another rule.
        """
        for option, names in (('priors', self.priors), ('floors', tuple(self.floors))):
            for name in names:
                if name not in tasks:
                    raise ToolkitError(
                        f'Calibrate, {option}: there is no task {name!r}{did_you_mean(name, tasks)}'
                        f'; there are: {", ".join(tasks)}'
                    )
        for name, floors in self.floors.items():
            task = tasks[name]
            if task.positive is not None or task.costs is not None:
                other = (
                    "its threshold: use threshold: 'sensitivity' and at_least"
                    if task.positive is not None
                    else 'its costs: leave out one of them'
                )
                raise ToolkitError(f'Calibrate, floors.{name}: the task is decided by {other}')
            for text in floors:
                if text not in task.classes:
                    raise ToolkitError(
                        f'Calibrate, floors.{name}: there is no class {text!r}'
                        f'{did_you_mean(text, task.classes)}; there are: {", ".join(task.classes)}'
                    )

    def _print_once(self, runner: Runner, task: str, warning: str) -> None:
        """Print a warning of a task the first time that it occurs."""
        if (task, warning) not in self._printed:
            self._printed.add((task, warning))
            runner.say(f'Calibrate, task {task!r}: {warning}')


def _system_probabilities(
    logits: np.ndarray, temperature: float, log_prior: Sequence[float] | None = None
) -> np.ndarray:
    """Compute probabilities (N, K) in the system's precision.

    A threshold between two of them then divides the system's own probabilities too.
    """
    scaled = torch.tensor(logits, dtype=torch.float32) / torch.tensor(
        temperature, dtype=torch.float32
    )
    if log_prior is not None:
        scaled = scaled + torch.tensor(log_prior, dtype=torch.float32)
    return torch.softmax(scaled, -1).numpy()


def _require_classifier(runner: Runner) -> Classifier:
    if not isinstance(runner.system, Classifier):
        raise ToolkitError(
            'Calibrate stores temperature and threshold in a Classifier; the system is a '
            f'{type(runner.system).__name__}'
        )
    return runner.system
