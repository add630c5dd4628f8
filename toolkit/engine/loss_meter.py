"""The losses of the iterations since the last log line, read from the device in bulk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from toolkit.errors import RunError

# Reading a value makes the CPU wait for the GPU, so values are read many iterations at a time.
BULK = 20


class LossMeter:
    """Sums of scalars by name; bounded in memory and exact to resume.

    A loss that is NaN or infinite is noticed when it is read: on the CPU at once, else at most 20
    iterations later, and always before a log line or a checkpoint is written.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[int, dict[str, Tensor], dict[str, Tensor]]] = []
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._latest: dict[str, float] = {}

    def add(
        self, iteration: int, losses: Mapping[str, Tensor], others: Mapping[str, Tensor]
    ) -> None:
        """Add an iteration's scalars: `losses` must be finite, `others` (norms) need not be."""
        self._pending.append((iteration, dict(losses), dict(others)))
        here = all(tensor.device.type == 'cpu' for tensor in losses.values())
        if here or len(self._pending) >= BULK:
            self.read()

    def read(self) -> None:
        """Take in what is pending.

        Raises:
            RunError: a loss is not finite; names the term and the iteration.
        """
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        flat = [
            t.float() for _, losses, others in pending for t in (*losses.values(), *others.values())
        ]
        if len({tensor.device for tensor in flat}) > 1:  # a constant term may be on the CPU
            flat = [tensor.cpu() for tensor in flat]
        values = iter(torch.stack(flat).tolist())
        for iteration, losses, others in pending:
            for name in (*losses, *others):
                value = next(values)
                if name in losses and not math.isfinite(value):
                    raise RunError(
                        f'the loss {name!r} is {value} at iteration {iteration}; lower the '
                        'learning rate, clip gradients (optim_wrapper.clip_grad) or check the data'
                    )
                self._sums[name] = self._sums.get(name, 0.0) + value
                self._counts[name] = self._counts.get(name, 0) + 1
                self._latest[name] = value

    def latest(self) -> dict[str, float]:
        """The last iteration's values."""
        self.read()
        return dict(self._latest)

    def take(self) -> dict[str, float]:
        """Means since the last call, which starts the next window."""
        self.read()
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        self.read()
        return {'sums': dict(self._sums), 'counts': dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sums, self._counts = dict(state['sums']), dict(state['counts'])
