"""A component's fault that shows in data, metrics or the first batch is told there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plugins.classification.system import Classifier
from plugins.classification.tasks import Task
from plugins.classification.transforms.pipeline import ImageTransform, TransformPipeline
from plugins.pansharpening.system import Pansharpener
from tests.support.broken_components import (
    GoodBackbone,
    GoodClassLoss,
    GoodGenerator,
    GoodHead,
    GoodLoss,
)
from toolkit.engine.collation import collate, unwrap
from toolkit.engine.dataloader import SampleRequest
from toolkit.engine.evaluator import Evaluator
from toolkit.engine.overlap import collect_identities
from toolkit.errors import ComponentError, ComponentRunError, DataError, ToolkitError
from toolkit.interfaces import Dataset, Metric
from toolkit.registry.build import ComponentFactory
from toolkit.testing import guards
from toolkit.testing.guards import keep_unchanged, list_unreached, watch_first

# -- metrics -----------------------------------------------------------------------------------


class GoodMetric(Metric):
    directions = {'error': False}

    def measure(self, outputs: Any, batch: Any) -> list[dict[str, Any]]:
        return [{'error': float(x)} for x in outputs['x']]


class RowWithoutValue(GoodMetric):
    directions = {'error': False, 'bias': False}


class RowIsNumber(GoodMetric):
    def measure(self, outputs: Any, batch: Any) -> Any:
        return [float(x) for x in outputs['x']]


class OneRow(GoodMetric):
    def measure(self, outputs: Any, batch: Any) -> Any:
        return super().measure(outputs, batch)[:1]


class RowOfAVector(GoodMetric):
    def measure(self, outputs: Any, batch: Any) -> Any:
        return [{'error': torch.ones(3)} for _ in outputs['x']]


class RowOfAWord(GoodMetric):
    def measure(self, outputs: Any, batch: Any) -> Any:
        return [{'error': 'good'} for _ in outputs['x']]


class ChangesOutputs(GoodMetric):
    def measure(self, outputs: Any, batch: Any) -> Any:
        outputs['x'].clamp_(0, 1)
        return super().measure(outputs, batch)


class ChangesBatch(GoodMetric):
    def measure(self, outputs: Any, batch: Any) -> Any:
        batch['reference'] -= outputs['x']
        return super().measure(outputs, batch)


def evaluate(metric: Metric, items: tuple[str, ...] = ('a', 'b')) -> Evaluator:
    evaluator = Evaluator({'m': metric}, len(items))
    batch = {'reference': torch.zeros(len(items)), 'meta': [{'item': item} for item in items]}
    requests = [SampleRequest(n, n, 0) for n in range(len(items))]
    evaluator.add(requests, {'x': torch.linspace(0, 3, len(items))}, batch)
    return evaluator


@pytest.mark.parametrize(
    ('metric', 'message'),
    [
        (RowWithoutValue, r"test_guards.py:\d+\) .*'error', but its directions name 'bias'"),
        (RowIsNumber, r'test_guards.py:\d+\) measures no list of rows'),
        (OneRow, r'test_guards.py:\d+\) measured 1 rows for 2 items'),
        (RowOfAVector, r"test_guards.py:\d+\) gives 'error' as a Tensor of shape \(3,\)"),
        (RowOfAWord, r"test_guards.py:\d+\) gives 'error' as a str"),
        (ChangesOutputs, r"changes \"outputs\['x'\]\" in place"),
        (ChangesBatch, r"changes \"batch\['reference'\]\" in place"),
    ],
)
def test_a_broken_metric_is_told_at_the_first_batch(metric, message):
    with pytest.raises(ToolkitError, match=message):
        evaluate(metric())


def test_samples_have_names_of_their_own():
    assert evaluate(GoodMetric()).finish().metrics == {'m': 1.5}
    with pytest.raises(DataError, match="two samples are named 'a'"):
        evaluate(GoodMetric(), ('a', 'a'))


# -- samples -----------------------------------------------------------------------------------


@pytest.mark.parametrize('sample', [torch.zeros(3), (torch.zeros(3), 1), None])
def test_a_sample_that_is_no_mapping_is_told(sample):
    with pytest.raises(DataError, match='as a sample; a sample is a dict'):
        unwrap(collate([sample, sample]))


class Samples(Dataset):
    """Samples of which the second differs."""

    def __init__(self, second: Any) -> None:
        self.samples = [{'x': torch.zeros(3), 'meta': {'item': 'a'}}, second]

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


@pytest.mark.parametrize(
    ('second', 'message'),
    [
        (None, 'gives a NoneType as a sample'),
        ({'meta': {'item': 'b'}}, "have no 'x', as others have: 'b'"),
        ({'x': torch.zeros(4), 'meta': {}}, r"cannot be stacked: 'x' has shapes \(3,\), \(4,\)"),
    ],
)
def test_a_fault_of_samples_names_the_dataset_and_its_place(second, message):
    dataset = ComponentFactory(Samples, {'second': second}, 'train_dataloader.dataset')()
    with pytest.raises(ComponentRunError, match=message) as told:
        unwrap(collate([dataset[0], dataset[1]], dataset))
    assert told.value.path == 'train_dataloader.dataset'
    assert str(told.value).count('test_guards.py:') == 1


def test_identities_that_are_no_groups_are_refused():
    dataset = ComponentFactory(Samples, {'second': None}, 'train_dataloader.dataset')()
    dataset.identities = lambda content: ['a']
    with pytest.raises(ComponentError, match=r'Samples .*has no identities by group') as told:
        collect_identities(dataset)
    assert told.value.path == 'train_dataloader.dataset'


def test_a_loss_that_reaches_no_parameter_of_the_system_is_told():
    layer, other = nn.Linear(2, 1), torch.ones((), requires_grad=True)
    assert guards.reaches_parameters(layer, layer(torch.ones(1, 2)).sum())
    assert not guards.reaches_parameters(layer, other * 1)
    assert not guards.reaches_parameters(layer, torch.ones(()))


def make_pansharpener() -> Pansharpener:
    return Pansharpener(4, 4, ComponentFactory(GoodGenerator, {}), losses={'l1': GoodLoss})


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'pan': None}, "no 'pan'; they have 'lrms', 'meta'"),
        ({'lrms': None}, "no 'lrms'"),
        ({'meta': None}, "no 'meta'"),
        ({'meta': [{}, {}]}, r"meta has no ratio.*meta\['ratio'\]"),
        ({'meta': [{'ratio': 2}] * 2}, 'ratio 2, and model.ratio is 4'),
        ({'pan': torch.full((2, 1, 64, 64), 2047.0)}, r'from 2047 to 2047; .*\[0, 1\]'),
        ({'pan': torch.zeros(2, 1, 64, 64, dtype=torch.int16)}, "'pan' is torch.int16"),
    ],
)
def test_a_batch_that_a_pansharpener_cannot_use_is_told(change, message):
    system = make_pansharpener()
    batch = system.training_example()
    system.check_batch(batch)
    changed = {k: change.get(k, v) for k, v in batch.items() if change.get(k, v) is not None}
    changed.pop('hrms')
    with pytest.raises(DataError, match=message):
        system.check_batch(changed)


def make_classifier() -> Classifier:
    return Classifier(
        {'kind': Task(('a', 'b'))},
        {'one': ComponentFactory(GoodBackbone, {})},
        GoodHead,
        losses={'ce': GoodClassLoss},
        size=32,
    )


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'image': None}, "no 'image'; they have 'labels', 'meta'"),
        ({'labels': None}, "no 'labels'"),
        ({'labels': {}}, "no integer for the task 'kind'"),
        ({'labels': {'kind': torch.zeros(2)}}, "no integer for the task 'kind'"),
        ({'labels': {'kind': torch.tensor([0, 2])}}, 'labels from 0 to 2; its 2 classes are 0'),
        ({'image': torch.full((2, 3, 32, 32), 255.0)}, 'from 255 to 255'),
    ],
)
def test_a_batch_that_a_classifier_cannot_use_is_told(change, message):
    system = make_classifier()
    batch = system.training_example()
    system.check_batch(batch)
    changed = {k: change.get(k, v) for k, v in batch.items() if change.get(k, v) is not None}
    with pytest.raises(DataError, match=message):
        system.check_batch(changed)


# -- transforms of a classification data set ---------------------------------------------------


class GoodTransform(ImageTransform):
    random = False

    def __call__(self, sample: Any) -> Any:
        return {**sample, 'image': sample['image'] * 0.5}


class HalvesSize(GoodTransform):
    def __call__(self, sample: Any) -> Any:
        return {**sample, 'image': sample['image'][:, ::2, ::2]}


class Changes(GoodTransform):
    def __call__(self, sample: Any) -> Any:
        sample['image'].mul_(0.5)
        return sample


class ChangesBehindTorch(GoodTransform):
    def __call__(self, sample: Any) -> Any:
        sample['image'].numpy()[:] *= 0.5
        return sample


class GivesBytes(GoodTransform):
    def __call__(self, sample: Any) -> Any:
        return {**sample, 'image': (sample['image'] * 255).byte()}


class LeavesRange(GoodTransform):
    def __call__(self, sample: Any) -> Any:
        return {**sample, 'image': sample['image'] * 255}


class GivesImage(GoodTransform):
    def __call__(self, sample: Any) -> Any:
        return sample['image']


@pytest.mark.parametrize(
    ('transform', 'message'),
    [
        (HalvesSize, r'gives an image \(1, 4, 4\) of \(1, 8, 8\)'),
        (Changes, "changes its input 'image' in place"),
        (ChangesBehindTorch, "changes its input 'image' in place"),
        (GivesBytes, 'gives uint8; an image is float32'),
        (LeavesRange, r'gives values from \S+ to \d+.*end with .clamp'),
        (GivesImage, "gives no sample with 'image'"),
    ],
)
def test_a_broken_transform_is_told_at_the_first_image(transform, message):
    image = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    TransformPipeline(8, 'squash', {'x': GoodTransform()}).apply_fixed(image, (), {})
    with pytest.raises(ComponentRunError, match=rf'test_guards.py:\d+\) {message}'):
        TransformPipeline(8, 'squash', {'x': transform()}).apply_fixed(image, (), {})


# -- guards ------------------------------------------------------------------------------------


def test_a_change_is_noticed_and_no_change_is_none():
    values = {'a': torch.zeros(2), 'b': [torch.zeros(2)]}
    with keep_unchanged(values, values):
        values['a'] + 1
    with (
        pytest.raises(ComponentRunError, match=r"changes 'b\[0\]' in place"),
        keep_unchanged(values, nn.ReLU()),
    ):
        values['b'][0] += 1


class Detaching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kept, self.idle = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.kept(x)


def test_the_first_batch_names_parameters_that_no_gradient_reaches(monkeypatch):
    module = Detaching()
    system = nn.Sequential(module)
    monkeypatch.setattr('toolkit.testing.observe.list_components', lambda system: [module])
    with watch_first(system) as observer:
        total = system(torch.ones(1, 2)).sum()
    (line,) = list_unreached(observer, total)
    assert 'idle.weight, idle.bias' in line and 'Detaching has 2 of 4' in line
    with (
        pytest.raises(ComponentRunError, match='output is detached'),
        watch_first(system),
        torch.no_grad(),
        torch.enable_grad(),
    ):
        module.kept.forward = lambda x: x.detach()
        system(torch.ones(1, 2))


def test_guards_name_tensors_only_where_one_was_changed(monkeypatch):
    """Names for each value of `meta` took 2 ms a step for a batch of 256 images."""
    named = []
    find_names = guards.list_tensors
    monkeypatch.setattr(guards, 'list_tensors', lambda v: named.append(1) or find_names(v))
    x = torch.zeros(2)
    batch = {'meta': [{'id': 'a', 'box': (1, 2), 'seen': {'x': x}}], 'image': torch.zeros(2)}
    with keep_unchanged(batch, None):
        pass
    assert not named
    told = r"meta\[0\].*'x'.*in place"
    with pytest.raises(ComponentRunError, match=told), keep_unchanged(batch, GoodMetric()):
        x += 1
