"""Contracts of classification: losses of classes, weighting of tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from plugins.classification.interfaces import LabelledImages
from plugins.classification.tasks import Task
from plugins.classification.transforms.pipeline import find_transform_faults
from toolkit.testing.contract import Contract, find_shape_fault, get_injected
from toolkit.testing.engine_kinds import LENGTH, SamplerContract
from toolkit.testing.kinds import LossContract, is_count
from toolkit.testing.observe import describe_changed

TASKS = ('first', 'second')


class LabelledSamplerContract(SamplerContract):
    """Indices of an epoch of labelled images."""

    def list_injected(self, cls: type) -> Sequence[dict[str, Any]]:
        return [{'dataset': _TwelveLabels(), 'seed': 0}]


class _TwelveLabels(LabelledImages):
    """Labels of black images, for samplers."""

    def __init__(self) -> None:
        self.tasks = {'first': Task(('a', 'b', 'c'))}

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {'image': self.pool_image(index), 'meta': {'item': str(index)}}

    def pool_image(self, position: int, view: int | None = None) -> Tensor:
        return torch.zeros(1, 8, 8)

    def image_fingerprint(self) -> str:
        return 'black'

    def labels(self, task: str) -> Tensor:
        return torch.arange(LENGTH) % 3


class ClassLossContract(LossContract):
    """Logits (N, K) and labels (N,) to a scalar, 0 without samples."""

    def find_attribute_faults(self, component: Any) -> Iterator[str]:
        yield from super().find_attribute_faults(component)
        if not is_count(classes := getattr(component, 'num_classes', None)):
            yield (
                f'has {classes!r} as its num_classes; call super().__init__(num_classes, weight) '
                'in the constructor'
            )

    def make_inputs(self, component: Any, case: int, batch: int = 2) -> dict[str, Any]:
        classes = component.num_classes
        return {
            'logits': torch.randn((batch, batch + 3)[case], classes),
            'labels': torch.arange((batch, batch + 3)[case]) % classes,
        }

    def prepare(self, component: Any) -> None:
        component.use_counts({f'class {k}': 10 + k for k in range(component.num_classes)})
        component.start_epoch(0)

    def find_value_faults(self, component: Any) -> Iterator[str]:
        logits = torch.zeros(0, component.num_classes, requires_grad=True)
        value = component(logits, torch.zeros(0, dtype=torch.long))
        if not isinstance(value, Tensor) or not torch.isfinite(value).all() or value.sum() != 0:
            yield (
                'is not 0 for a batch without labelled samples, which a task with missing labels '
                'has; return `logits.sum() * 0` then'
            )


class TaskWeightingContract(Contract):
    """Losses by task to terms by name."""

    def list_injected(self, cls: type) -> Sequence[dict[str, Any]]:
        return [{'tasks': TASKS}]

    def make_inputs(self, component: Any, case: int, batch: int = 2) -> dict[str, Any]:
        tasks = get_injected(component).get('tasks', TASKS)
        return {
            'losses': {name: torch.rand(()) + 0.5 for name in tasks},
            'counts': dict.fromkeys(tasks, batch),
        }

    def prepare(self, component: Any) -> None:
        component.start_epoch(0)

    def find_call_faults(
        self, component: Any, inputs: Mapping[str, Any], output: Any
    ) -> Iterator[str]:
        if not isinstance(output, Mapping):
            yield f'gives a {type(output).__name__}; a task weighting gives a mapping of scalars'
            return
        if missing := sorted(set(get_injected(component).get('tasks', ())) - set(output)):
            yield f'gives no term of the task {missing[0]!r}; keep a term by the name of each task'
        for name, term in output.items():
            if not isinstance(term, Tensor) or term.ndim:
                found = tuple(term.shape) if isinstance(term, Tensor) else type(term).__name__
                yield f'gives {found} as the term {name!r}; a term is a scalar tensor'


class BatchMixingContract(Contract):
    """Images to mixed images, partners, and the share of the own label."""

    def make_inputs(self, component: Any, case: int, batch: int = 2) -> dict[str, Any]:
        return {'image': torch.rand(batch, (3, 1)[case], 16, (16, 24)[case])}

    def find_call_faults(
        self, component: Any, inputs: Mapping[str, Any], output: Any
    ) -> Iterator[str]:
        if not isinstance(output, tuple) or len(output) != 3:
            yield 'gives no tuple of mixed images, partners and share'
            return
        image, partner, share = output
        yield from find_shape_fault(image, inputs['image'].shape, inputs, 'keep the shape')
        count = len(inputs['image'])
        if not isinstance(partner, Tensor) or partner.dtype != torch.int64:
            found = partner.dtype if isinstance(partner, Tensor) else type(partner).__name__
            yield f'gives partners of {found}; give a tensor of int64'
        elif partner.shape != (count,) or not ((partner >= 0) & (partner < count)).all():
            yield f'gives the partners {partner.tolist()} of a batch of {count}; give a place each'
        if not isinstance(share, Tensor) or share.ndim or not 0 <= float(share) <= 1:
            yield f'gives the share {share!r}; it is a scalar in [0, 1]'


class PredictionViewsContract(Contract):
    """Images to a list of views, the images themselves first."""

    def make_inputs(self, component: Any, case: int, batch: int = 2) -> dict[str, Any]:
        return {'image': torch.rand(batch, (3, 1)[case], 16, (16, 24)[case])}

    def find_call_faults(
        self, component: Any, inputs: Mapping[str, Any], output: Any
    ) -> Iterator[str]:
        if not isinstance(output, list) or len(output) < 2:
            yield 'gives no list of two or more views'
            return
        for view in output:
            yield from find_shape_fault(view, inputs['image'].shape, inputs, 'keep the shape')
        if not torch.equal(output[0], inputs['image']):
            yield 'does not give the image itself as the first view'


class ImageTransformContract(Contract):
    """A sample with an image (C, H, W) to a new sample; the image itself is left as it is."""

    def find_value_faults(self, component: Any) -> Iterator[str]:
        component.use_counts({name: torch.tensor([9, 3]) for name in TASKS})
        for channels in (1, 3):
            image = torch.rand(channels, 48, 48)
            sample = {
                'image': image,
                'boxes': ((6.0, 6.0, 40.0, 40.0),),
                'labels': dict.fromkeys(TASKS, 0),
            }
            copy = image.clone()
            result = component(sample)
            if not torch.equal(copy, image):
                yield describe_changed('image')
                return
            if faults := list(find_transform_faults(component, image, result)):
                yield from faults
                return
