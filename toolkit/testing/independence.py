"""Checks that a result depends on the input and the state alone, and that nothing else changes."""

from __future__ import annotations

import io
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.registry.component_errors import explain_failure
from toolkit.testing.contract import are_equal, copy_values, list_tensors
from toolkit.testing.observe import call_component

META = torch.device('meta')
# Rounding of another batch size, in the unit of the largest value.
ROUNDING = 1e-3
_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    'the default dtype (torch.set_default_dtype)': (
        torch.get_default_dtype,
        torch.set_default_dtype,
    ),
    'the gradient mode (torch.set_grad_enabled)': (
        torch.is_grad_enabled,
        torch._C._set_grad_enabled,
    ),
    'the number of threads (torch.set_num_threads)': (
        torch.get_num_threads,
        torch.set_num_threads,
    ),
    'the working folder (os.chdir)': (os.getcwd, os.chdir),
}


# Containers of each module that belong to torch.
_OF_MODULES = frozenset(vars(nn.Module()))


@contextmanager
def watch_settings(found: list[str]) -> Iterator[None]:
    """Context that a component must leave with the settings of the process as they were.

    Args:
        found: gets a fault for each setting that was changed, which is set back.
    """
    before = {name: read() for name, (read, _) in _SETTINGS.items()}
    try:
        yield
    finally:
        for name, (read, write) in _SETTINGS.items():
            if read() != before[name]:
                write(before[name])
                found.append(f'changes {name}, which holds for the whole process; leave it alone')


def run_seeded(function: Callable[[], Any], seed: int) -> tuple[Any, tuple[float, ...]]:
    """Runs a function from a seed; returns its result and the random numbers that come next."""
    states = random.getstate(), np.random.get_state()
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    try:
        return function(), (float(torch.rand(())), float(np.random.rand()), random.random())
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def find_seed_fault(
    place: str, first: tuple[float, ...], second: tuple[float, ...]
) -> Iterator[str]:
    """Compares the random numbers that come after two seeds: equal ones were seeded in between."""
    if any(a == b for a, b in zip(first, second)):
        yield (
            f'seeds the random numbers of the whole process in its {place}: no seed of a run or '
            'study has an effect; take a generator of its own'
        )


def find_batch_faults(module: nn.Module, inputs: Mapping[str, Any], output: Any) -> Iterator[str]:
    """Compares the result of the last sample of a batch with that of the sample alone.

    Args:
        module: in evaluation mode.
        inputs: of its `forward`, by name; the first axis of each tensor is the batch.
        output: its result.
    """
    counts = {len(t) for _, t in list_tensors(dict(inputs)) if t.ndim}
    if len(counts) != 1 or (count := counts.pop()) < 2:
        return
    alone = dict(list_tensors(call_component(module, _take_last(inputs))))
    for name, tensor in list_tensors(output):
        other = alone.get(name)
        if not tensor.ndim or len(tensor) != count or not tensor.is_floating_point():
            continue
        last = tensor[-1:]
        if other is None or other.shape != last.shape:
            continue  # a contract of shapes says so
        largest = max(1.0, float(last.abs().max())) if last.numel() else 1.0
        if not torch.allclose(other, last, rtol=0, atol=ROUNDING * largest):
            yield (
                'gives a sample another result within a batch than alone, in evaluation mode: its '
                'predictions would depend on the other samples and on their order; compute each '
                'sample from itself, with statistics over its own axes'
            )
            return


def _take_last(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value[-1:] if value.ndim else value
    if isinstance(value, Mapping):
        return {key: _take_last(inner) for key, inner in value.items()}
    return value


def grade_samples(inputs: Mapping[str, Any]) -> Any:
    """Halves the last sample of floating-point inputs, so that it differs in range."""

    def grade(tensor: Tensor) -> Tensor:
        return torch.cat([tensor[:-1], tensor[-1:] / 2]) if tensor.ndim else tensor

    return _change_floats(grade, inputs)


def make_other(inputs: Mapping[str, Any]) -> Any:
    """Makes other inputs of the same shapes: floating-point tensors are scaled and shifted."""
    return _change_floats(lambda tensor: tensor * 0.5 + 0.1, inputs)


def make_constant(inputs: Mapping[str, Any]) -> Any:
    """Makes inputs of the same shapes whose first sample is 0 and whose others are 0.5."""

    def fill(tensor: Tensor) -> Tensor:
        if not tensor.ndim:
            return tensor
        return torch.cat([torch.zeros_like(tensor[:1]), torch.full_like(tensor[1:], 0.5)])

    return _change_floats(fill, inputs)


def _change_floats(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return change(value) if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: _change_floats(change, inner) for key, inner in value.items()}
    return value


class Surroundings:
    """Containers that a module's calls may fill: its own, those of its class and of its file.

    Args:
        module: with all modules within it; those of installed libraries have none.
    """

    def __init__(self, module: nn.Module) -> None:
        owners: dict[int, Any] = {}
        for inner in module.modules():
            file = sys.modules.get(type(inner).__module__)
            if 'site-packages' not in (getattr(file, '__file__', None) or ''):
                owners |= {id(owner): owner for owner in (inner, type(inner), file)}
        self._held = [
            (name, owner, value, value.copy())
            for owner in owners.values()
            if owner is not None
            for name, value in vars(owner).items()
            if type(value) in (list, dict, set) and name not in _OF_MODULES
            if not name.startswith('__')
        ]

    def restore(self) -> None:
        """Takes out what calls added to classes and files, as a new process would have them."""
        for _, owner, value, copied in self._held:
            if isinstance(owner, nn.Module) or len(value) <= len(copied):
                continue
            if isinstance(value, list):
                del value[len(copied) :]
            for entry in [] if isinstance(value, list) else [e for e in value if e not in copied]:
                value.pop(entry) if isinstance(value, dict) else value.discard(entry)

    def measure_sizes(self) -> dict[tuple[str, int], int]:
        """Counts the entries of each container."""
        return {(name, id(value)): len(value) for name, _, value, _ in self._held}


def find_growth(sizes: list[dict[tuple[str, int], int]]) -> Iterator[str]:
    """Compares the sizes of containers between calls: one that grew each time never ends."""
    for key in sizes[0]:
        counts = [size.get(key, 0) for size in sizes]
        if all(later > earlier for earlier, later in zip(counts, counts[1:])):
            yield (
                f'adds to {key[0]!r} with each call, which keeps every batch in memory until it is '
                'full; keep the last one alone, or none'
            )


def find_state_faults(
    module: nn.Module,
    other: nn.Module,
    build: Callable[[], nn.Module],
    inputs: Mapping[str, Any],
    expected: Any,
) -> Iterator[str]:
    """Finds faults of a module that takes the state of another, and that has seen other inputs."""

    def restore(restored: nn.Module) -> nn.Module:
        buffer = io.BytesIO()
        torch.save(module.state_dict(), buffer)
        buffer.seek(0)
        restored.load_state_dict(torch.load(buffer, weights_only=True))
        return restored.eval()

    call_component(restore(other), make_other(copy_values(inputs)))
    if are_equal(call_component(other, copy_values(inputs)), expected):
        return
    if are_equal(call_component(restore(build()), copy_values(inputs)), expected):
        yield (
            'gives another result of an input after a call with another input; keep nothing of '
            'one call for the next'
        )
    else:
        yield (
            'gives another result after its state was saved and loaded; keep all that the '
            'result depends on as parameters and buffers'
        )


def find_device_faults(module: nn.Module, inputs: Mapping[str, Any]) -> Iterator[str]:
    """Moves a module to another device; all that its forward needs must be there."""
    try:
        call_component(module.to(META), copy_values(inputs, device=META))
    except RuntimeError as error:
        # The meta device cannot do all that others can: only a mixture of devices is a fault.
        if 'meta' in str(error) and 'cpu' in str(error) and 'device' in str(error):
            failure = explain_failure(error)
            yield (
                f'{failure.message if failure else "fails"} once it was moved to another device; '
                'register constants with register_buffer, and make tensors on the device of the '
                'input: torch.ones(..., device=x.device)'
            )
    except Exception:  # it needs values
        return
