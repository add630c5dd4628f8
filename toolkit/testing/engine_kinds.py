"""Contracts of what an engine drives: systems, samplers, optimizers, schedules and hooks."""

from __future__ import annotations

import copy
import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from toolkit.interfaces import Dataset
from toolkit.registry.built import recall
from toolkit.testing.contract import Contract

LENGTH = 12  # samples of the dataset that a sampler is tried on
STEPS = 5
# Similarity of a name to that of a place, from which on it is taken for a misspelling.
MISSPELLED = 0.85


class SystemContract(Contract):
    """A batch to losses by name, to predictions, and to raw outputs."""

    def make_inputs(self, component: Any, case: int, batch: int = 2) -> dict[str, Any]:
        return {'batch': component.training_example(batch), 'mode': 'loss'}

    def find_call_faults(
        self, component: Any, inputs: Mapping[str, Any], output: Any
    ) -> Iterator[str]:
        if inputs.get('mode') != 'loss':
            return
        if not isinstance(output, Mapping):
            found = type(output).__name__
            yield f'gives a {found} as its losses; give a mapping of scalars by name'
            return
        for name, term in output.items():
            if not isinstance(term, Tensor) or term.ndim:
                given = tuple(term.shape) if isinstance(term, Tensor) else type(term).__name__
                yield f'gives {given} as the loss {name!r}; a loss is a scalar tensor'

    def find_value_faults(self, component: Any) -> Iterator[str]:
        component.eval()
        with torch.no_grad():
            for count in (1, 2):
                batch = component.training_example(count)
                component(batch)
                outputs = component(batch, mode='predict')
                if not isinstance(outputs, Mapping):
                    yield (
                        f'predicts a {type(outputs).__name__}; `predict` gives a mapping by name, '
                        'for metrics and files'
                    )
                    return
                for name, value in outputs.items():
                    if isinstance(value, Tensor) and (not value.ndim or len(value) != count):
                        yield (
                            f'predicts {name!r} {tuple(value.shape)} of a batch of {count}; the '
                            'first axis of a prediction is the batch'
                        )
                        return


class _Samples(Dataset):
    """Samples that have a number and nothing else, for samplers."""

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {'meta': {'item': str(index)}}

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f'the dataset of this check has no {name!r}; where a sampler needs more than the '
            'number of samples, derive a contract from SamplerContract whose list_injected gives a '
            "dataset that has it, and name it in the sampler: contract = 'MODULE.CLASS'"
        )


class SamplerContract(Contract):
    """Indices of an epoch, which depend on seed and epoch alone."""

    is_pickled = False

    def list_injected(self, cls: type) -> Sequence[dict[str, Any]]:
        return [{'dataset': _Samples(), 'seed': 0}]

    def find_value_faults(self, component: Any) -> Iterator[str]:
        orders = [_list_order(component.order(epoch)) for epoch in (0, 1, 0)]
        for order in orders:
            if order is None:
                found = type(component.order(0)).__name__
                yield f'gives a {found} as the order of an epoch; give a sequence of indices'
                return
            if not order:
                yield 'gives no index for an epoch; give one index at least'
                return
            if wrong := [index for index in order if not 0 <= index < LENGTH]:
                yield (
                    f'gives the index {wrong[0]} for a dataset of {LENGTH} samples; indices are '
                    f'from 0 to {LENGTH - 1}'
                )
                return
        lengths = [len(order) for order in orders if order]
        if len(set(lengths)) > 1:
            yield (
                f'gives {lengths[0]} indices in epoch 0 and {lengths[1]} in epoch 1; a sampler '
                'gives equally many in each'
            )
            return
        if orders[0] != orders[2]:
            yield (
                'gives two orders for the same epoch; take random numbers from a generator that is '
                'seeded by seed and epoch, so that a run can be resumed anywhere'
            )


def _list_order(order: Any) -> list[int] | None:
    if not isinstance(order, Sequence) and not isinstance(order, Tensor):
        return None
    try:
        return [int(index) for index in order]
    except (TypeError, ValueError):
        return None


class OptimizerContract(Contract):
    """Steps that change parameters, and a state from which they go on."""

    is_pickled = False

    def list_injected(self, cls: type) -> Sequence[dict[str, Any]]:
        return [{'params': [nn.Parameter(torch.linspace(0.5, 2, 6).reshape(2, 3))]}]

    def find_value_faults(self, component: Any) -> Iterator[str]:
        groups = getattr(component, 'param_groups', None)
        if not groups or not all('lr' in group for group in groups):
            yield (
                'has no learning rate in its param_groups, which schedules change; call '
                "super().__init__(params, {'lr': lr})"
            )
            return
        parameter = groups[0]['params'][0]
        before = parameter.detach().clone()
        for _ in range(STEPS):
            _step(component, parameter)
        if torch.equal(parameter, before):
            yield f'changes no parameter in {STEPS} steps; write to the parameters in `step`'
            return
        if not torch.isfinite(parameter).all():
            yield f'makes parameters that are not finite in {STEPS} steps'
            return
        yield from _find_resumption_fault(component, parameter)


def _step(optimizer: Any, parameter: Tensor) -> None:
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def _find_resumption_fault(optimizer: Any, parameter: Any) -> Iterator[str]:
    """Compares a step of an optimizer with that of a new one that took its saved state."""
    record = recall(optimizer)
    if record is None:
        return
    copied = nn.Parameter(parameter.detach().clone())
    other = record.factory(**{**record.injected, 'params': [copied]})
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    _step(optimizer, parameter)
    _step(other, copied)
    if not torch.equal(parameter, copied):
        yield (
            'steps otherwise after its state was saved and loaded; keep all that a step depends on '
            'in `self.state[parameter]` or in `param_groups`'
        )


class SchedulerContract(Contract):
    """Values of an optimizer's setting by step, and a state from which they go on."""

    is_pickled = False

    def list_injected(self, cls: type) -> Sequence[dict[str, Any]]:
        return [{'optimizer': torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)}]

    def find_value_faults(self, component: Any) -> Iterator[str]:
        for _ in range(STEPS):
            rate = _step_schedule(component)
            if isinstance(rate, bool) or not isinstance(rate, (int, float, Tensor)):
                yield f'sets the learning rate to {rate!r}; it is a number, 0 or more'
                return
            if not 0 <= rate < float('inf'):
                yield f'sets the learning rate to {rate}; it is a finite number, 0 or more'
                return
        record = recall(component)
        if record is None:
            return
        other = record.factory(**{**record.injected, **self.list_injected(type(component))[0]})
        try:
            other.load_state_dict(copy.deepcopy(component.state_dict()))
        except Exception as error:  # the component is its author's code
            yield f'cannot load the state that it saved: {type(error).__name__}: {error}'
            return
        other.optimizer.load_state_dict(copy.deepcopy(component.optimizer.state_dict()))
        for _ in range(STEPS):
            expected, found = _step_schedule(component), _step_schedule(other)
            if expected != found:
                yield (
                    f'sets the learning rate to {found} and not to {expected} after its state was '
                    'saved and loaded; keep all that a value depends on in `state_dict`'
                )
                return


def _step_schedule(scheduler: Any) -> Any:
    scheduler.optimizer.step()
    scheduler.step()
    return scheduler.optimizer.param_groups[0]['lr']


class HookContract(Contract):
    """Methods at places that the engine calls, with their arguments."""

    is_pickled = False

    def find_value_faults(self, component: Any) -> Iterator[str]:
        places = {
            name: list(inspect.signature(getattr(Hook, name)).parameters)[2:]
            for name in dir(Hook)
            if name.startswith(('before_', 'after_'))
        }
        places['after_step'] = []  # the engine's own
        for name, method in inspect.getmembers(type(component), inspect.isfunction):
            if not name.startswith(('before_', 'after_')):
                continue
            if name not in places:
                # A method of another name may be the hook's own; one that is nearly the name of a
                # place is a misspelling.
                if near := difflib.get_close_matches(name, places, 1, MISSPELLED):
                    yield f'has the method {name!r}, which nothing calls; did you mean {near[0]!r}?'
                continue
            try:
                # By name, as the engine calls it.
                inspect.signature(method).bind(component, None, **dict.fromkeys(places[name]))
            except TypeError:
                called = ', '.join(('runner', *(f'{argument}=...' for argument in places[name])))
                yield (
                    f'has {name}{inspect.signature(method)}; the engine calls it with ({called})'
                )
