"""Holds every component of a config's system to its contract, mostly without memory for values."""

from __future__ import annotations

import functools
import operator
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.interfaces import System
from toolkit.registry.build import ComponentFactory
from toolkit.registry.built import recall
from toolkit.registry.component_errors import explain_failure
from toolkit.registry.contracts import find_contract
from toolkit.testing.contract import Fault, list_tensors
from toolkit.testing.network_size import limit_size
from toolkit.testing.observe import (
    DETACHED,
    Observer,
    describe_unreached,
    find_unreached,
    list_components,
)
from toolkit.testing.values import find_hidden_layers, find_module_faults


@dataclass(frozen=True)
class SystemCheck:
    """Result of a check.

    Args:
        system: that was checked.
        device: where it is: 'meta', or 'cpu' if it needs values.
        faults: of its components, in the order in which they were found.
    """

    system: System
    device: str
    faults: list[Fault]


def check_system(model: ComponentFactory) -> SystemCheck:
    """Runs a system once as a training would, losses included, and finds the faults of components.

    The system runs on the meta device: shapes, gradients, changed inputs and new state show there.
    Where it needs values it runs on the CPU. Components of moderate size are then built once more
    and run on random values.

    Args:
        model: the config's `model`.
    Raises:
        ToolkitError: a component cannot be built.
        Exception: that of code outside components.
    """
    with torch.device('meta'), limit_size():
        system: System = model()
    if faults := _find_hidden_layers(system):
        return SystemCheck(system, 'meta', faults)
    device, observer = 'meta', Observer(system)
    try:
        with torch.device('meta'):
            _observe(observer)
    except Exception:  # the meta device cannot do all that the CPU can; the CPU's error counts
        device, system = 'cpu', model()
        observer = Observer(system)
    try:
        if device == 'cpu':
            _observe(observer)
        faults = observer.faults or [*_find_value_faults(observer)]
    except Exception as error:
        if (failure := explain_failure(error)) is None:
            raise
        faults = [Fault(failure.path, failure.component, failure.message)]
    return SystemCheck(system, device, faults)


def _find_hidden_layers(system: System) -> list[Fault]:
    for component in sorted(list_components(system), key=lambda c: sum(1 for _ in c.modules())):
        for message in find_hidden_layers(component):
            return [_make_fault(component, message)]
    return [_make_fault(system, message) for message in find_hidden_layers(system)]


def _observe(observer: Observer) -> None:
    """Runs a system in training mode; an error after a fault is its consequence."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of what the faults say more about
        try:
            _run_observed(observer)
        except Exception:
            if not observer.faults:
                raise


def _run_observed(observer: Observer) -> None:
    system: System = observer.system
    system.train()
    for component in list_components(system):
        if contract := find_contract(type(component)):
            contract.prepare(component)
    system.start_epoch(0)
    with observer:
        terms = system(system.training_example(), mode='loss')
        if not terms:  # a method without losses, which is not trained
            terms = dict(list_tensors(system(system.training_example())))
    total = _sum_terms(terms)
    if not observer.faults and any(p.requires_grad for p in system.parameters()):
        if total is None or not total.requires_grad:
            observer.add(system, f'gives losses that no parameter has a part in: it {DETACHED}')
            return
        for component, names in find_unreached(observer, total):
            observer.add(component, describe_unreached(component, names))


def _sum_terms(terms: Any) -> Tensor | None:
    if not isinstance(terms, Mapping):
        return None
    sums = [t.sum() for t in terms.values() if isinstance(t, Tensor) and t.is_floating_point()]
    return functools.reduce(operator.add, sums) if sums else None


def _find_value_faults(observer: Observer) -> Iterator[Fault]:
    done = set()
    for component, inputs in observer.inputs.items():
        record = recall(component)
        if record is None or record.path in done:
            continue
        done.add(record.path)
        contract = find_contract(type(component))
        if contract is None or _count_parameters(component) > contract.largest:
            continue
        make = functools.partial(record.factory, **record.injected)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            trains = component in observer.outputs and any(
                p.requires_grad for p in component.parameters()
            )
            messages = list(find_module_faults(make, make_random(inputs), trains))
            if not messages:
                messages = list(contract.find_value_faults(make()))
        for message in messages:
            yield _make_fault(component, message)


def make_random(value: Any) -> Any:
    """Makes tensors of the same shapes and dtypes on the CPU: from 0 to 1, integers 0."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            return torch.rand(value.shape, dtype=value.dtype, device='cpu')
        return torch.zeros(value.shape, dtype=value.dtype, device='cpu')
    if isinstance(value, Mapping):
        return {key: make_random(inner) for key, inner in value.items()}
    return value


def _make_fault(component: nn.Module, message: str) -> Fault:
    record = recall(component)
    return Fault(record.path if record else '', type(component), message)


def _count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
