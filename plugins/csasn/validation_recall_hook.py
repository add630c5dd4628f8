"""Hook that gives the recalls of a validation to losses whose class weights follow them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.hooks import Hook

from plugins.classification.metrics.clinical_metrics import find_clinical_metrics
from plugins.classification.metrics.predictions import read_rows
from plugins.classification.system import Classifier
from plugins.csasn.losses import DynamicClassWeights
from toolkit.errors import ToolkitError
from toolkit.interfaces import Metric, System
from toolkit.registry import HOOKS

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner


@HOOKS.register
class ValidationRecall(Hook):
    """Counts the recall of each class after each validation, for `DynamicClassWeights` with
    `recall: validation`.

    The class weights of the next epoch follow it; the counts are part of the checkpoint. So
    validation images take part in the training by K numbers, and what is measured on them is a
    little too good; test images take no part. Each such task needs a `ClinicalMetrics` in
    `val_evaluator`. An image counts as found if its own class is the likeliest, as in the training,
    whatever the costs of the task decide for.
    """

    uses_validation = True
    # After hooks that swap averaged weights in and out, before hooks that write checkpoints.
    priority = 'BELOW_NORMAL'

    def check_run(self, system: System, metrics: Mapping[str, Mapping[str, Metric]]) -> None:
        if not isinstance(system, Classifier) or not list(_find_losses(system)):
            raise ToolkitError(
                'ValidationRecall serves a DynamicClassWeights with recall: validation, and the '
                'model has none: set it in model.losses, or leave the hook out'
            )
        if 'val' not in metrics:
            raise ToolkitError(
                'ValidationRecall needs validation data, and the config has none: give '
                'val_dataloader and val_evaluator, or set recall: training'
            )
        measured = find_clinical_metrics(metrics['val'])
        for task, _ in _find_losses(system):
            if task not in measured:
                raise ToolkitError(
                    f'ValidationRecall counts the rows of ClinicalMetrics, and val_evaluator has '
                    f'none of the task {task!r}: add one'
                )

    def before_train(self, runner: Runner) -> None:
        validation = runner.val_loop
        metrics = {} if validation is None else {'val': validation.evaluator.metrics}
        self.check_run(runner.system, metrics)
        for _, loss in _find_losses(runner.system):
            loss.is_followed = True

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        loop = runner.val_loop
        measured = find_clinical_metrics(loop.evaluator.metrics)
        for task, loss in _find_losses(runner.system):
            key, metric = measured[task]
            images = read_rows(loop.result.rows[key], metric.task).labelled()
            right = images.labels == images.probabilities.argmax(1)
            counts = [
                np.bincount(labels, minlength=loss.num_classes)
                for labels in (images.labels[right], images.labels)
            ]
            loss.use_validation(*(torch.from_numpy(count) for count in counts))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        # Averages of weights keep buffers of their own, older than this validation.
        for prefix, loss in runner.system.named_modules():
            if isinstance(loss, DynamicClassWeights) and loss.source == 'validation':
                for name, buffer in loss.state_dict().items():
                    checkpoint['state_dict'][f'{prefix}.{name}'] = buffer


def _find_losses(system: Classifier) -> Iterator[tuple[str, DynamicClassWeights]]:
    """Finds the losses that follow a validation, with their tasks."""
    for task, losses in system.losses.items():
        for loss in losses.values():
            if isinstance(loss, DynamicClassWeights) and loss.source == 'validation':
                yield task, loss
