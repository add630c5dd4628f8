"""Meter of losses since the last log line, read from the device in bulk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from toolkit.errors import RunError

# Reading a value makes the CPU wait for the GPU, so values are copied many iterations at a time,
# and read once they have arrived.
BULK = 20


class NonFiniteLossError(RunError):
    """A loss that is NaN or infinite.

    Args:
        name: of the term.
        value: of the loss.
        iteration: number of the iteration, from 1.
    """

    def __init__(self, name: str, value: float, iteration: int) -> None:
        super().__init__(
            f'the loss {name!r} is {value} at iteration {iteration}; lower the learning rate, clip '
            'gradients (optim_wrapper.clip_grad) or check the data'
        )
        self.iteration = iteration


class _Scalars(NamedTuple):
    """Scalars of one iteration: the losses first, then the others."""

    iteration: int
    names: tuple[str, ...]
    losses: int
    values: Tensor


class _Copy(NamedTuple):
    """Scalars of some iterations on their way to the CPU."""

    scalars: list[_Scalars]
    values: Tensor
    arrived: torch.cuda.Event


class LossMeter:
    """Meter that sums scalars by name, in bounded memory and with a state for exact resuming.

    A loss that is NaN or infinite is noticed when it is read: on the CPU at once, else at most 40
    iterations later, and always before a log line or a checkpoint is written.
    """

    def __init__(self) -> None:
        self._pending: list[_Scalars] = []
        self._copies: list[_Copy] = []
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._latest: dict[str, float] = {}

    def add(
        self, iteration: int, losses: Mapping[str, Tensor], others: Mapping[str, Tensor]
    ) -> None:
        """Adds the scalars of an iteration without waiting for the device.

        Args:
            iteration: number of the iteration, from 1.
            losses: loss terms, which must be finite.
            others: other scalars, such as norms, which may be infinite.

        Raises:
            RunError: a loss that has arrived is not finite; names the term and the iteration.
        """
        scalars = [scalar.float() for scalar in (*losses.values(), *others.values())]
        device = next((s.device for s in scalars if s.device.type != 'cpu'), torch.device('cpu'))
        # A constant term may be on the CPU.
        values = torch.stack([scalar.to(device, non_blocking=True) for scalar in scalars])
        self._pending.append(_Scalars(iteration, (*losses, *others), len(losses), values))
        if device.type == 'cpu':
            self.read()
            return
        if len(self._pending) >= BULK:
            self._send(device)
        while self._copies and self._copies[0].arrived.query():
            self._receive()

    def read(self) -> None:
        """Sums the pending scalars; waits for the device.

        Raises:
            RunError: a loss is not finite; names the term and the iteration.
        """
        while self._copies:
            self._copies[0].arrived.synchronize()
            self._receive()
        if self._pending:
            pending, self._pending = self._pending, []
            self._take_in(pending, torch.cat([scalars.values for scalars in pending]))

    def _send(self, device: torch.device) -> None:
        """Starts to copy the pending scalars to the CPU without waiting for the copy."""
        if device.type != 'cuda':
            self.read()
            return
        pending, self._pending = self._pending, []
        values = torch.cat([scalars.values for scalars in pending])
        here = torch.empty(values.shape, pin_memory=True).copy_(values, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record(torch.cuda.current_stream(device))
        self._copies.append(_Copy(pending, here, arrived))

    def _receive(self) -> None:
        copy = self._copies.pop(0)
        self._take_in(copy.scalars, copy.values)

    def _take_in(self, pending: list[_Scalars], values: Tensor) -> None:
        read = iter(values.tolist())
        for iteration, names, losses, _ in pending:
            for index, name in enumerate(names):
                value = next(read)
                if index < losses and not math.isfinite(value):
                    raise NonFiniteLossError(name, value, iteration)
                self._sums[name] = self._sums.get(name, 0.0) + value
                self._counts[name] = self._counts.get(name, 0) + 1
                self._latest[name] = value

    def get_latest(self) -> dict[str, float]:
        """Returns the values of the last iteration."""
        self.read()
        return dict(self._latest)

    def take(self) -> dict[str, float]:
        """Returns the means since the last call and starts the next window."""
        self.read()
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        self.read()
        return {'sums': dict(self._sums), 'counts': dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sums, self._counts = dict(state['sums']), dict(state['counts'])
