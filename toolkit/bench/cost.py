"""Output shapes, parameters and MACs of a system's components, without real memory."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from toolkit.interfaces import System
from toolkit.io.tables.formatting import NO_BREAK, format_text_table
from toolkit.registry import get_kinds
from toolkit.registry.build import ComponentFactory
from toolkit.testing.network_size import limit_size

# Characters of a line when the output is not a terminal.
LINE_WIDTH = 120


@dataclass(frozen=True)
class ComponentCost:
    """Costs of one component of a system.

    Attributes:
        name: dotted path in the system; '' for the system itself.
        type: name of the class.
        shape: shape of the output.
        parameters: number of parameters.
        macs: multiply-accumulates of matrix products, convolutions and attention for a batch of
            one, as torch's FlopCounterMode counts them (two FLOPs each).
    """

    name: str
    type: str
    shape: str
    parameters: int
    macs: int


def measure_costs(model: ComponentFactory, size: int | None = None) -> list[ComponentCost]:
    """Builds a system on the meta device and runs it once to find the costs of its components.

    Args:
        model: the config's `model`.
        size: height and width of the input in pixels; None for the system's own example.
    Returns:
        The system's costs, then those of its components.
    """
    with torch.device('meta'), limit_size():
        system = model()
    return measure_system_costs(system, size)


def measure_system_costs(
    system: System, size: int | None = None, device: str = 'meta'
) -> list[ComponentCost]:
    """Runs a system once to find the costs of its components.

    Args:
        system: on `device`.
        size: height and width of the input in pixels; None for the system's own example.
        device: 'meta' computes nothing but shapes; 'cpu' is for systems that need values.
    Returns:
        The system's costs, then those of its components.
    """
    with torch.device(device):
        system.eval()
        components = dict(_list_components(system))
        shapes: dict[str, str] = {}
        handles = [
            module.register_forward_hook(_make_shape_hook(shapes, name))
            for name, module in components.items()
        ]
        try:
            flops = _count_flops(system, size)
        finally:
            for handle in handles:
                handle.remove()
    with torch.device(device), torch.no_grad():
        output = system(system.example(1, size), mode='predict')
    root = type(system).__name__
    costs = [
        ComponentCost('', root, _format_shape(output), _count_parameters(system), _sum_macs(flops))
    ]
    for name, module in components.items():
        if name not in shapes and not _count_parameters(module):
            continue  # a loss term that only training calls
        macs = sum(flops.get(f'{root}.{name}', {}).values()) // 2
        shape = shapes.get(name, 'not used in a forward')
        parameters = _count_parameters(module)
        costs.append(ComponentCost(name, type(module).__name__, shape, parameters, macs))
    return costs


def count_parameters_and_macs(system: System) -> tuple[int, int]:
    """Counts parameters and MACs of a system on the meta device, as `measure_costs` does."""
    system.eval()
    with torch.device('meta'):
        flops = _count_flops(system, None)
    return _count_parameters(system), _sum_macs(flops)


def format_costs(costs: Iterable[ComponentCost], width: int | None = None) -> str:
    """Formats costs as an aligned table.

    Args:
        costs: from `measure_costs`.
        width: characters of a line, beyond which shapes are wrapped; None for the terminal's.
    """
    if width is None:
        width = shutil.get_terminal_size((LINE_WIDTH, 24)).columns
    rows = [('component', 'class', 'output', 'parameters', 'MACs')] + [
        (
            f'model{"." if cost.name else ""}{cost.name}',
            cost.type,
            re.sub(r' (?=[(\d])', NO_BREAK, cost.shape),  # a line break never splits a shape
            f'{cost.parameters:,}',
            f'{cost.macs:,}',
        )
        for cost in costs
    ]
    return format_text_table(rows, left=3, width=width)


def compare_costs(before: ComponentFactory, after: ComponentFactory) -> str:
    """Formats parameters and MACs of two systems beside each other."""
    first, second = measure_costs(before)[0], measure_costs(after)[0]
    return '\n'.join(
        [
            f'parameters: {first.parameters:,} -> {second.parameters:,}',
            f'MACs: {first.macs:,} -> {second.macs:,}',
        ]
    )


def _count_flops(system: System, size: int | None) -> dict[str, dict[Any, int]]:
    """Counts FLOPs by module name ('Global' for all modules) and operation."""
    # The counter hooks into the gradients of arguments, which a parameter as an argument has not.
    trained = [p for p in system.parameters() if p.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        # The counter does not know the fused attention of a CPU, and leaves it out.
        counter = FlopCounterMode(display=False)
        with sdpa_kernel(SDPBackend.MATH), torch.no_grad(), counter:
            system(system.example(1, size), mode='tensor')
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
    return counter.get_flop_counts()


def _sum_macs(flops: dict[str, dict[Any, int]]) -> int:
    return sum(flops.get('Global', {}).values()) // 2


def _list_components(system: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """Yields the submodules that are instances of a registered class, with their names."""
    registered = {cls for kind in get_kinds().values() for cls in kind.module_dict.values()}
    for name, module in system.named_modules():
        if name and type(module) in registered:
            yield name, module


def _make_shape_hook(shapes: dict[str, str], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def record_shape(module: nn.Module, inputs: Any, output: Any) -> None:
        shapes.setdefault(name, _format_shape(output))

    return record_shape


def _format_shape(output: Any) -> str:
    if isinstance(output, Tensor):
        return '(' + ', '.join(map(str, output.shape)) + ')'
    if isinstance(output, dict):
        return ', '.join(f'{key} {_format_shape(value)}' for key, value in output.items())
    if isinstance(output, (list, tuple)):
        return ', '.join(_format_shape(value) for value in output)
    return type(output).__name__


def _count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
