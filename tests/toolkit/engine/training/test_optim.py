"""Accumulation, clipping, precision, groups of parameters, schedules."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn

from toolkit.config import schema
from toolkit.engine.training.optim import OptimWrapper, build_optim_wrapper, build_schedulers
from toolkit.engine.training.parameter_groups import build_param_groups
from toolkit.errors import ComponentError, ToolkitError
from toolkit.registry import SCHEDULERS, SYSTEMS

CPU = torch.device('cpu')
sgd = functools.partial(torch.optim.SGD, lr=0.1)


def wrapper(module: nn.Module, precision: str = 'fp32', **options: Any) -> OptimWrapper:
    config = schema.OptimWrapperConfig(options.pop('optimizer', sgd), **options)
    return build_optim_wrapper(module, config, schema.Runtime(precision=precision), CPU)


def system(**options: Any) -> Any:
    torch.manual_seed(0)
    return SYSTEMS.get('TinySystem')(norm=False, dropout=0.0, **options)


def batch(size: int, start: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(16, 3, 8, 8, generator=generator)[start : start + size]
    return {'image': images, 'target': images.mean((1, 2, 3))[:, None]}


def step(model: Any, wrapped: OptimWrapper, batches: list[dict[str, Any]]) -> None:
    for one in batches:
        with wrapped.optim_context(model):
            total = sum(model(one, mode='loss').values())
        wrapped.update_params(total)


def test_two_batches_of_four_are_one_of_eight() -> None:
    twice, once = system(), system()
    step(twice, wrapper(twice, accumulative_counts=2), [batch(4), batch(4, 4)])
    step(once, wrapper(once), [batch(8)])
    for a, b in zip(twice.parameters(), once.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_clipping_by_norm_and_by_value() -> None:
    model = system()
    before = [p.detach().clone() for p in model.parameters()]
    by_norm = wrapper(model, clip_grad=schema.ClipGrad(max_norm=1e-3))
    step(model, by_norm, [batch(4)])
    moved = [p - b for p, b in zip(model.parameters(), before, strict=True)]
    norm = torch.stack([m.square().sum() for m in moved]).sum().sqrt().item()
    assert norm == pytest.approx(0.1 * 1e-3, rel=0.01)
    assert by_norm.grad_norm is not None and by_norm.grad_norm.item() > 1e-3
    model = system()
    before = [p.detach().clone() for p in model.parameters()]
    step(model, wrapper(model, clip_grad=schema.ClipGrad(clip_value=1e-4)), [batch(4)])
    largest = max((p - b).abs().max().item() for p, b in zip(model.parameters(), before))
    assert largest == pytest.approx(0.1 * 1e-4, rel=0.01)


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_half_precisions_work_on_cpu_and_stay_near(precision: str) -> None:
    half, full = system(), system()
    wrapped = wrapper(half, precision, clip_grad=schema.ClipGrad(max_norm=10.0))
    with wrapped.optim_context(half):
        assert half(batch(4)).dtype == (torch.bfloat16 if precision == 'bf16' else torch.float16)
    before = half.conv.weight.clone()
    for _ in range(10):  # fp16 finds its scale first, and leaves out the steps that overflow
        step(half, wrapped, [batch(4)])
        if not torch.equal(half.conv.weight, before):
            break
    step(full, wrapper(full), [batch(4)])
    assert all(p.dtype == torch.float32 for p in half.parameters())
    start = torch.cat([p.flatten() for p in system().parameters()])
    moves = [torch.cat([p.flatten() for p in m.parameters()]) - start for m in (half, full)]
    assert torch.cosine_similarity(*moves, dim=0) > 0.999
    assert moves[0].norm().item() == pytest.approx(moves[1].norm().item(), rel=0.02)
    assert wrapped.scaler.is_enabled() == (precision == 'fp16')


def test_the_state_of_the_scaler_is_kept() -> None:
    model = system()
    first = wrapper(model, 'fp16')
    step(model, first, [batch(4)])
    first.scaler._growth_tracker.fill_(7)
    second = wrapper(model, 'fp16')
    second.load_state_dict(first.state_dict())
    assert second.scaler.state_dict() == first.scaler.state_dict()


def test_nothing_to_train() -> None:
    with pytest.raises(ToolkitError, match='Constant has no trainable parameters'):
        wrapper(SYSTEMS.get('Constant')())


def test_parameters_in_groups() -> None:
    model = SYSTEMS.get('TinySystem')()
    rules = {
        'norm_decay_mult': 0.0,
        'bias_lr_mult': 2.0,
        'custom_keys': {'head': {'lr_mult': 0.1, 'decay_mult': 0.5}},
    }
    groups = build_param_groups(model, rules, 0.1, 0.01)
    found = {
        name: (group.get('lr'), group.get('weight_decay'))
        for group in groups
        for name, parameter in model.named_parameters()
        if any(parameter is p for p in group['params'])
    }
    assert found['conv.weight'] == (None, None)
    assert found['conv.bias'] == (0.2, None)
    assert found['norm.weight'] == found['norm.bias'] == (None, 0.0)
    assert found['head.weight'] == found['head.bias'] == pytest.approx((0.01, 0.005))
    assert len(found) == sum(len(g['params']) for g in groups) == len(list(model.parameters()))


class Layers(nn.Module):
    """Two layers and what was put in between, as a backbone tells them."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.put_in, self.high = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)

    def layers_above(self, name: str) -> int:
        return {'low': 2, 'high': 1}.get(name.partition('.')[0], 0)


def rates(model: nn.Module, rules: dict[str, Any]) -> dict[str, float]:
    groups = build_param_groups(model, rules, 0.1, None)
    return {
        name: group.get('lr', 0.1)
        for group in groups
        for name, parameter in model.named_parameters()
        if any(parameter is p for p in group['params'])
    }


def test_rates_fall_with_the_layers_above() -> None:
    model = nn.ModuleDict({'a': Layers(), 'b': Layers(), 'head': nn.Linear(2, 2)})
    found = rates(model, {'layer_decay': 0.5, 'bias_lr_mult': 2.0})
    assert found['a.low.weight'] == pytest.approx(0.1 * 0.25)
    assert found['a.high.weight'] == pytest.approx(0.1 * 0.5)
    assert found['b.low.bias'] == pytest.approx(0.1 * 2 * 0.25)
    assert found['a.put_in.weight'] == found['head.weight'] == 0.1
    keys = {'a.': {'layer_decay': 0.5, 'lr_mult': 0.1}, 'b.': {'layer_decay': 0.1, 'lr': 3.0}}
    found = rates(model, {'custom_keys': keys})
    assert found['a.low.weight'] == pytest.approx(0.1 * 0.1 * 0.25)
    assert found['b.high.weight'] == pytest.approx(3.0 * 0.1)
    assert found['head.weight'] == 0.1


@pytest.mark.parametrize(
    ('model', 'decay', 'message'),
    [
        (nn.Linear(2, 2), 0.5, 'paramwise_cfg.layer_decay: no module .*layers_above'),
        (Layers(), 0.0, r'must be a number in \(0, 1\], found 0.0'),
        (Layers(), 'x', "found 'x'"),
    ],
)
def test_layer_decays_that_do_not_fit(model: nn.Module, decay: Any, message: str) -> None:
    with pytest.raises(ComponentError, match=message):
        build_param_groups(model, {'layer_decay': decay}, 0.1, None)


@pytest.mark.parametrize(
    ('rules', 'message'),
    [
        ({'norm_decay_mul': 0.0}, "norm_decay_mul: no such rule; did you mean 'norm_decay_mult'"),
        ({'custom_keys': {'haed': {'lr_mult': 1}}}, "'haed' in its name; did you mean 'head'"),
        ({'norm_decay_mult': 0.0}, 'decay_mult needs weight_decay'),
    ],
)
def test_rules_that_do_not_fit(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(ComponentError, match=message):
        build_param_groups(SYSTEMS.get('TinySystem')(), rules, 0.1, None)


def test_schedules_count_in_the_unit_of_the_training() -> None:
    model = system()
    linear = functools.partial(SCHEDULERS.get('LinearLR'), start_factor=0.5)
    for config, end in (
        (schema.TrainCfg(max_epochs=4), 4),
        (schema.TrainCfg(max_iters=30), 30),
    ):
        made = build_schedulers({'a': linear}, wrapper(model), config, 10)['a']
        assert (made.by_epoch, made.end) == (config.by_epoch, end)
    by_iter = functools.partial(linear, by_epoch=False)
    made = build_schedulers({'a': by_iter}, wrapper(model), schema.TrainCfg(max_epochs=4), 10)['a']
    assert (made.by_epoch, made.end) == (False, 40)
    plateau = functools.partial(SCHEDULERS.get('ReduceOnPlateauLR'), monitor='mse')
    made = build_schedulers({'a': plateau}, wrapper(model), schema.TrainCfg(max_iters=30), 10)['a']
    assert made.by_epoch
