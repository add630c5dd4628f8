"""Contracts of hooks, optimizers, schedules, samplers and panels tell sensible from broken ones."""

from __future__ import annotations

import argparse
import math
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from toolkit.commands.audit import AuditCommand
from toolkit.commands.run.predict import PredictCommand
from toolkit.commands.split import SplitCommand
from toolkit.interfaces import Sampler
from toolkit.report.panel import Panel
from toolkit.testing.component import check_component
from toolkit.testing.task_kinds import AUDIT_OPTIONS, PREDICT_OPTIONS, SPLIT_OPTIONS


class ByKeyword(Hook):
    """Takes the batch by name alone."""

    def after_train_iter(self, runner, *, batch_idx=None, data_batch=None, outputs=None):
        pass


class Whatever(Hook):
    """Takes all that the engine gives."""

    def before_run(self, *arguments):
        pass

    def after_train_iter(self, runner, **keywords):
        pass

    def after_step(self, runner):
        pass


class OtherNames(Hook):
    """Has arguments of other names, which the engine does not give."""

    def after_train_iter(self, runner, index, batch, results):
        pass


class StepWithBatch(Hook):
    """Expects more than the engine gives."""

    def after_step(self, runner, batch):
        pass


class _Optimizer(torch.optim.Optimizer):
    contract = 'toolkit.testing.engine_kinds.OptimizerContract'

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {'lr': lr, 'count': 0})
        self.count = 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        self.count += 1
        for group in self.param_groups:
            group['count'] += 1
            for parameter in group['params']:
                self.change(parameter, group)

    def change(self, parameter: Any, group: dict[str, Any]) -> None:
        raise NotImplementedError


class Signs(_Optimizer):
    """Steps by the sign of the average gradient, ever shorter."""

    def change(self, parameter: Any, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        average = state.setdefault('average', torch.zeros_like(parameter))
        average.lerp_(parameter.grad, 0.1)
        parameter.sub_(average.sign() * group['lr'] / math.sqrt(group['count']))


class OwnCount(_Optimizer):
    """Keeps the number of its steps where no checkpoint has it."""

    def change(self, parameter: Any, group: dict[str, Any]) -> None:
        parameter.sub_(parameter.grad * group['lr'] / self.count)


class _Schedule(_ParamScheduler):
    contract = 'toolkit.testing.engine_kinds.SchedulerContract'

    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer, 'lr')


class Stairs(_Schedule):
    """Ends at 0, a whole number."""

    def _get_value(self) -> list[Any]:
        return [group['lr'] if self.last_step < 3 else 0 for group in self.optimizer.param_groups]


class Forgets(_Schedule):
    """Leaves its step out of its state."""

    def _get_value(self) -> list[Any]:
        return [0.1 / (1 + self.last_step) for _ in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {}


class Reversed(Sampler):
    """The last sample first."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.length = len(dataset)

    def order(self, epoch: int) -> list[int]:
        return list(range(self.length))[::-1]


class Growing(Reversed):
    """Gives more samples in each epoch."""

    def order(self, epoch: int) -> list[int]:
        return list(range(min(self.length, 5 + epoch)))


class ByLabel(Reversed):
    """Needs labels of the dataset."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.labels = dataset.labels


class FirstRun(Panel):
    """Compares with the first run."""

    title = 'First'

    def render(self, runs: Any, budget: int) -> None:
        assert runs[0]


@pytest.mark.parametrize('cls', [ByKeyword, Whatever, Signs, Stairs, Reversed, FirstRun])
def test_a_sensible_component_keeps_its_contract(cls):
    check_component(cls)


@pytest.mark.parametrize(
    ('cls', 'message'),
    [
        (OtherNames, r'has after_train_iter\(self, runner, index, batch, results\); the engine'),
        (StepWithBatch, r'has after_step\(self, runner, batch\); the engine calls it with'),
        (OwnCount, 'steps otherwise after its state was saved'),
        (Forgets, r'sets the learning rate to 0.05 and not to 0.01\d+ after its state'),
        (Growing, 'gives 5 indices in epoch 0 and 6 in epoch 1'),
        (ByLabel, "dataset of this check has no 'labels'; .*derive a contract"),
    ],
)
def test_a_broken_component_is_found(cls, message):
    with pytest.raises(AssertionError, match=message):
        check_component(cls)


@pytest.mark.parametrize(
    ('command', 'options'),
    [
        (PredictCommand, (*PREDICT_OPTIONS, '--overwrite')),
        (SplitCommand, SPLIT_OPTIONS),
        (AuditCommand, AUDIT_OPTIONS),
    ],
)
def test_a_contract_knows_the_options_of_its_command(command, options):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    own = {
        option
        for action in parser._action_groups[1]._group_actions
        for option in action.option_strings
        if option.startswith('--')
    }
    assert own == {*options, '--help'}
