"""Contracts of pansharpening: generators, scenes, transforms of patches."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plugins.pansharpening.scenes.window import Window
from toolkit.testing.contract import Contract, find_shape_fault, get_injected
from toolkit.testing.observe import describe_changed, list_forward_names
from toolkit.testing.samples import HIGHEST, LOWEST

# Largest side in pixels of an image on which halo and stride are checked.
LARGEST = 512
# Difference of two results, by their largest value, that is more than rounding in float64.
ROUNDING = 1e-7


class GeneratorContract(Contract):
    """lrms_up (B, C, H, W) and pan (B, 1, H, W) to hrms (B, C, H, W), window by window."""

    by_sample = True

    def list_injected(self, cls: type) -> Sequence[dict[str, Any]]:
        return [{'bands': bands, 'ratio': 4} for bands in (4, 8)]

    def make_inputs(self, component: Any, case: int, batch: int = 2) -> dict[str, Any]:
        given = get_injected(component)
        step = _least_common_multiple(given.get('ratio', 4), component.stride)
        height, width = ((64, 64), (48, 80))[case]
        size = (-(-height // step) * step, -(-width // step) * step)
        return _make_images(batch, given.get('bands', 4), size)

    def find_attribute_faults(self, component: Any) -> Iterator[str]:
        halo, stride = getattr(component, 'halo', None), getattr(component, 'stride', None)
        if halo is None:
            yield (
                'states no halo: set `halo` to the PAN pixels around a pixel that its result '
                "depends on (3 for three 3x3 convolutions), or to 'global'"
            )
        elif halo != 'global' and (not isinstance(halo, int) or isinstance(halo, bool) or halo < 0):
            yield f"states halo {halo!r}; it is a number of PAN pixels, 0 or more, or 'global'"
        if not isinstance(stride, int) or isinstance(stride, bool) or stride < 1:
            yield f'states stride {stride!r}; it is a number of PAN pixels, 1 or more'
        names = [n for n in list_forward_names(component) or () if n in ('lrms_up', 'pan')]
        if names == ['pan', 'lrms_up']:
            yield 'takes pan before lrms_up; a generator is called with (lrms_up, pan)'

    def find_call_faults(
        self, component: Any, inputs: Mapping[str, Any], output: Any
    ) -> Iterator[str]:
        lrms_up = inputs.get('lrms_up', next(iter(inputs.values()), None))
        if isinstance(lrms_up, Tensor):
            rule = 'a generator gives hrms (B, C, H, W), of the shape of lrms_up'
            yield from find_shape_fault(output, lrms_up.shape, inputs, rule)

    def find_value_faults(self, component: Any) -> Iterator[str]:
        if component.halo == 'global':
            return
        halo, stride = component.halo, component.stride
        bands, ratio = (get_injected(component).get(k, 4) for k in ('bands', 'ratio'))
        step = _least_common_multiple(ratio, stride)
        side = -(-(2 * halo + 2 * step + 24) // step) * step
        if side > LARGEST:
            return
        for generator in _list_variants(component):
            if reach := _find_reach(generator, side, bands, halo):
                yield (
                    f'depends on pixels {reach} from a pixel, but its halo is {halo}: scenes that '
                    f'are fused window by window would show seams; set halo to {reach} or more, or '
                    "to 'global' if a pixel depends on the whole image"
                )
                return
        cut = max(32, stride)
        for generator in _list_variants(component):
            if _depends_on_origin(generator, side + cut, cut, bands):
                yield (
                    f'gives other values for windows that start at a multiple of its stride '
                    f'{stride}: scenes that are fused window by window would show seams; set '
                    "stride to the product of the network's strides, or halo to 'global'"
                )
                return


def _list_variants(generator: nn.Module) -> Iterator[nn.Module]:
    """Copies in float64: as it is, and with positive weights, by which no unit is dead."""
    plain = copy.deepcopy(generator).double().eval()
    positive = copy.deepcopy(plain)  # before it runs, which may leave values that have a graph
    yield plain
    with torch.no_grad():
        for parameter in positive.parameters():
            parameter.abs_()
            if parameter.ndim > 1:
                parameter.div_(parameter[0].sum().clamp_min(1e-6))
    yield positive


def _make_images(batch: int, bands: int, size: Sequence[int]) -> dict[str, Tensor]:
    return {'lrms_up': torch.rand(batch, bands, *size), 'pan': torch.rand(batch, 1, *size)}


def _find_reach(generator: nn.Module, side: int, bands: int, halo: int) -> int:
    """Finds how far the influence on the middle pixels goes; 0 if not beyond the halo."""
    images = [
        image.double().requires_grad_() for image in _make_images(1, bands, (side, side)).values()
    ]
    output = generator(*images)
    farthest = 0
    for place in range(side // 2, min(side // 2 + generator.stride, side)):
        gradients = torch.autograd.grad(
            output[:, :, place, place].sum(), images, retain_graph=True, allow_unused=True
        )
        for gradient in gradients:
            if gradient is not None:
                places = gradient.abs().sum((0, 1)).nonzero()
                if len(places):
                    farthest = max(farthest, int((places - place).abs().max()))
    return farthest if farthest > halo else 0


def _depends_on_origin(generator: nn.Module, side: int, cut: int, bands: int) -> bool:
    """Tells whether a window that starts one stride later has other values inside its halo.

    Args:
        generator: in float64.
        side: of the image.
        cut: pixels by which the window is smaller, so that a network with strides takes its size.
        bands: C.
    """
    halo, stride = generator.halo, generator.stride
    images = [image.double() for image in _make_images(1, bands, (side, side)).values()]
    inside = slice(stride, side - cut + stride)
    with torch.no_grad():
        whole = generator(*images)[..., inside, inside]
        window = generator(*(image[..., inside, inside].contiguous() for image in images))
    kept = slice(halo, side - cut - halo)
    expected = whole[..., kept, kept]
    difference = (window[..., kept, kept] - expected).abs().max().detach()
    return bool(difference > ROUNDING * max(1.0, float(expected.detach().abs().max())))


def _least_common_multiple(first: int, second: int) -> int:
    return torch.lcm(torch.tensor(first), torch.tensor(second)).item()  # type: ignore[return-value]


class SceneContract(Contract):
    """Windows of an MS and of a PAN, in [0, 1] and the same however they are cut."""

    def find_value_faults(self, component: Any) -> Iterator[str]:
        ratio = component.ratio
        expected = {
            'read_ms': (component.bands, *component.ms_shape),
            'read_pan': (1, *component.pan_shape),
        }
        if component.pan_shape != tuple(ratio * side for side in component.ms_shape):
            yield (
                f'has an MS {component.ms_shape} and a PAN {component.pan_shape}; the PAN is the '
                'same integer multiple of the MS along both axes'
            )
            return
        for name, shape in expected.items():
            read = getattr(component, name)
            window = Window(*(side // 4 for side in shape[1:]), *(side // 2 for side in shape[1:]))
            whole, part = read(), read(window)
            if whole.shape != shape or whole.dtype != np.float32:
                yield f'gives {whole.dtype} {whole.shape} by {name}; it gives float32 {shape}'
                return
            if not np.array_equal(part, window.cut(whole)):
                yield f'gives other values for a window than {name} has there of the whole image'
                return
            if whole.min() < LOWEST or whole.max() > HIGHEST:
                yield (
                    f'gives values from {whole.min():g} to {whole.max():g} by {name}; divide by '
                    'the largest digital number: `scale_to_unit`'
                )
                return
        if not component.fingerprint() or component.fingerprint() != component.fingerprint():
            yield 'has no fingerprint, or two; compute a hash of the files or values'


class PatchTransformContract(Contract):
    """All images of a patch in their size, by the numbers of the sample's seed alone."""

    def find_value_faults(self, component: Any) -> Iterator[str]:
        sample = {
            'lrms': torch.rand(4, 16, 16),
            'pan': torch.rand(1, 64, 64),
            'hrms': torch.rand(4, 64, 64),
            'seed': 1,
            'meta': {'item': 'a', 'ratio': 4, 'scale': 2047.0, 'sensor': 'generic'},
        }
        kept = {key: value.clone() for key, value in sample.items() if isinstance(value, Tensor)}
        results = [component(dict(sample)) for _ in range(2)]
        for key, image in kept.items():
            if not torch.equal(sample[key], image):
                yield describe_changed(key)
                return
            found = [result.get(key) if isinstance(result, Mapping) else None for result in results]
            if not isinstance(found[0], Tensor) or found[0].shape != image.shape:
                shape = tuple(found[0].shape) if isinstance(found[0], Tensor) else None
                yield (
                    f'gives {key!r} {shape} of {tuple(image.shape)}; a transform returns all '
                    'images of the sample, in their size'
                )
                return
            if not torch.equal(found[0], found[1]):
                yield (
                    f'gives two images {key!r} of one sample and seed; draw random numbers from '
                    'the generator that `apply` gets'
                )
                return
            if not torch.isfinite(found[0]).all():
                yield f'gives values of {key!r} that are not finite'
                return
