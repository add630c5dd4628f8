"""Calibration of a classifier: how probabilities and decisions follow from logits.

Validation data choose temperature, threshold, weights and priors; costs are those of the task.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from plugins.classification.tasks import Tasks


class Choice(NamedTuple):
    """Calibration of one task.

    Attributes:
        temperature: divides the logits.
        threshold: on the positive class's probability in an image; None without such a class.
        patient_threshold: the same for the joined probabilities of a patient's images; None for
            `threshold`.
        weights: (K,) factors of the probabilities in the decision for a class; None for 1.
        log_prior: (K,) offsets of the logits; None for 0.
        limits: (K,) probabilities from which on a class is in the prediction set; None without
            sets, or for 0: every class is in it.
        limit_samples: (K,) number of validation patients that each limit comes from.
    """

    temperature: float = 1.0
    threshold: float | None = None
    patient_threshold: float | None = None
    weights: tuple[float, ...] | None = None
    log_prior: tuple[float, ...] | None = None
    limits: tuple[float, ...] | None = None
    limit_samples: tuple[int, ...] | None = None


class Calibration(nn.Module):
    """Temperature, priors and the decision rule of each task.

    All of them are buffers, so that every checkpoint holds those of its own validation. They start
    as temperature 1, threshold 0.5, weights 1 and offsets 0.

    Args:
        tasks: tasks by name.
    """

    def __init__(self, tasks: Tasks) -> None:
        super().__init__()
        self._tasks = dict(tasks)
        for name, task in tasks.items():
            count = len(task.classes)
            self.register_buffer(f'temperature_{name}', torch.ones(()))
            self.register_buffer(f'log_prior_{name}', torch.zeros(count))
            if task.positive is not None:
                self.register_buffer(f'threshold_{name}', torch.tensor(0.5))
                self.register_buffer(f'patient_threshold_{name}', torch.tensor(0.5))
            else:
                self.register_buffer(f'weights_{name}', torch.ones(count))
            if task.coverage is not None:
                self.register_buffer(f'limits_{name}', torch.zeros(count))
                self.register_buffer(f'limit_samples_{name}', torch.zeros(count, dtype=torch.long))
            if task.costs is not None:
                # A constant of the task, and no part of the state.
                self.register_buffer(f'costs_{name}', torch.tensor(task.costs), persistent=False)

    def temperature(self, task: str) -> Tensor:
        """Return the temperature of a task, a scalar."""
        return getattr(self, f'temperature_{task}')

    def threshold(self, task: str) -> Tensor | None:
        """Return the threshold on the positive class's probability; None without such a class."""
        return getattr(self, f'threshold_{task}', None)

    def patient_threshold(self, task: str) -> Tensor | None:
        """Return the threshold of a patient's joined probability; None without a positive class."""
        return getattr(self, f'patient_threshold_{task}', None)

    def weights(self, task: str) -> Tensor | None:
        """Return the weights (K,) of the decision; None for a task with a positive class."""
        return getattr(self, f'weights_{task}', None)

    def choice(self, task: str) -> Choice:
        """Return the calibration of a task as numbers; None for what changes nothing."""
        threshold, joined = self.threshold(task), self.patient_threshold(task)
        weights, log_prior = self.weights(task), getattr(self, f'log_prior_{task}')
        limits = getattr(self, f'limits_{task}', None)
        fitted = limits is not None and bool((getattr(self, f'limit_samples_{task}') > 0).any())
        return Choice(
            float(self.temperature(task)),
            None if threshold is None else float(threshold),
            None if joined is None else float(joined),
            None if weights is None or bool((weights == 1).all()) else tuple(weights.tolist()),
            None if bool((log_prior == 0).all()) else tuple(log_prior.tolist()),
            tuple(limits.tolist()) if fitted else None,
            tuple(getattr(self, f'limit_samples_{task}').tolist()) if fitted else None,
        )

    def record(self) -> dict[str, dict[str, Any]]:
        """Describe each task for exported files: classes and calibration."""
        record = {}
        for name, task in self._tasks.items():
            choice = self.choice(name)
            record[name] = {
                'classes': list(task.classes),
                'positive': task.positive,
                'threshold': choice.threshold,
                'patient_threshold': choice.patient_threshold,
                'temperature': choice.temperature,
                'weights': choice.weights,
                'log_prior': choice.log_prior,
                'costs': task.costs,
            }
            if task.coverage is not None:
                record[name] |= {
                    'coverage': task.coverage,
                    'coverage_of': task.coverage_of,
                    'limits': choice.limits,
                    'limit_samples': choice.limit_samples,
                }
        return record

    def store(self, task: str, choice: Choice) -> None:
        """Store the calibration of a task.

        Raises:
            ValueError: a temperature that is not above 0, a threshold outside [0, 1], weights that
                are not above 0, offsets that are not finite.
        """
        if not 0 < choice.temperature < float('inf'):
            raise ValueError(f'temperature must be above 0, found {choice.temperature}')
        joined = choice.threshold if choice.patient_threshold is None else choice.patient_threshold
        for threshold in (choice.threshold, joined):
            if threshold is not None and not 0 <= threshold <= 1:
                raise ValueError(f'threshold must be between 0 and 1, found {threshold}')
        weights = choice.weights
        if weights is not None and not all(0 < weight < float('inf') for weight in weights):
            raise ValueError(f'weights must be above 0, found {weights}')
        count = len(self._tasks[task].classes)
        log_prior = torch.tensor(choice.log_prior or [0.0] * count)
        if not torch.isfinite(log_prior).all():
            raise ValueError(f'log_prior must be finite, found {choice.log_prior}')
        self.temperature(task).fill_(choice.temperature)
        getattr(self, f'log_prior_{task}').copy_(log_prior)
        if (own := self.threshold(task)) is not None and choice.threshold is not None:
            own.fill_(choice.threshold)
        if (own := self.patient_threshold(task)) is not None and joined is not None:
            own.fill_(joined)
        if (own := self.weights(task)) is not None:
            own.copy_(torch.tensor(weights or [1.0] * count))
        if (own := getattr(self, f'limits_{task}', None)) is not None:
            own.copy_(torch.tensor(choice.limits or [0.0] * count))
            samples = torch.tensor(choice.limit_samples or [0] * count)
            getattr(self, f'limit_samples_{task}').copy_(samples)

    def probabilities(self, task: str, logits: Tensor) -> Tensor:
        """Compute calibrated probabilities: logits (B, K) -> (B, K)."""
        shifted = logits / self.temperature(task) + getattr(self, f'log_prior_{task}')
        return torch.softmax(shifted, -1)

    def decide(self, task: str, probabilities: Tensor) -> Tensor:
        """Decide for a class: (B, K) -> (B,).

        It is the positive class at or above its threshold; without a positive class the one with
        the lowest expected cost, or the highest probability, both after the weights.
        """
        positive, threshold = self._tasks[task].positive_index, self.threshold(task)
        if positive is not None and threshold is not None:
            return torch.where(probabilities[:, positive] >= threshold, positive, 1 - positive)
        weights = self.weights(task)
        assert weights is not None
        weighted = probabilities * weights
        if self._tasks[task].costs is None:
            return weighted.argmax(-1)
        return (weighted @ getattr(self, f'costs_{task}')).argmin(-1)

    def sets(self, task: str, probabilities: Tensor) -> Tensor | None:
        """Compute prediction sets: (B, K) -> (B, K) bool, the classes whose probability reaches
        their limit; None for a task without `coverage`, or before a limit is fitted."""
        limits = getattr(self, f'limits_{task}', None)
        if limits is None:
            return None
        # On the meta device, for shapes, numbers are not known.
        if not limits.is_meta and not bool((getattr(self, f'limit_samples_{task}') > 0).any()):
            return None
        return probabilities >= limits
