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
from toolkit.testing.observe import Observer, describe_unreached, find_unreached


@contextmanager
def keep_unchanged(values: Mapping[str, Any], component: Any) -> Iterator[None]:
    """Context in which a component must not change tensors in place.

    Args:
        values: a batch or outputs, by name.
        component: that gets them.
    Raises:
        ComponentRunError: it changed one.
    """
    before = [(name, t, t._version) for name, t in list_tensors(values) if not t.is_inference()]
    yield
    for name, tensor, version in before:
        if tensor._version != version:
            raise make_run_error(
                component,
                f'changes {name!r} in place, which others read too; work on a copy: '
                '`x = x.clone()`',
            )


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
