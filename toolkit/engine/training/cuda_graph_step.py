"""One training step, recorded as a CUDA graph and replayed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from toolkit.engine.process import distributed
from toolkit.engine.training.training_step import RECORDING, StepScalars, TrainingStep
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner


# Steps that run as usual before the capture: libraries set themselves up and choose algorithms.
WARM_UP = 3


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
