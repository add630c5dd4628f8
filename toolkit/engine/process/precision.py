"""Device, precision, memory format and threads of a run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.config.schema import Runtime
from toolkit.engine.process import distributed
from toolkit.errors import ToolkitError

DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}


def choose_device(runtime: Runtime) -> torch.device:
    """Chooses the device of this process: with several GPUs, that of its local rank.

    Raises:
        ToolkitError: a GPU is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if runtime.device == 'cuda' and not available:
        raise ToolkitError(
            'runtime.device is cuda, but torch finds no GPU; use runtime.device=auto or cpu'
        )
    if runtime.device == 'cpu' or not available:
        return torch.device('cpu')
    number = distributed.get_local_rank()
    if number >= torch.cuda.device_count():
        raise ToolkitError(
            f'process {number} of this machine has no GPU: there are {torch.cuda.device_count()}; '
            'start at most as many processes'
        )
    device = torch.device('cuda', number)
    torch.cuda.set_device(device)
    return device


def find_device(name: str | torch.device) -> torch.device:
    """Finds a device by its name, such as 'cpu' or 'cuda:0'.

    Raises:
        ToolkitError: no such device on this machine.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:  # with and without CUDA in torch
        raise ToolkitError(
            f'no device {str(name)!r} on this machine: expected cpu, or cuda or cuda:N where torch '
            f'finds a GPU; it finds {torch.cuda.device_count()}'
        ) from error
    return device


def move_system(system: nn.Module, runtime: Runtime, device: torch.device) -> None:
    """Moves the system to its device and memory format, in place."""
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    if device.type == 'cuda':
        # torch lets convolutions round float32 products to ten bits unless it is told not to.
        rounded = runtime.precision == 'tf32'
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = rounded
    if runtime.channels_last:
        system.to(device=device, memory_format=torch.channels_last)
    else:
        system.to(device=device)


def autocast(runtime: Runtime, device: torch.device) -> AbstractContextManager[Any]:
    """Returns the context of forward passes in the run's precision."""
    if runtime.precision not in DTYPES:
        return nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[runtime.precision])


def move_batch(batch: Any, runtime: Runtime, device: torch.device) -> Any:
    """Moves a batch's tensors to the device and images to the run's memory format."""
    if isinstance(batch, Tensor):
        moved = batch.to(device, non_blocking=True)
        if runtime.channels_last and moved.ndim == 4:
            moved = moved.contiguous(memory_format=torch.channels_last)
        return moved
    if isinstance(batch, dict):
        return {
            key: value if key == 'meta' else move_batch(value, runtime, device)
            for key, value in batch.items()
        }
    if isinstance(batch, list):
        return [move_batch(value, runtime, device) for value in batch]
    return batch


def cast_to_float32(outputs: Any) -> Any:
    """Casts half-precision outputs to float32, for metrics and files."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.dtype in DTYPES.values() else outputs
    if isinstance(outputs, dict):
        return {key: cast_to_float32(value) for key, value in outputs.items()}
    if isinstance(outputs, list):
        return [cast_to_float32(value) for value in outputs]
    return outputs
