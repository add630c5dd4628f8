"""Checks of a component on real values: finite, repeatable, restorable, inputs left unchanged."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.registry.contracts import find_contract
from toolkit.testing.contract import list_tensors
from toolkit.testing.observe import (
    DETACHED,
    describe_changed,
    describe_new_state,
    describe_unreached,
    find_reached,
    is_detached,
)


def find_module_faults(
    make: Callable[[], nn.Module], inputs: Mapping[str, Any], trains: bool = True
) -> Iterator[str]:
    """Finds the faults of a module on inputs with real values.

    Args:
        make: builds the module, with other weights each time.
        inputs: of its `forward`, by name; left as they are.
        trains: a gradient must reach all parameters to be trained.
    """
    module = make()
    contract = find_contract(type(module))
    if contract is not None:
        contract.prepare(module)
    yield from find_hidden_layers(module)
    before, given = list(module.state_dict()), copy_values(inputs)
    versions = {name: (tensor, tensor._version) for name, tensor in list_tensors(given)}
    module.train()
    output = module(**given)
    for name, fresh in list_tensors(dict(inputs)):
        used, version = versions[name]
        if used._version != version or not torch.equal(used, fresh):
            yield describe_changed(name)
    if added := [name for name in module.state_dict() if name not in before]:
        yield describe_new_state(added[0])
        return
    if contract is not None:
        yield from contract.find_call_faults(module, given, output)
    floats = [t for _, t in list_tensors(output) if t.is_floating_point()]
    if not all(torch.isfinite(t).all() for t in floats):
        yield 'gives values that are not finite (NaN or infinite) of random inputs'
    if is_detached(module, output):
        yield DETACHED
    elif trains and floats:
        yield from _find_gradient_faults(module, floats)
    yield from _find_repetition_faults(module, make, contract, inputs)


def find_hidden_layers(module: nn.Module) -> Iterator[str]:
    """Finds layers and parameters in plain lists and dicts, which torch does not see."""
    known = {id(m) for m in module.modules()} | {id(p) for p in module.parameters()}
    for inner in module.modules():
        for name, value in vars(inner).items():
            if name in ('_modules', '_parameters', '_buffers') or name.startswith('_forward'):
                continue
            entries = value.values() if isinstance(value, dict) else value
            if not isinstance(value, (list, tuple, dict)):
                continue
            if any(
                isinstance(e, (nn.Module, nn.Parameter)) and id(e) not in known for e in entries
            ):
                yield (
                    f'keeps layers in {name!r}, a plain {type(value).__name__}: no optimizer '
                    'trains them and no checkpoint saves them; use nn.ModuleList, nn.ModuleDict or '
                    'nn.ParameterList'
                )


def copy_values(inputs: Any) -> Any:
    """Copies nested inputs; floating-point tensors get a gradient."""
    if isinstance(inputs, Tensor):
        copied = inputs.detach().clone()
        if not copied.is_floating_point():
            return copied
        return copied.requires_grad_() * 1  # not a leaf, so that it can be changed in place
    if isinstance(inputs, Mapping):
        return {key: copy_values(value) for key, value in inputs.items()}
    return inputs


def _find_gradient_faults(module: nn.Module, outputs: list[Tensor]) -> Iterator[str]:
    total = sum(((t * torch.rand_like(t)).sum() for t in outputs), torch.zeros(()))
    reached = find_reached(total)
    if reached is None:
        return
    trained = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    if names := [name for name, p in trained if id(p) not in reached]:
        yield describe_unreached(module, names)
    torch.autograd.backward(total)
    if any(p.grad is not None and not torch.isfinite(p.grad).all() for _, p in trained):
        yield 'has gradients that are not finite (NaN or infinite) of random inputs'


def _find_repetition_faults(
    module: nn.Module, make: Callable[[], nn.Module], contract: Any, inputs: Mapping[str, Any]
) -> Iterator[str]:
    module.eval()
    with torch.no_grad():
        first, second = module(**copy_values(inputs)), module(**copy_values(inputs))
        if not _are_equal(first, second):
            yield (
                'gives two results of one input in evaluation mode; use random numbers only while '
                '`self.training`, and change no state in an evaluation'
            )
            return
        other, buffer = make(), io.BytesIO()
        if contract is not None:
            contract.prepare(other)
        torch.save(module.state_dict(), buffer)
        buffer.seek(0)
        other.load_state_dict(torch.load(buffer, weights_only=True))
        if not _are_equal(other.eval()(**copy_values(inputs)), first):
            yield (
                'gives another result after its state was saved and loaded; keep all that the '
                'result depends on as parameters and buffers'
            )


def _are_equal(first: Any, second: Any) -> bool:
    ones, others = dict(list_tensors(first)), dict(list_tensors(second))
    return ones.keys() == others.keys() and all(
        torch.equal(t.nan_to_num(), others[name].nan_to_num())
        if t.shape == others[name].shape
        else False
        for name, t in ones.items()
    )
