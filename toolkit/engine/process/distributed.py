"""Runs several processes of torchrun as one run through torch.distributed.

Everything here works in a single process too, where it does nothing.
"""

from __future__ import annotations

import atexit
import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from toolkit.errors import RunError, ToolkitError

T = TypeVar('T')

# Objects and flags always use gloo, so that none waits for a GPU.
_control: dist.ProcessGroup | None = None


class LostProcessError(RunError):
    """A process that cannot go on, since another one of its run has ended."""


def is_launched() -> bool:
    """Tells whether torchrun started this process."""
    return 'RANK' in os.environ and 'WORLD_SIZE' in os.environ


def get_local_rank() -> int:
    """Returns the number of this process on its machine, which is its GPU's number."""
    return int(os.environ.get('LOCAL_RANK', 0)) if is_launched() else 0


def get_rank() -> int:
    """Returns the number of this process among all, 0 for a single one."""
    return dist.get_rank() if dist.is_initialized() else 0


def get_world_size() -> int:
    """Returns the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Tells whether this process writes and prints; valid before `join_processes` too."""
    if dist.is_initialized():
        return dist.get_rank() == 0
    return int(os.environ.get('RANK', 0)) == 0 if is_launched() else True


@contextmanager
def join_processes(device: torch.device) -> Iterator[None]:
    """Joins torchrun's processes inside the context: nccl between GPUs, gloo between CPUs.

    Raises:
        LostProcessError: another process of the run ended, so that this one cannot go on.
    """
    global _control
    if not is_launched() or dist.is_initialized():
        yield
        return
    backend = 'nccl' if device.type == 'cuda' else 'gloo'
    dist.init_process_group(backend)
    _control = dist.new_group(backend='gloo') if backend != 'gloo' else dist.group.WORLD
    atexit.register(gc.collect)
    try:
        with explain_lost_process():
            yield
    finally:
        _control = None
        dist.destroy_process_group()
        # Wrappers of the system hold the group in circles of references. Threads of gloo that are
        # still there when Python ends abort the process, although its work is done and saved.
        # After an error its traceback holds them too, until the end: hence also `atexit`.
        gc.collect()


@contextmanager
def explain_lost_process() -> Iterator[None]:
    """Explains the error of an exchange whose other side has ended.

    Raises:
        LostProcessError: another process of the run ended.
    """
    try:
        yield
    except RuntimeError as error:
        if get_world_size() == 1 or not _is_lost(error):
            raise
        raise LostProcessError(
            f'process {get_rank()} of {get_world_size()} cannot go on: another process of this run '
            'has ended, was killed, or cannot be reached; its own messages say why. The last '
            'checkpoint is intact: go on with --resume and as many processes'
        ) from error


def _is_lost(error: RuntimeError) -> bool:
    """Tells whether an error comes from the connection to another process."""
    # Errors of nccl and of the store have classes; those of gloo are known by its file names.
    return isinstance(error, dist.DistError) or '/gloo/' in str(error)


def gather(value: T) -> list[T]:
    """Gathers every process's value, in the order of ranks, on every process."""
    if get_world_size() == 1:
        return [value]
    values: list[Any] = [None] * get_world_size()
    dist.all_gather_object(values, value, group=_control)
    return values


def broadcast(value: T) -> T:
    """Sends the main process's value to every process."""
    if get_world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, group=_control)
    return box[0]


def average_scalars(values: Mapping[str, float]) -> dict[str, float]:
    """Averages scalars by name over the processes that have them; a collective call."""
    shares = gather(dict(values))
    names = dict.fromkeys(name for share in shares for name in share)
    return {name: fmean(share[name] for share in shares if name in share) for name in names}


def reduce_max(value: int) -> int:
    """Returns the largest value of all processes."""
    if get_world_size() == 1:
        return value
    box = torch.tensor(value)
    dist.all_reduce(box, op=dist.ReduceOp.MAX, group=_control)
    return int(box)


class Agreement:
    """Exchange of the largest value of all processes, at some iterations only.

    Processes exchange their values some ten times a second and not at each iteration. The exchange
    also settles at which iteration the next one comes, so that all processes learn of a value at
    the same iteration, as exactly as if they exchanged it at each.

    Source of the rate: an exchange by gloo takes some 0.1 ms, a thousandth of the time between two.
    """

    SECONDS = 0.1
    MOST = 100  # iterations between two exchanges

    def __init__(self) -> None:
        self._next = 0
        self._last: tuple[int, float] | None = None

    def find_largest(self, iteration: int, value: int) -> int:
        """Returns the largest value if the processes exchange values at this iteration, else 0.

        Args:
            iteration: current iteration, the same on every process.
            value: value of this process; it must not change until it is exchanged.
        """
        if get_world_size() == 1:
            return value
        if iteration < self._next:
            return 0
        now = time.perf_counter()
        passed = 0.0
        if self._last is not None and iteration > self._last[0]:
            passed = (now - self._last[1]) / (iteration - self._last[0])
        self._last = (iteration, now)
        box = torch.tensor([float(value), passed], dtype=torch.float64)
        dist.all_reduce(box, op=dist.ReduceOp.MAX, group=_control)
        slowest = float(box[1])
        wait = 1 if slowest <= 0 else min(max(int(self.SECONDS / slowest), 1), self.MOST)
        self._next = iteration + wait
        return int(box[0])


def reduce_sum(tensor: Tensor) -> Tensor:
    """Sums a tensor over all processes, with the backend of gradients."""
    if get_world_size() == 1:
        return tensor
    summed = tensor.clone()
    dist.all_reduce(summed)
    return summed


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Averages gradients over all processes; one that no process has stays away."""
    if get_world_size() == 1:
        return
    for parameter, owners in zip(
        parameters, zip(*gather([p.grad is not None for p in parameters])), strict=True
    ):
        if any(owners):
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            parameter.grad.div_(get_world_size())


def run_on_main(function: Callable[[], T]) -> T:
    """Calls a function in the main process alone and returns its result everywhere.

    Raises:
        ToolkitError: the function raised one; then every process does, so that none waits.
    """
    result: Any = None
    failure: tuple[str, bool] | None = None
    if is_main():
        try:
            result = function()
        except ToolkitError as error:
            if get_world_size() == 1:
                raise
            failure = (str(error), isinstance(error, RunError))
    result, failure = broadcast((result, failure))
    if failure is not None:
        message, during_run = failure
        raise RunError(message) if during_run else ToolkitError(message)
    return result


def wrap_system(system: nn.Module, device: torch.device) -> nn.Module:
    """Wraps the system in DistributedDataParallel when there are several processes."""
    if not dist.is_initialized():
        return system
    if not any(p.requires_grad for p in system.parameters()):
        return system  # nothing to average, and DistributedDataParallel refuses it
    return DistributedDataParallel(
        system,
        device_ids=[device.index] if device.type == 'cuda' else None,
        # A variant that drops a loss leaves the modules behind it without a gradient.
        find_unused_parameters=True,
    )


def sync_buffers(system: nn.Module) -> None:
    """Copies the main process's buffers to every process (averages of BatchNorm differ)."""
    if get_world_size() > 1:
        for buffer in system.buffers():
            dist.broadcast(buffer, src=0)
