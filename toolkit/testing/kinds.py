"""Contracts of the shared interfaces: backbone, neck, attention, head, degradation, loss."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from toolkit.registry import SYSTEMS
from toolkit.registry.build import get_mapping_values, get_signature
from toolkit.testing.contract import (
    Contract,
    describe_inputs,
    find_dtype_fault,
    find_shape_fault,
    get_injected,
)
from toolkit.testing.observe import passes_gradient


def is_count(value: Any) -> bool:
    """Tells whether a value is an integer of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


class BackboneContract(Contract):
    """An image (B, C, H, W) to a map (B, D, h, w), tokens (B, N, D) or a vector (B, D)."""

    by_sample = True
    largest = 1_000_000  # the meta device tells what is likely, and images are large
    rule = 'a backbone gives a map (B, D, h, w), tokens (B, N, D) or a vector (B, D)'

    def list_injected(self, cls: type) -> Sequence[dict[str, Any]]:
        return [{'in_channels': 3, 'size': 64}]

    def make_inputs(self, component: Any, case: int, batch: int = 2) -> dict[str, Any]:
        return {'image': torch.rand(batch, 3, 64, 64)}

    def find_attribute_faults(self, component: Any) -> Iterator[str]:
        if not is_count(getattr(component, 'out_channels', None)):
            found = getattr(component, 'out_channels', 'nothing')
            yield f'states out_channels {found}; set self.out_channels, D, in the constructor'
        stride = getattr(component, 'stride', 'nothing')
        if stride is not None and not is_count(stride):
            yield f'states stride {stride}; set input pixels per step, or None for a vector'

    def find_call_faults(
        self, component: Any, inputs: Mapping[str, Any], output: Any
    ) -> Iterator[str]:
        image: Tensor = next(iter(inputs.values()))
        if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            yield f'gives {found} of {describe_inputs(inputs)}; {self.rule}'
            return
        channels = output.shape[2] if output.ndim == 3 else output.shape[1]
        if channels != component.out_channels or output.shape[0] != len(image):
            yield (
                f'gives {tuple(output.shape)} of {describe_inputs(inputs)}, but its out_channels '
                f'is {component.out_channels}; {self.rule}'
            )
            return
        yield from self._find_stride_fault(component, image, output)
        if fault := find_dtype_fault(output, inputs):
            yield fault

    def _find_stride_fault(self, component: Any, image: Tensor, output: Tensor) -> Iterator[str]:
        stride = component.stride
        if output.ndim == 2:
            if stride is not None:
                yield f'gives a vector, but its stride is {stride}; the stride of a vector is None'
            return
        if stride is None:
            if output.ndim == 4 and output.shape[2:] != (1, 1):
                yield 'gives a map, but its stride is None; state the input pixels per step'
            return
        height, width = image.shape[-2:]
        if output.ndim == 4:
            steps, expected = output.shape[2], height / stride
        else:
            steps = output.shape[1] - component.prefix_tokens
            expected = (height / stride) * (width / stride)
        if abs(steps - expected) > max(1.0, 0.25 * steps):
            of = f'{steps} rows' if output.ndim == 4 else f'{steps} tokens'
            yield (
                f'gives {of} of an image {height} x {width}, but its stride is {stride}, by which '
                f'there are {expected:g}; set self.stride to the input pixels per step'
            )


class NeckContract(Contract):
    """Features, or a mapping of them by branch, to features of `out_channels`."""

    by_sample = True
    rule = 'a neck gives features of its out_channels: (B, D, h, w), (B, N, D) or (B, D)'
    widths = {'a': 32, 'b': 24}

    def list_injected(self, cls: type) -> Sequence[dict[str, Any]]:
        if _joins(cls):
            return [{'in_channels': dict(self.widths), 'strides': {'a': 16, 'b': 32}}]
        return [{'in_channels': 32}]

    def make_inputs(self, component: Any, case: int, batch: int = 2) -> dict[str, Any]:
        if not _joins(type(component)):
            return {'features': torch.randn(batch, 32)}
        side = (8, 6)[case]
        return {
            'features': {
                'a': torch.randn(batch, 32, side, side),
                'b': torch.randn(batch, 24, side // 2, side // 2),
            }
        }

    def find_attribute_faults(self, component: Any) -> Iterator[str]:
        if not is_count(getattr(component, 'out_channels', None)):
            found = getattr(component, 'out_channels', 'nothing')
            yield f'states out_channels {found}; set self.out_channels in the constructor'

    def find_call_faults(
        self, component: Any, inputs: Mapping[str, Any], output: Any
    ) -> Iterator[str]:
        if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            yield f'gives {found} of {describe_inputs(inputs)}; {self.rule}'
            return
        channels = output.shape[2] if output.ndim == 3 else output.shape[1]
        if channels != component.out_channels:
            yield (
                f'gives {tuple(output.shape)} of {describe_inputs(inputs)}, but its out_channels '
                f'is {component.out_channels}; {self.rule}'
            )
        elif fault := find_dtype_fault(output, inputs):
            yield fault


def _joins(cls: type) -> bool:
    parameter = get_signature(cls).get('in_channels')
    return parameter is not None and get_mapping_values(parameter.annotation) is not None


class AttentionContract(Contract):
    """Features to features of the same shape."""

    by_sample = True

    def list_injected(self, cls: type) -> Sequence[dict[str, Any]]:
        return [{'in_channels': 32}]

    def make_inputs(self, component: Any, case: int, batch: int = 2) -> dict[str, Any]:
        return {'features': torch.randn(batch, 32, *((7, 7), (14, 14))[case])}

    def find_call_faults(
        self, component: Any, inputs: Mapping[str, Any], output: Any
    ) -> Iterator[str]:
        features = next(iter(inputs.values()), None)
        if isinstance(features, Tensor):
            rule = 'an attention gives features of the shape that it gets'
            yield from find_shape_fault(output, features.shape, inputs, rule)


class HeadContract(Contract):
    """Features (B, D) to logits (B, num_classes)."""

    by_sample = True

    def list_injected(self, cls: type) -> Sequence[dict[str, Any]]:
        return [{'in_channels': 32, 'num_classes': 3}, {'in_channels': 8, 'num_classes': 2}]

    def make_inputs(self, component: Any, case: int, batch: int = 2) -> dict[str, Any]:
        width = get_injected(component).get('in_channels', 32)
        return {'features': torch.randn((batch, batch + 3)[case], width)}

    def find_call_faults(
        self, component: Any, inputs: Mapping[str, Any], output: Any
    ) -> Iterator[str]:
        features = next(iter(inputs.values()), None)
        classes = get_injected(component).get('num_classes')
        if isinstance(features, Tensor) and classes is not None:
            rule = 'a head gives logits (B, num_classes)'
            faults = list(find_shape_fault(output, (len(features), classes), inputs, rule))
            yield from faults
            if not faults and classes > 1 and _are_probabilities(output):
                yield (
                    'gives probabilities: no value is negative and each row sums to 1; a head '
                    'gives logits, of which losses and the system take the softmax: leave it out'
                )


def _are_probabilities(output: Tensor) -> bool:
    if output.is_meta:
        return False
    error = 8 * torch.finfo(output.dtype).eps
    sums = output.detach().float().sum(1)
    return bool((output >= 0).all() and ((sums - 1).abs() <= error).all())


class DegradationContract(Contract):
    """An image (B, C, H, W) to a blurred one of its shape, or to a gray one (B, 1, H, W)."""

    by_sample = True

    def list_injected(self, cls: type) -> Sequence[dict[str, Any]]:
        return [{'bands': bands, 'ratio': 4} for bands in (4, 8)]

    def make_inputs(self, component: Any, case: int, batch: int = 2) -> dict[str, Any]:
        bands = get_injected(component).get('bands', 4)
        return {'image': torch.rand(batch, bands, *((64, 64), (36, 52))[case])}

    def find_attribute_faults(self, component: Any) -> Iterator[str]:
        if component.out_bands not in ('same', 1):
            yield f"states out_bands {component.out_bands!r}; it is 'same' (a reblur) or 1 (a gray)"

    def find_call_faults(
        self, component: Any, inputs: Mapping[str, Any], output: Any
    ) -> Iterator[str]:
        image = next(iter(inputs.values()), None)
        if isinstance(image, Tensor) and image.ndim == 4:
            batch, bands, *size = image.shape
            bands = 1 if component.out_bands == 1 else bands
            rule = (
                f'a degradation whose out_bands is {component.out_bands!r} keeps height and width'
            )
            faults = list(find_shape_fault(output, (batch, bands, *size), inputs, rule))
            yield from faults
            if not faults and image.requires_grad and torch.is_grad_enabled():
                yield from self._find_cut_gradient(component, image, output)

    def _find_cut_gradient(self, component: Any, image: Tensor, output: Tensor) -> Iterator[str]:
        if not output.requires_grad and any(p.requires_grad for p in component.parameters()):
            return  # cut from its parameters too, which is told of components of any kind
        if not passes_gradient(output, image):
            yield (
                'lets no gradient through to its image (detach, no_grad or numpy): losses of what '
                'it gives would not train the generator; compute it with torch alone'
            )


class LossContract(Contract):
    """Outputs of the system, taken by name, to a scalar."""

    def list_injected(self, cls: type) -> Sequence[dict[str, Any]]:
        return [{'num_classes': 3}]

    def make_inputs(self, component: Any, case: int, batch: int = 2) -> dict[str, Any] | None:
        names = list(inspect.signature(component.forward).parameters)
        for system in SYSTEMS.names():
            outputs = SYSTEMS.get(system).example_outputs()
            if names and set(names) <= outputs.keys():
                return {name: outputs[name][:batch] for name in names}
        return None

    def find_attribute_faults(self, component: Any) -> Iterator[str]:
        weight = getattr(component, 'weight', None)
        if not isinstance(weight, (int, float)) or not math.isfinite(weight):
            found = 'no weight' if weight is None else f'the weight {weight!r}, which is no number'
            yield f'has {found}; call super().__init__(weight) in the constructor'

    def find_call_faults(
        self, component: Any, inputs: Mapping[str, Any], output: Any
    ) -> Iterator[str]:
        if isinstance(output, Tensor) and output.ndim:
            yield (
                f'gives {tuple(output.shape)} of {describe_inputs(inputs)}; a loss gives a scalar: '
                'end with .mean() or .sum()'
            )
        elif not isinstance(output, Tensor):
            yield f'gives a {type(output).__name__}; a loss gives a scalar tensor'
        elif (
            torch.is_grad_enabled()
            and not output.requires_grad
            and any(isinstance(v, Tensor) and v.requires_grad for v in inputs.values())
        ):
            yield (
                'gives a scalar without gradient of inputs that have one: it trains nothing; '
                'compute it with torch alone, without detach, item or comparisons'
            )
