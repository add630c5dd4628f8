"""Contracts: the promises of an interface, and the faults that a component has by them."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from toolkit.registry import locate_source
from toolkit.registry.built import recall


@dataclass(frozen=True)
class Fault:
    """Something that a component does and its interface does not allow.

    Args:
        path: dotted path of the component in the config; '' if no config built it.
        component: its class.
        message: what was found, what is expected, what to do.
    """

    path: str
    component: type
    message: str

    @property
    def text(self) -> str:
        """The message with the class, and the file and line of its source."""
        return f'{self.component.__name__} ({locate_source(self.component)}) {self.message}'

    def __str__(self) -> str:
        return f'{self.path}: {self.text}' if self.path else self.text


class Contract(ABC):  # noqa: B024 - each method has a default
    """Promises of an interface.

    An interface names its contract: `contract = 'toolkit.testing.kinds.HeadContract'`. A plugin
    that declares a kind, or an interface below one, brings a contract with it.

    A contract states *is*, not *should*: its messages go on after the name of the component, as in
    `gives (2, 3) ...; a head gives (B, num_classes), here (2, 2)`.

    Attributes:
        largest: a component of a system with more parameters is not built a second time to be run
            on values.
        by_sample: in evaluation mode the result of a sample depends on that sample alone; the first
            axis of each input is the batch.
        is_pickled: worker processes may get a copy of a component that is no module.
    """

    largest: int = 10_000_000
    by_sample: bool = False
    is_pickled: bool = True

    def list_injected(self, cls: type) -> Sequence[dict[str, Any]]:
        """Lists arguments that parents may supply, for components that are checked alone."""
        return [{}]

    def make_inputs(self, component: Any, case: int, batch: int = 2) -> dict[str, Any] | None:
        """Makes random inputs of a component that is checked alone, by name.

        Args:
            component: built with one entry of `list_injected`.
            case: 0 or 1, for two sizes.
            batch: B.
        Returns:
            None if the interface does not know its inputs.
        """
        return None

    def prepare(self, component: Any) -> None:  # noqa: B027 - most have nothing to do
        """Prepares a component as a system does before it is trained."""

    def find_attribute_faults(self, component: Any) -> Iterator[str]:
        """Finds faults of the attributes that are known after construction."""
        yield from ()

    def find_call_faults(
        self, component: Any, inputs: Mapping[str, Any], output: Any
    ) -> Iterator[str]:
        """Finds faults of one call.

        Args:
            component: that was called.
            inputs: of its `forward`, by name.
            output: its result.
        """
        yield from ()

    def find_value_faults(self, component: Any) -> Iterator[str]:
        """Finds faults that only real values show; the component may be changed."""
        yield from ()


def get_injected(component: Any) -> Mapping[str, Any]:
    """Returns the arguments that a component's parent supplied; none if they are not known."""
    record = recall(component)
    return record.injected if record is not None else {}


def list_tensors(value: Any, name: str = '') -> Iterator[tuple[str, Tensor]]:
    """Lists the tensors in nested mappings and lists with their names."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from list_tensors(inner, f'{name}[{key!r}]' if name else str(key))
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from list_tensors(inner, f'{name}[{number}]')


def copy_values(inputs: Any, gradient: bool = True, device: torch.device | None = None) -> Any:
    """Copies nested inputs, to a device; floating-point tensors get a gradient where wanted."""
    if isinstance(inputs, Tensor):
        copied = inputs.detach().clone().to(device or inputs.device)
        if not gradient or not copied.is_floating_point():
            return copied
        return copied.requires_grad_() * 1  # not a leaf, so that it can be changed in place
    if isinstance(inputs, Mapping):
        return {key: copy_values(value, gradient, device) for key, value in inputs.items()}
    return inputs


def are_equal(first: Any, second: Any) -> bool:
    """Tells whether the tensors in nested values have the same names, shapes and values."""
    ones, others = dict(list_tensors(first)), dict(list_tensors(second))
    return ones.keys() == others.keys() and all(
        t.shape == others[name].shape and torch.equal(t.nan_to_num(), others[name].nan_to_num())
        for name, t in ones.items()
    )


def describe_inputs(inputs: Mapping[str, Any]) -> str:
    """Describes inputs for messages: `features (2, 8, 7, 7)`."""
    return ' and '.join(f'{name} {tuple(t.shape)}' for name, t in list_tensors(dict(inputs)))


def find_shape_fault(
    output: Any, expected: Sequence[int], inputs: Mapping[str, Any], rule: str
) -> Iterator[str]:
    """Compares the shape and dtype of an output with those that a rule asks for."""
    if not isinstance(output, Tensor):
        yield f'gives a {type(output).__name__}; {rule}'
    elif tuple(output.shape) != tuple(expected):
        yield (
            f'gives {tuple(output.shape)} of {describe_inputs(inputs)}; {rule}, '
            f'here {tuple(expected)}'
        )
    elif fault := find_dtype_fault(output, inputs):
        yield fault


def find_dtype_fault(output: Tensor, inputs: Mapping[str, Any]) -> str:
    """Describes an output whose dtype is not that of the inputs; '' if it is."""
    if torch.is_autocast_enabled('cpu') or torch.is_autocast_enabled('cuda'):
        return ''
    given = {t.dtype for _, t in list_tensors(dict(inputs)) if t.is_floating_point()}
    if not given or output.dtype in given:
        return ''
    names = ', '.join(sorted(str(dtype).removeprefix('torch.') for dtype in given))
    return f'gives {str(output.dtype).removeprefix("torch.")} of {names}; keep the dtype'
