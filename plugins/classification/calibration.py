"""Calibration of a classifier: temperatures and thresholds that validation data chose."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from plugins.classification.tasks import Tasks


class Calibration(nn.Module):
    """A temperature for each task, and a threshold for each task with a positive class.

    Both are buffers, so that every checkpoint holds those of its own validation. They start as
    temperature 1 and threshold 0.5.

    Args:
        tasks: tasks by name.
    """

    def __init__(self, tasks: Tasks) -> None:
        super().__init__()
        self._tasks = dict(tasks)
        for name, task in tasks.items():
            self.register_buffer(f'temperature_{name}', torch.ones(()))
            if task.positive is not None:
                self.register_buffer(f'threshold_{name}', torch.tensor(0.5))

    def temperature(self, task: str) -> Tensor:
        """Return the temperature of a task, a scalar."""
        return getattr(self, f'temperature_{task}')

    def threshold(self, task: str) -> Tensor | None:
        """Return the threshold on the positive class's probability; None without such a class."""
        return getattr(self, f'threshold_{task}', None)

    def numbers(self, task: str) -> tuple[float, float | None]:
        """Return temperature and threshold of a task as numbers."""
        threshold = self.threshold(task)
        return float(self.temperature(task)), None if threshold is None else float(threshold)

    def record(self) -> dict[str, dict[str, Any]]:
        """Describe each task for exported files: classes, threshold, temperature."""
        record = {}
        for name, task in self._tasks.items():
            temperature, threshold = self.numbers(name)
            record[name] = {
                'classes': list(task.classes),
                'positive': task.positive,
                'threshold': threshold,
                'temperature': temperature,
            }
        return record

    def store(self, task: str, temperature: float, threshold: float | None) -> None:
        """Store temperature and threshold of a task.

        Raises:
            ValueError: a temperature that is not above 0, a threshold outside [0, 1].
        """
        if not 0 < temperature < float('inf'):
            raise ValueError(f'temperature must be above 0, found {temperature}')
        self.temperature(task).fill_(temperature)
        if threshold is not None:
            if not 0 <= threshold <= 1:
                raise ValueError(f'threshold must be between 0 and 1, found {threshold}')
            self.threshold(task).fill_(threshold)  # type: ignore[union-attr]

    def probabilities(self, task: str, logits: Tensor) -> Tensor:
        """Compute calibrated probabilities: logits (B, K) -> (B, K)."""
        return torch.softmax(logits / self.temperature(task), -1)

    def decide(self, task: str, probabilities: Tensor) -> Tensor:
        """Decide for a class, the positive one at or above its threshold: (B, K) -> (B,)."""
        positive, threshold = self._tasks[task].positive_index, self.threshold(task)
        if positive is None or threshold is None:
            return probabilities.argmax(-1)
        return torch.where(probabilities[:, positive] >= threshold, positive, 1 - positive)
