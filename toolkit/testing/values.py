"""Checks of a component on real values: finite, repeatable, restorable, inputs left unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from toolkit.registry.contracts import find_contract
from toolkit.testing.contract import are_equal, copy_values, list_tensors
from toolkit.testing.independence import (
    Surroundings,
    find_batch_faults,
    find_device_faults,
    find_growth,
    find_seed_fault,
    find_state_faults,
    grade_samples,
    make_constant,
    run_seeded,
    watch_settings,
)
from toolkit.testing.observe import (
    DETACHED,
    call_component,
    describe_changed,
    describe_new_state,
    describe_unreached,
    find_reached,
    is_detached,
)


def find_module_faults(
    make: Callable[[], nn.Module], inputs: Mapping[str, Any], trains: bool = True
) -> Iterator[str]:
    """Finds the faults of a module on inputs with real values, up to the first trial that has one.

    Args:
        make: builds the module, with other weights each time.
        inputs: of its `forward`, by name; left as they are.
        trains: a gradient must reach all parameters to be trained.
    """
    found: list[str] = []
    with watch_settings(found):
        for faults in _run_trials(make, inputs, trains):
            found += faults
            if found:
                break
    yield from found


def _run_trials(
    make: Callable[[], nn.Module], inputs: Mapping[str, Any], trains: bool
) -> Iterator[list[str]]:
    """Runs a module in several ways; yields the faults of each."""

    def build() -> nn.Module:
        module = make()
        if contract := find_contract(type(module)):
            contract.prepare(module)
        return module

    (module, after), (other, after_other) = run_seeded(build, 1), run_seeded(build, 2)
    yield [*find_seed_fault('constructor', after, after_other)]
    yield [*find_hidden_layers(module), *_find_construction_faults(module, other)]
    surroundings = Surroundings(module)
    yield [*_find_training_faults(module, inputs, trains)]
    yield [*_find_constant_faults(module, inputs)]
    contract = find_contract(type(module))
    if contract is not None and contract.by_sample:
        inputs = grade_samples(inputs)
    module.eval()
    with torch.no_grad():
        sizes = [surroundings.measure_sizes()]
        results = []
        for seed in (1, 2):
            results.append(run_seeded(lambda: _evaluate(module, inputs), seed))
            sizes.append(surroundings.measure_sizes())
        ((first, changed), after), ((second, _), after_other) = results
        yield [*changed, *find_seed_fault('forward', after, after_other), *find_growth(sizes)]
        yield [*_find_evaluation_faults(module, inputs, first, second)]
        surroundings.restore()
        yield [*find_state_faults(module, other, build, inputs, first)]
        yield [*find_device_faults(other, inputs)]


def _evaluate(module: nn.Module, inputs: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Calls a module without gradients; returns the result, and faults of changed inputs."""
    given = copy_values(inputs, gradient=False)
    output = call_component(module, given)
    fresh = dict(list_tensors(dict(inputs)))
    changed = [n for n, tensor in list_tensors(given) if not torch.equal(tensor, fresh[n])]
    return output, [describe_changed(name) for name in changed]


def _find_construction_faults(module: nn.Module, other: nn.Module) -> Iterator[str]:
    """Finds faults that two modules of one class show before they are called."""
    lazy = [name for name, parameter in module.named_parameters() if is_lazy(parameter)]
    if lazy:
        yield (
            f'has the parameter {lazy[0]!r} without a shape before its first forward, which no '
            'optimizer, count or checkpoint can take; give its layer the number of channels'
        )
    own = {id(parameter) for parameter in other.parameters()}
    shared = [name for name, parameter in module.named_parameters() if id(parameter) in own]
    if shared:
        yield (
            f'shares the parameter {shared[0]!r} with each other one of its class: it was made '
            'once, as a default or an attribute of the class; make it in the constructor'
        )


def _find_training_faults(
    module: nn.Module, inputs: Mapping[str, Any], trains: bool
) -> Iterator[str]:
    contract = find_contract(type(module))
    before, given = list(module.state_dict()), copy_values(inputs)
    weights = [(n, p, p.detach().clone()) for n, p in module.named_parameters()]
    versions = {name: (tensor, tensor._version) for name, tensor in list_tensors(given)}
    module.train()
    output = call_component(module, given)
    for name, fresh in list_tensors(dict(inputs)):
        used, version = versions[name]
        if used._version != version or not torch.equal(used, fresh):
            yield describe_changed(name)
    if added := [name for name in module.state_dict() if name not in before]:
        yield describe_new_state(added[0])
        return
    if changed := [name for name, parameter, old in weights if not torch.equal(parameter, old)]:
        yield (
            f'changes its parameter {changed[0]!r} in its forward, beside the optimizer; keep what '
            'a forward changes in a buffer'
        )
    if contract is not None:
        yield from contract.find_call_faults(module, given, output)
    floats = [t for _, t in list_tensors(output) if t.is_floating_point()]
    if not all(torch.isfinite(t).all() for t in floats):
        yield 'gives values that are not finite (NaN or infinite) of random inputs'
    if is_detached(module, output):
        yield DETACHED
    elif floats:
        yield from _find_gradient_faults(module, given, floats, trains)


def _find_gradient_faults(
    module: nn.Module, given: Mapping[str, Any], outputs: list[Tensor], trains: bool
) -> Iterator[str]:
    total = _sum_outputs(outputs)
    reached = find_reached(total)
    if reached is None:
        return
    trained = [(n, p) for n, p in module.named_parameters() if p.requires_grad and trains]
    if names := [name for name, p in trained if id(p) not in reached]:
        yield describe_unreached(module, names)
    known = {id(p) for p in module.parameters()}
    known |= {key for _, t in list_tensors(given) for key in find_reached(t) or ()}
    if strange := [tensor for key, tensor in reached.items() if key not in known]:
        yield (
            f'computes with a tensor {tuple(strange[0].shape)} that takes a gradient and is no '
            'parameter of it: no optimizer trains it and no checkpoint saves it; make it an '
            'nn.Parameter or a layer, as an attribute'
        )
        return
    gradients = _differentiate(total, given, [p for _, p in trained])
    if not all(torch.isfinite(gradient).all() for gradient in gradients):
        yield 'has gradients that are not finite (NaN or infinite) of random inputs'
    own = _differentiate(total, {}, [p for _, p in trained])
    if trained and not any(gradient.any() for gradient in own):
        yield (
            'has a gradient of 0 for each of its parameters, of random inputs: it would stay as '
            'it is; look for a factor of 0, a clamp or a unit that is never active'
        )


def _find_constant_faults(module: nn.Module, inputs: Mapping[str, Any]) -> Iterator[str]:
    """Runs a module on a sample of zeros and others of 0.5, as nodata and shadows are."""
    given = copy_values(make_constant(inputs))
    outputs = [t for _, t in list_tensors(call_component(module, given)) if t.is_floating_point()]
    rule = (
        'of a sample of zeros or of equal values, as black and saturated areas are; divide by no '
        'deviation, norm or sum, and take no root or logarithm, without a small number added'
    )
    if not all(torch.isfinite(t).all() for t in outputs):
        yield f'gives values that are not finite (NaN or infinite) {rule}'
        return
    total = _sum_outputs(outputs)
    if not total.requires_grad or find_reached(total) is None:
        return
    gradients = _differentiate(total, given, [p for p in module.parameters() if p.requires_grad])
    if not all(torch.isfinite(gradient).all() for gradient in gradients):
        yield f'has gradients that are not finite (NaN or infinite) {rule}'


def _sum_outputs(outputs: list[Tensor]) -> Tensor:
    return sum(((t * torch.rand_like(t)).sum() for t in outputs), torch.zeros(()))


def _differentiate(
    total: Tensor, given: Mapping[str, Any], parameters: list[nn.Parameter]
) -> list[Tensor]:
    """Computes the gradients of inputs and parameters, as far as there are any."""
    tensors = [*(t for _, t in list_tensors(given) if t.requires_grad), *parameters]
    if not tensors or not total.requires_grad:
        return []
    found = torch.autograd.grad(total, tensors, retain_graph=True, allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


def _find_evaluation_faults(
    module: nn.Module, inputs: Mapping[str, Any], first: Any, second: Any
) -> Iterator[str]:
    if not are_equal(first, second):
        yield (
            'gives two results of one input in evaluation mode; use random numbers only while '
            '`self.training`, and change no state in an evaluation'
        )
        return
    floats = [t for _, t in list_tensors(first) if t.is_floating_point()]
    if not all(torch.isfinite(t).all() for t in floats):
        yield 'gives values that are not finite (NaN or infinite) in evaluation mode'
    elif contract := find_contract(type(module)):
        faults = list(contract.find_call_faults(module, inputs, first))
        yield from faults or (
            find_batch_faults(module, inputs, first) if contract.by_sample else ()
        )


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
