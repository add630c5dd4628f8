"""Watches the calls of a system's components and holds them to their contracts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.errors import list_few
from toolkit.registry import get_kinds
from toolkit.registry.built import recall
from toolkit.registry.contracts import find_contract
from toolkit.testing.contract import Fault, list_tensors


class Observer:
    """Context in which the calls of a system's components are watched.

    Args:
        system: whose components are watched.
    Attributes:
        faults: found in the calls and after them.
        inputs: of the last call of each component, by name.
        outputs: of the last call of each component.
        current: component that is being called; None outside a call, and the innermost one that
            raised an error.
    """

    def __init__(self, system: Any) -> None:
        self.system = system
        self.faults: list[Fault] = []
        self.inputs: dict[nn.Module, dict[str, Any]] = {}
        self.outputs: dict[nn.Module, Any] = {}
        self._versions: dict[nn.Module, list[tuple[str, Tensor, int]]] = {}
        self._handles: list[Any] = []
        self._names: set[str] = set()

    def __enter__(self) -> Observer:
        self._names = set(self.system.state_dict())
        for component in list_components(self.system):
            self._handles += [
                component.register_forward_pre_hook(self._before, with_kwargs=True),
                component.register_forward_hook(self._after, with_kwargs=True),
            ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        if error is None:
            self._find_new_state()

    def add(self, component: Any, message: str) -> None:
        """Adds a fault once."""
        record = recall(component)
        fault = Fault(record.path if record else '', type(component), message)
        if fault not in self.faults:
            self.faults.append(fault)

    def _before(self, component: nn.Module, args: Any, kwargs: Any) -> None:
        inputs = bind_inputs(component, args, kwargs)
        self.inputs[component] = inputs
        self._versions[component] = [
            (name, tensor, tensor._version)
            for name, tensor in list_tensors(inputs)
            if not tensor.is_inference()
        ]

    def _after(self, component: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self.outputs[component] = output
        inputs = self.inputs[component]
        for name, tensor, version in self._versions.pop(component, []):
            if tensor._version != version:
                self.add(component, describe_changed(name))
        if contract := find_contract(type(component)):
            for message in contract.find_call_faults(component, inputs, output):
                self.add(component, message)
        if torch.is_grad_enabled() and is_detached(component, output):
            self.add(component, DETACHED)

    def _find_new_state(self) -> None:
        names = set(self.system.state_dict()) - self._names
        for component in sorted(list_components(self.system), key=_count_modules):
            own = {id(module): name for name, module in self.system.named_modules()}
            prefix = f'{own[id(component)]}.'
            if found := sorted(n for n in names if n.startswith(prefix)):
                self.add(component, describe_new_state(found[0].removeprefix(prefix)))
                names -= set(found)
        for name in sorted(names):
            self.add(self.system, describe_new_state(name))


DETACHED = (
    'has parameters to train, but its output is detached from them (detach, no_grad, item, numpy '
    'or a new tensor): no gradient reaches any parameter; compute the output with torch alone, or '
    'freeze the parameters with requires_grad_(False)'
)


def describe_changed(name: str) -> str:
    """Describes an input that was changed in place."""
    return (
        f'changes its input {name!r} in place, which other components, losses and caches read too; '
        'work on a copy: `x = x.clone()`, or use the operation without the underscore'
    )


def describe_new_state(name: str) -> str:
    """Describes a parameter or buffer that a forward made."""
    return (
        f'makes {name!r} in its forward: no optimizer trains it and no checkpoint restores it; '
        'make parameters and buffers in the constructor'
    )


def list_components(system: nn.Module) -> list[nn.Module]:
    """Lists the modules of a system, itself left out, whose class is registered in a kind."""
    registered = {cls for kind in get_kinds().values() for cls in kind.module_dict.values()}
    return [m for m in system.modules() if m is not system and type(m) in registered]


def bind_inputs(component: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Names the inputs of a call by the signature of `forward`."""
    try:
        bound = inspect.signature(component.forward).bind(*args, **kwargs)
    except TypeError:  # the call itself will raise the error
        return {}
    if list_forward_names(component) is None:  # a decorator hides the names
        return {**{f'input {n}': value for n, value in enumerate(args, 1)}, **kwargs}
    return dict(bound.arguments)


def list_forward_names(component: nn.Module) -> list[str] | None:
    """Lists the names of the inputs of `forward`; None if it takes any (`*args`)."""
    parameters = inspect.signature(component.forward).parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        return None
    return [parameter.name for parameter in parameters]


def call_component(component: nn.Module, inputs: Mapping[str, Any]) -> Any:
    """Calls a component with named inputs; in their order where its `forward` hides its names."""
    if list_forward_names(component) is None:
        return component(*inputs.values())
    return component(**inputs)


def is_detached(component: nn.Module, output: Any) -> bool:
    """Tells whether a component has parameters to train and an output without a gradient."""
    tensors = [t for _, t in list_tensors(output) if t.is_floating_point()]
    if not tensors or any(t.requires_grad for t in tensors):
        return False
    return any(p.requires_grad for p in component.parameters())


def find_reached(total: Tensor) -> dict[int, Tensor] | None:
    """Finds the leaves, such as parameters, that a backward from a tensor would reach.

    Returns:
        They by their ids; None if a part of the graph cannot be seen.
    """
    found = {}
    for node in _walk_graph(total):
        if node.name() == 'CheckpointFunctionBackward':  # it runs a graph of its own
            return None
        if hasattr(node, 'variable'):
            found[id(node.variable)] = node.variable
    return found


def passes_gradient(output: Tensor, value: Tensor) -> bool:
    """Tells whether a backward from an output would reach a tensor that it was computed of."""
    names = set()
    for node in _walk_graph(output):
        names.add(node.name())
        if node is value.grad_fn or getattr(node, 'variable', None) is value:
            return True
    return 'CheckpointFunctionBackward' in names


def _walk_graph(total: Tensor) -> Iterator[Any]:
    """Walks the operations of a graph, without running it."""
    seen, waiting = set(), [total.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [inner for inner, _ in node.next_functions]


def find_unreached(observer: Observer, total: Tensor) -> Iterator[tuple[nn.Module, list[str]]]:
    """Finds the parameters of called components that no gradient reaches.

    Yields:
        A component, and the names of such parameters in it. A component within it has its own.
    """
    if (reached := find_reached(total)) is None:
        return
    told: set[int] = set()
    components = [c for c in list_components(observer.system) if c in observer.outputs]
    for component in sorted(components, key=_count_modules):
        names = []
        for name, parameter in component.named_parameters():
            if (
                parameter.requires_grad
                and id(parameter) not in reached
                and id(parameter) not in told
            ):
                names.append(name)
                told.add(id(parameter))
        if names:
            yield component, names


def describe_unreached(component: nn.Module, names: list[str]) -> str:
    """Describes parameters that no gradient reaches."""
    shown = list_few(names, 4)
    return (
        f'has {len(names)} of {sum(1 for _ in component.parameters())} parameters that no gradient '
        f'reaches ({shown}): use them in the forward, remove them, or freeze them with '
        'requires_grad_(False)'
    )


def _count_modules(module: nn.Module) -> int:
    return sum(1 for _ in module.modules())
