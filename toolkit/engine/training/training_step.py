"""One training step, run operation by operation or replayed as one CUDA graph."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from toolkit.engine.process import distributed
from toolkit.errors import ToolkitError
from toolkit.testing import guards

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner

# Modes of torch.compile that record CUDA graphs of their own.
RECORDING = ('reduce-overhead', 'max-autotune')


class StepScalars(NamedTuple):
    """The scalars of one step, in memory that later steps do not overwrite.

    Attributes:
        losses: terms by name, and their sum `loss`.
        others: `grad_norm` if gradients are clipped by norm.
        is_skipped: the losses are not finite and the weights were not changed.
    """

    losses: dict[str, Tensor]
    others: dict[str, Tensor]
    is_skipped: bool = False


class TrainingStep:
    """Forward, loss, backward and optimizer.

    Args:
        runner: the run.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._is_first = True

    def __call__(self, batch: dict[str, Any]) -> StepScalars:
        """Trains on a batch that is on the device.

        Raises:
            ToolkitError: the system returned no mapping of scalars.
        """
        if self.runner.runtime.compile in RECORDING:
            torch.compiler.cudagraph_mark_step_begin()  # the graphs' memory is free again
        losses, others = self._compute(batch)
        if self.runner.runtime.compile in RECORDING and self.runner.device.type == 'cuda':
            losses = {name: loss.clone() for name, loss in losses.items()}
        return StepScalars(losses, others)

    def _compute_first(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], Tensor]:
        """Computes the losses of the first batch, with the components held to their contracts."""
        with guards.watch_first(self.runner.system) as observer:
            losses = self.runner.model(batch, mode='loss')
            total = sum_losses(losses)
        if not guards.reaches_parameters(self.runner.system, total):
            raise ToolkitError(
                'the losses depend on no parameter to be trained: nothing can be trained by them; '
                'check --shapes names the component that is detached'
            )
        for line in guards.list_unreached(observer, total):
            self.runner.say(line)
        return losses, total

    def _compute_losses(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], Tensor]:
        with self.runner.optim_wrapper.optim_context(self.runner.model):
            if self._is_first and not self.runner.runtime.compile:
                losses, total = self._compute_first(batch)
            else:
                losses = self.runner.model(batch, mode='loss')
                total = sum_losses(losses)
        self._is_first = False
        return losses, total

    def _compute(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        losses, total = self._compute_losses(batch)
        return self._update(losses, total)

    def _update(
        self, losses: dict[str, Tensor], total: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Computes gradients and, where it is due, the step; returns the scalars."""
        wrapper = self.runner.optim_wrapper
        wrapper.grad_norm = None
        wrapper.update_params(total)
        others = {} if wrapper.grad_norm is None else {'grad_norm': wrapper.grad_norm}
        scalars = {name: loss.detach() for name, loss in losses.items()}
        scalars['loss'] = total.detach()
        return scalars, others


class SkippingStep(TrainingStep):
    """A training step that changes nothing where the loss of a batch is not finite.

    Weights, optimizer and the averages of BatchNorm stay as they were. With several processes, all
    skip the iteration if the loss of one is not finite. Where the last iteration of a training is
    skipped, the gradients that were accumulated before it are still used.

    Args:
        runner: the run.
    """

    def __call__(self, batch: dict[str, Any]) -> StepScalars:
        """Trains on a batch that is on the device, or skips it.

        Raises:
            ToolkitError: the system returned no mapping of scalars.
        """
        wrapper, system = self.runner.optim_wrapper, self.runner.system
        # The forward of a batch with NaN would leave NaN in the averages of BatchNorm.
        buffers = [buffer.clone() for buffer in system.buffers()]
        losses, total = self._compute_losses(batch)
        if distributed.reduce_max(int(not bool(total.isfinite()))):
            with torch.no_grad():
                for buffer, before in zip(system.buffers(), buffers, strict=True):
                    buffer.copy_(before)
            wrapper.leave_out()
            scalars = {name: loss.detach() for name, loss in losses.items()}
            return StepScalars({**scalars, 'loss': total.detach()}, {}, is_skipped=True)
        return StepScalars(*self._update(losses, total))


def sum_losses(losses: Any) -> Tensor:
    """Sums the loss terms of a system.

    Raises:
        ToolkitError: the system returned no mapping of scalars.
    """
    if not isinstance(losses, dict) or not losses:
        raise ToolkitError(
            f'the system returned {type(losses).__name__} as its losses; expected a mapping of '
            'names to scalar tensors, with at least one'
        )
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.ndim:
            found = (
                f'shape {tuple(loss.shape)}' if isinstance(loss, Tensor) else type(loss).__name__
            )
            raise ToolkitError(f'the loss {name!r} is no scalar tensor: found {found}')
    if 'loss' in losses and len(losses) > 1:
        raise ToolkitError("'loss' is the name of the sum of all terms; rename that term")
    return functools.reduce(operator.add, losses.values())
