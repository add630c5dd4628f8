"""Parts of a built system with their output shapes, parameters and MACs, without real memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from toolkit.interfaces import System
from toolkit.registry import get_kinds
from toolkit.registry.build import ComponentFactory


@dataclass(frozen=True)
class Row:
    """One part: its dotted name in the system, class, output shape, parameters and MACs.

    `macs` counts multiply-accumulates of matrix products, convolutions and attention for a batch
    of one, as torch's FlopCounterMode does (two FLOPs each).
    """

    name: str
    type: str
    shape: str
    parameters: int
    macs: int


def cost(model: ComponentFactory, size: int | None = None) -> list[Row]:
    """Build a system on the meta device, run it once, and list its parts; the system comes first.

    Args:
        model: the config's `model`.
        size: height and width of the input in pixels; None for the system's own example.
    """
    with torch.device('meta'):
        system: System = model()
        system.eval()
        parts = dict(_parts(system))
        shapes: dict[str, str] = {}
        handles = [
            module.register_forward_hook(_recorder(shapes, name)) for name, module in parts.items()
        ]
        try:
            flops = _flops(system, size)
        finally:
            for handle in handles:
                handle.remove()
    with torch.device('meta'), torch.no_grad():
        output = system(system.example(1, size), mode='predict')
    root = type(system).__name__
    rows = [Row('', root, _shape(output), _parameters(system), _total(flops))]
    for name, module in parts.items():
        if name not in shapes and not _parameters(module):
            continue  # a loss term that only training calls
        macs = sum(flops.get(f'{root}.{name}', {}).values()) // 2
        shape = shapes.get(name, 'not used in a forward')
        rows.append(Row(name, type(module).__name__, shape, _parameters(module), macs))
    return rows


def count(system: System) -> tuple[int, int]:
    """Parameters and MACs of a system on the meta device, as the first row of `cost` has them."""
    system.eval()
    with torch.device('meta'):
        flops = _flops(system, None)
    return _parameters(system), _total(flops)


def table(rows: Iterable[Row]) -> str:
    """The rows as aligned text."""
    cells = [('part', 'class', 'output', 'parameters', 'MACs')] + [
        (
            f'model{"." if r.name else ""}{r.name}',
            r.type,
            r.shape,
            f'{r.parameters:,}',
            f'{r.macs:,}',
        )
        for r in rows
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    return '\n'.join(
        '  '.join(
            cell.rjust(width) if i > 2 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in cells
    )


def _flops(system: System, size: int | None) -> dict[str, dict[Any, int]]:
    """By the names of modules, 'Global' for all, and by operation."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        system(system.example(1, size), mode='tensor')
    return counter.get_flop_counts()


def _total(flops: dict[str, dict[Any, int]]) -> int:
    return sum(flops.get('Global', {}).values()) // 2


def _parts(system: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """Submodules that are instances of a registered class."""
    registered = {cls for kind in get_kinds().values() for cls in kind.module_dict.values()}
    for name, module in system.named_modules():
        if name and type(module) in registered:
            yield name, module


def _recorder(shapes: dict[str, str], name: str) -> Any:
    def record(module: nn.Module, inputs: Any, output: Any) -> None:
        shapes.setdefault(name, _shape(output))

    return record


def _shape(output: Any) -> str:
    if isinstance(output, Tensor):
        return '(' + ', '.join(map(str, output.shape)) + ')'
    if isinstance(output, dict):
        return ', '.join(f'{k} {_shape(v)}' for k, v in output.items())
    if isinstance(output, (list, tuple)):
        return ', '.join(_shape(v) for v in output)
    return type(output).__name__


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def compare(before: ComponentFactory, after: ComponentFactory) -> str:
    """Parameters and MACs of two systems beside each other."""
    first, second = cost(before)[0], cost(after)[0]
    return '\n'.join(
        [
            f'parameters: {first.parameters:,} -> {second.parameters:,}',
            f'MACs: {first.macs:,} -> {second.macs:,}',
        ]
    )
