"""Every registered part of classification, tested by existing.

Losses, task weightings, necks, trunks, attentions and heads: a part needs no more than what its
parent wires. Its slots are filled here with the simplest part of their kind, and a choice that it
leaves open is the first of its Literal.
"""

from __future__ import annotations

import io
import typing
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plugins.classification.interfaces import TASK_WEIGHTINGS, ClassLoss
from tests.test_parts import names
from toolkit.registry import ATTENTIONS, HEADS, LOSSES, NECKS, Kind
from toolkit.registry.build import (
    ComponentFactory,
    find_slot_kind,
    get_mapping_values,
    get_signature,
    strip_none,
)

WIDTH, CLASSES = 32, 3
COUNTS = {'a': 90, 'b': 9, 'c': 1}
SIMPLEST = {'attention': 'ChannelAttention', 'head': 'LinearHead'}


def part(kind: Kind, name: str) -> ComponentFactory:
    cls, given = kind.get(name), {}
    for argument, parameter in get_signature(cls).items():
        if slot := find_slot_kind(strip_none(parameter.annotation)):
            given[argument] = {'type': SIMPLEST[slot.name]}
        elif parameter.default is parameter.empty and argument not in kind.injected:
            given[argument] = typing.get_args(parameter.annotation)[0]
    return ComponentFactory(cls, given, name)


def build(kind: Kind, name: str, seed: int = 0, **injected: Any) -> nn.Module:
    torch.manual_seed(seed)
    return part(kind, name)(**injected)


def joins(name: str) -> bool:
    """Whether a neck takes several branches by name."""
    return get_mapping_values(get_signature(NECKS.get(name))['in_channels'].annotation) is not None


JOINING = [name for name in names(NECKS) if joins(name)]
TRUNKS = [name for name in names(NECKS) if not joins(name)]
CLASS_LOSSES = [name for name in names(LOSSES) if issubclass(LOSSES.get(name), ClassLoss)]


def features(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).requires_grad_()


def assert_trains(module: nn.Module, inputs: list[Tensor], output: Tensor) -> None:
    """All that takes part gets a gradient, finite and, somewhere, not 0."""
    assert torch.isfinite(output).all()
    (output * torch.linspace(0.5, 1.5, output.numel()).view_as(output)).sum().backward()
    for tensor in [*module.parameters(), *inputs]:
        assert tensor.grad is not None, 'something that the output does not use'
        assert torch.isfinite(tensor.grad).all()
    assert all(tensor.grad.abs().max() > 0 for tensor in inputs)


def assert_round_trip(first: nn.Module, other: nn.Module, *inputs: Any) -> None:
    """Saved and loaded as plain weights, another instance gives the same bits."""
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    with torch.no_grad():
        assert torch.equal(first.eval()(*inputs), other.eval()(*inputs))


def test_there_are_parts_of_each_kind() -> None:
    assert {'CrossEntropy', 'Focal', 'LDAM', 'LogitAdjustment'} <= set(CLASS_LOSSES)
    assert JOINING and TRUNKS
    assert all(names(kind) for kind in (HEADS, ATTENTIONS, TASK_WEIGHTINGS))


# -- heads, trunks, attentions, necks ----------------------------------------------------------


@pytest.mark.parametrize('batch', [2, 5])
@pytest.mark.parametrize('name', names(HEADS))
def test_head(name: str, batch: int) -> None:
    injected = {'in_channels': WIDTH, 'num_classes': CLASSES}
    head, x = build(HEADS, name, **injected), features(batch, WIDTH)
    logits = head(x)
    assert logits.shape == (batch, CLASSES)
    assert_trains(head, [x], logits)
    assert_round_trip(head, build(HEADS, name, seed=1, **injected), x)


@pytest.mark.parametrize('batch', [2, 5])
@pytest.mark.parametrize('name', TRUNKS)
def test_trunk(name: str, batch: int) -> None:
    trunk, x = build(NECKS, name, in_channels=WIDTH), features(batch, WIDTH)
    refined = trunk(x)
    assert refined.shape == (batch, trunk.out_channels)
    assert_trains(trunk, [x], refined)
    assert_round_trip(trunk, build(NECKS, name, seed=1, in_channels=WIDTH), x)


@pytest.mark.parametrize('size', [(7, 7), (5, 8)], ids=str)
@pytest.mark.parametrize('name', names(ATTENTIONS))
def test_attention(name: str, size: tuple[int, int]) -> None:
    attention, x = build(ATTENTIONS, name, in_channels=WIDTH), features(2, WIDTH, *size)
    refined = attention(x)
    assert refined.shape == x.shape
    assert not torch.equal(refined, x)
    assert_trains(attention, [x], refined)
    for weights in attention.maps(x).values():
        assert weights.shape in ((2, 1, *size), (2, WIDTH))
    assert_round_trip(attention, build(ATTENTIONS, name, seed=1, in_channels=WIDTH), x)


@pytest.mark.parametrize('size', [(8, 8), (6, 10)], ids=str)
@pytest.mark.parametrize('strides', [{'a': 16}, {'a': 16, 'b': 32}, {'x': 32, 'a': 16, 'b': 64}])
@pytest.mark.parametrize('name', JOINING)
def test_neck(name: str, strides: dict[str, int], size: tuple[int, int]) -> None:
    injected = {'in_channels': dict(zip(strides, (WIDTH, 24, 40))), 'strides': strides}
    neck = build(NECKS, name, **injected)
    given = {
        branch: features(2, width, *(-(-side * 16 // strides[branch]) for side in size))
        for branch, width in injected['in_channels'].items()
    }
    joint = neck(given)
    assert joint.shape[:2] == (2, neck.out_channels)
    assert_trains(neck, list(given.values()), joint)
    assert_round_trip(neck, build(NECKS, name, seed=1, **injected), given)


# -- losses ------------------------------------------------------------------------------------


def class_loss(name: str, seed: int = 0) -> ClassLoss:
    loss = build(LOSSES, name, seed, num_classes=CLASSES)
    loss.use_counts(COUNTS)
    loss.start_epoch(0)
    return loss


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize('size', [1e-6, 1.0, 1e4])
@pytest.mark.parametrize('name', CLASS_LOSSES)
def test_class_loss_is_finite_at_any_logits(name: str, size: float, dtype: torch.dtype) -> None:
    logits = torch.tensor([[1, -1, 0], [-1, 1, 0], [0, 0, 0], [-1, -1, 1.0]]) * size
    logits = logits.to(dtype).requires_grad_()
    value = class_loss(name)(logits, torch.tensor([0, 0, 1, 2]))
    assert value.shape == ()
    assert torch.isfinite(value) and value > 0
    value.backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().max() > 0


@pytest.mark.parametrize('name', CLASS_LOSSES)
def test_class_loss_of_no_samples(name: str) -> None:
    logits = torch.zeros(0, CLASSES, requires_grad=True)
    value = class_loss(name)(logits, torch.zeros(0, dtype=torch.long))
    assert value == 0
    value.backward()
    assert logits.grad is not None


@pytest.mark.parametrize('name', CLASS_LOSSES)
def test_class_loss_goes_down(name: str) -> None:
    """A step against the gradient makes it smaller; a right label costs less than a wrong one."""
    loss, labels = class_loss(name), torch.tensor([0, 1, 2, 1])
    logits = features(4, CLASSES)
    before = loss(logits, labels)
    (slope,) = torch.autograd.grad(before, logits)
    assert loss(logits - 1e-3 * slope, labels) < before
    right = 5 * torch.eye(CLASSES)
    assert loss(right, torch.tensor([0, 1, 2])) < loss(right, torch.tensor([1, 2, 0]))


@pytest.mark.parametrize('name', CLASS_LOSSES)
def test_class_loss_state_round_trip(name: str) -> None:
    """A resumed training, told of its epoch again, goes on by the same bits."""
    labels, logits = torch.tensor([0, 1, 2, 1, 0]), features(5, CLASSES).detach()
    loss = class_loss(name)
    for epoch in range(3):
        loss.start_epoch(epoch)
        loss(logits.roll(epoch, 0), labels)
    resumed = build(LOSSES, name, seed=1, num_classes=CLASSES)
    resumed.load_state_dict({k: v.clone() for k, v in loss.state_dict().items()})
    resumed.use_counts(COUNTS)
    resumed.start_epoch(2)
    for epoch in (3, 4):
        for one in (loss, resumed):
            one.start_epoch(epoch)
        assert torch.equal(loss(logits, labels), resumed(logits, labels))
    for key, value in loss.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


# -- task weightings ---------------------------------------------------------------------------

TASKS = ('a', 'b', 'c')


def losses(*values: float) -> dict[str, Tensor]:
    return {name: torch.tensor(value, requires_grad=True) for name, value in zip(TASKS, values)}


def state(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


@pytest.mark.parametrize('name', names(TASK_WEIGHTINGS))
def test_task_weighting(name: str) -> None:
    weighting = build(TASK_WEIGHTINGS, name, tasks=TASKS)
    weighting.start_epoch(0)
    given = losses(0.5, 2.0, 4.0)
    terms = weighting(given, dict.fromkeys(TASKS, 4))
    assert set(TASKS) <= set(terms)
    assert all(term.shape == () for term in terms.values())
    sum(terms.values()).backward()
    assert all(loss.grad > 0 for loss in given.values())
    assert all(torch.isfinite(p.grad).all() for p in weighting.parameters())


@pytest.mark.parametrize('name', names(TASK_WEIGHTINGS))
def test_a_task_without_labels_moves_nothing(name: str) -> None:
    """Neither in its own weight nor in those of others, now or in later epochs."""
    plain, disturbed = (build(TASK_WEIGHTINGS, name, tasks=TASKS) for _ in range(2))
    for epoch in range(4):
        for weighting in (plain, disturbed):
            weighting.start_epoch(epoch)
            weighting(losses(2.0 / (epoch + 1), 1.0, 3.0), dict.fromkeys(TASKS, 4))
        terms = disturbed(losses(0.0, 0.0, 0.0), dict.fromkeys(TASKS, 0))
        assert all(terms[task] == 0 for task in TASKS)
        sum(terms.values()).backward()
        assert all(p.grad is None or p.grad == 0 for p in disturbed.parameters())
    for key, value in plain.state_dict().items():
        assert torch.equal(value, disturbed.state_dict()[key]), key


@pytest.mark.parametrize('name', names(TASK_WEIGHTINGS))
def test_task_weighting_state_round_trip(name: str) -> None:
    weighting = build(TASK_WEIGHTINGS, name, tasks=TASKS)
    for epoch in range(3):
        weighting.start_epoch(epoch)
        weighting(losses(2.0 / (epoch + 1), 1.0, 3.0), dict.fromkeys(TASKS, 4))
    resumed = build(TASK_WEIGHTINGS, name, tasks=TASKS)
    resumed.load_state_dict(state(weighting))
    resumed.start_epoch(2)
    for epoch in (3, 4):
        both = []
        for one in (weighting, resumed):
            one.start_epoch(epoch)
            both.append(one(losses(1.0, 1.0, 1.0), dict.fromkeys(TASKS, 4)))
        assert all(torch.equal(both[0][task], both[1][task]) for task in both[0])
