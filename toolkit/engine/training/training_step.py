"""One training step, run operation by operation or replayed as one CUDA graph."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from toolkit.engine.process import distributed
from toolkit.errors import ToolkitError
from toolkit.testing import guards

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner

# Steps that run as usual before the capture: libraries set themselves up and choose algorithms.
WARM_UP = 3
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
        if not total.requires_grad:
            raise ToolkitError(
                'the losses depend on no parameter to be trained: nothing can be trained by them; '
                'check --shapes names the component that is detached'
            )
        for line in guards.list_unreached(observer, total):
            self.runner.say(line)
        return losses, total

    def _compute(self, batch: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        wrapper = self.runner.optim_wrapper
        with wrapper.optim_context(self.runner.model):
            if self._is_first and not self.runner.runtime.compile:
                losses, total = self._compute_first(batch)
            else:
                losses = self.runner.model(batch, mode='loss')
                total = sum_losses(losses)
        self._is_first = False
        wrapper.grad_norm = None
        wrapper.update_params(total)
        others = {} if wrapper.grad_norm is None else {'grad_norm': wrapper.grad_norm}
        scalars = {name: loss.detach() for name, loss in losses.items()}
        scalars['loss'] = total.detach()
        return scalars, others


class SkippingStep(TrainingStep):
    """A training step that changes nothing where the loss of a batch is not finite.

    Weights, optimizer and the averages of BatchNorm stay as they were. With several processes, all
    skip the iteration if the loss of one is not finite.

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
        with wrapper.optim_context(self.runner.model):
            losses = self.runner.model(batch, mode='loss')
            total = sum_losses(losses)
        scalars = {name: loss.detach() for name, loss in losses.items()}
        scalars['loss'] = total.detach()
        if distributed.reduce_max(int(not bool(total.isfinite()))):
            with torch.no_grad():
                for buffer, before in zip(system.buffers(), buffers, strict=True):
                    buffer.copy_(before)
            return StepScalars(scalars, {}, is_skipped=True)
        wrapper.grad_norm = None
        wrapper.update_params(total)
        others = {} if wrapper.grad_norm is None else {'grad_norm': wrapper.grad_norm}
        return StepScalars(scalars, others)


class GraphedStep(TrainingStep):
    """A training step that is replayed as a CUDA graph: one launch in place of hundreds.

    The first steps run as usual. The next step is captured, and later steps replay it on copies of
    their batches. A batch of another shape runs as usual. Learning rates are tensors on the
    device in all of these steps, so that all give the same bits and schedules keep working.

    Args:
        runner: the run.
    Raises:
        ToolkitError: the run cannot be captured; names the setting that prevents it.
    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#whole-network-capture
    """

    def __init__(self, runner: Runner) -> None:
        super().__init__(runner)
        _check_capturable(runner)
        self._stream = torch.cuda.Stream(runner.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._done = 0
        self._captured: object = None  # shapes of the batch, and settings of the optimizer
        self._inputs: list[Tensor] = []
        self._names: tuple[list[str], list[str]] = ([], [])
        self._scalars = torch.empty(0)
        groups = runner.optim_wrapper.optimizer.param_groups
        self._rates = [torch.zeros((), device=runner.device) for _ in groups]
        self._set: list[float | None] = [None for _ in groups]

    def __call__(self, batch: dict[str, Any]) -> StepScalars:
        """Trains on a batch that is on the device.

        Raises:
            ToolkitError: the system returned no mapping of scalars, or its step cannot be captured.
        """
        tensors = list(_list_tensors(batch))
        self._update_rates()
        described = self._describe(tensors)
        if self._graph is None and self._done >= WARM_UP:
            self._capture(batch, tensors, described)
        self._done += 1
        if self._graph is None or described != self._captured:
            return self._run(batch)
        torch._foreach_copy_(self._inputs, tensors)
        self._graph.replay()
        self.runner.optim_wrapper.count_replay()
        values = self._scalars.clone().unbind()
        losses, others = self._names
        return StepScalars(
            dict(zip(losses, values)), dict(zip(others, values[len(losses) :], strict=True))
        )

    def _run(self, batch: dict[str, Any]) -> StepScalars:
        current = torch.cuda.current_stream(self.runner.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), self._rates_as_tensors():
            found = StepScalars(*self._compute(batch))
        current.wait_stream(self._stream)
        return found

    def _capture(self, batch: dict[str, Any], tensors: Sequence[Tensor], described: object) -> None:
        # A copy, since later batches are copied into the captured memory.
        batch = _clone(batch)
        self._inputs = list(_list_tensors(batch))
        self.runner.optim_wrapper.zero_grad()  # gradients are then memory of the graph
        graph = torch.cuda.CUDAGraph()
        counted = self.runner.optim_wrapper.count
        try:
            with (
                self._rates_as_tensors(),
                torch.cuda.graph(graph, stream=self._stream, capture_error_mode='thread_local'),
            ):
                losses, others = self._compute(batch)
                self._scalars = torch.stack(
                    [scalar.float() for scalar in (*losses.values(), *others.values())]
                )
        except RuntimeError as error:
            raise ToolkitError(
                'runtime.cuda_graph: the training step cannot be captured as a CUDA graph '
                f'({str(error).splitlines()[0]}); set runtime.cuda_graph: false'
            ) from error
        self.runner.optim_wrapper.count = counted  # nothing has been computed so far
        self._names = (list(losses), list(others))
        self._graph, self._captured = graph, described

    def _describe(self, tensors: Sequence[Tensor]) -> object:
        """Returns the values that a graph fixes: shapes, and all settings but the rate."""
        shapes = tuple((tensor.shape, tensor.dtype, tensor.stride()) for tensor in tensors)
        settings = tuple(
            tuple(value for key, value in group.items() if key not in ('params', 'lr'))
            for group in self.runner.optim_wrapper.optimizer.param_groups
        )
        return shapes, settings

    def _update_rates(self) -> None:
        for index, group in enumerate(self.runner.optim_wrapper.optimizer.param_groups):
            if group['lr'] != self._set[index]:
                self._set[index] = group['lr']
                self._rates[index].fill_(group['lr'])

    @contextmanager
    def _rates_as_tensors(self) -> Iterator[None]:
        groups = self.runner.optim_wrapper.optimizer.param_groups
        numbers = [group['lr'] for group in groups]
        for group, rate in zip(groups, self._rates, strict=True):
            group['lr'] = rate
        try:
            yield
        finally:
            for group, number in zip(groups, numbers, strict=True):
                group['lr'] = number


def build_step(runner: Runner) -> TrainingStep:
    """Builds the step for a run's `runtime`.

    Raises:
        ToolkitError: `cuda_graph` is set and the run cannot be captured.
    """
    if runner.runtime.cuda_graph and runner.device.type == 'cuda':
        return GraphedStep(runner)
    if runner.run_config.train_cfg.on_nonfinite == 'skip':
        return SkippingStep(runner)
    return TrainingStep(runner)


def _check_capturable(runner: Runner) -> None:
    system, runtime = runner.system, runner.runtime
    obstacles = {
        f'{type(system).__name__} depends in training on more than tensors': not system.capturable,
        'runtime.precision fp16 scales the loss by what the CPU reads': runtime.precision == 'fp16',
        f'runtime.compile {runtime.compile} records graphs itself': runtime.compile in RECORDING,
        'train_cfg.on_nonfinite skip reads each loss': (
            runner.run_config.train_cfg.on_nonfinite == 'skip'
        ),
        'several processes exchange gradients': distributed.get_world_size() > 1,
        'optim_wrapper.accumulative_counts is above 1': (
            runner.run_config.optim_wrapper.accumulative_counts > 1
        ),
    }
    for obstacle, present in obstacles.items():
        if present:
            raise ToolkitError(f'runtime.cuda_graph: {obstacle}; set runtime.cuda_graph: false')


def _list_tensors(batch: Any) -> Iterator[Tensor]:
    """Lists the tensors of a batch in a fixed order."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, dict):
        for key in batch:
            yield from _list_tensors(batch[key])
    elif isinstance(batch, list):
        for value in batch:
            yield from _list_tensors(value)


def _clone(batch: Any) -> Any:
    if isinstance(batch, Tensor):
        return batch.clone()
    if isinstance(batch, dict):
        return {key: _clone(value) for key, value in batch.items()}
    if isinstance(batch, list):
        return [_clone(value) for value in batch]
    return batch


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
