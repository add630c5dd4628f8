"""Guards of a run: they notice tensors that are changed in place, and faults at the first batch.

Torch counts the changes of each tensor, so that comparing counts costs a microsecond per tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from toolkit.errors import ComponentRunError
from toolkit.registry import locate_source
from toolkit.registry.built import recall
from toolkit.testing.contract import list_tensors
from toolkit.testing.observe import (
    Observer,
    describe_unreached,
    find_reached,
    find_unreached,
)

# Types of the values of `meta`, of which a large batch has thousands.
PLAIN = frozenset((str, int, float, bool, type(None)))


@contextmanager
def keep_unchanged(values: Mapping[str, Any], component: Any) -> Iterator[None]:
    """Context in which a component must not change tensors in place.

    Args:
        values: a batch or outputs, by name.
        component: that gets them.
    Raises:
        ComponentRunError: it changed one.
    """
    found: list[torch.Tensor] = []
    _collect_tensors(values, found)
    before = [(tensor, tensor._version) for tensor in found if not tensor.is_inference()]
    yield
    for tensor, version in before:
        if tensor._version != version:
            # Names are made here alone: making those of each `meta` would take milliseconds.
            name = next((name for name, t in list_tensors(values) if t is tensor), 'its input')
            raise make_run_error(
                component,
                f'changes {name!r} in place, which others read too; work on a copy: '
                '`x = x.clone()`',
            )


def _collect_tensors(value: Any, found: list[torch.Tensor]) -> None:
    """Adds the tensors that `list_tensors` lists, without their names."""
    if isinstance(value, torch.Tensor):
        found.append(value)
    elif isinstance(value, (list, tuple, dict, Mapping)):
        for inner in value if isinstance(value, (list, tuple)) else value.values():
            if type(inner) not in PLAIN:
                _collect_tensors(inner, found)


@contextmanager
def watch_first(system: Any) -> Iterator[Observer]:
    """Context of the first batch of a loop, in which the components are held to their contracts.

    Raises:
        ComponentRunError: the first fault.
    """
    observer = Observer(system)
    try:
        with observer:
            yield observer
    except Exception as error:
        if not observer.faults or isinstance(error, ComponentRunError):
            raise
    if observer.faults:
        fault = observer.faults[0]
        raise ComponentRunError(fault.path, fault.text)


def reaches_parameters(system: torch.nn.Module, total: torch.Tensor) -> bool:
    """Tells whether a backward from a loss reaches a parameter to be trained.

    True also where a part of the graph cannot be seen.
    """
    if not total.requires_grad:
        return False
    reached = find_reached(total)
    return reached is None or any(id(p) in reached for p in system.parameters() if p.requires_grad)


def list_unreached(observer: Observer, total: torch.Tensor) -> list[str]:
    """Lists, one line each, components with parameters that no gradient of a batch reaches."""
    lines = []
    for component, names in find_unreached(observer, total):
        record = recall(component)
        path = f'{record.path}: ' if record else ''
        name = type(component).__name__
        lines.append(f'{path}{name} {describe_unreached(component, names)}')
    return lines


def make_run_error(component: Any, message: str) -> ComponentRunError:
    """Makes the error of a component that runs, with its path, file and line."""
    record, cls = recall(component), type(component)
    text = f'{cls.__name__} ({locate_source(cls)}) {message}'
    return ComponentRunError(record.path if record else '', text)
