"""Schedules under another length of the training than they were begun with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from torch.optim import Optimizer

from toolkit.config.schema import TrainCfg
from toolkit.engine.training.optim import build_schedulers

Factories = Mapping[str, Callable[..., Any]]


def follows_metric(schedule: Any) -> bool:
    """Tells whether a schedule follows a metric of the validation, and not the length."""
    return hasattr(schedule, 'need_val_args')


def find_differing(
    before: Factories,
    after: Factories,
    lengths: tuple[TrainCfg, TrainCfg],
    optimizer: Optimizer,
    epoch_length: int,
    iterations: int,
) -> list[str]:
    """Finds the schedules whose values in the first iterations depend on the length.

    Each schedule multiplies what the others have made, so that each is tried alone.

    Args:
        before: factories by name, of the run so far.
        after: those of the rest of it.
        lengths: of the training, before and after.
        optimizer: a fresh one with the schedules' settings.
        epoch_length: iterations of an epoch.
        iterations: number of the first ones.
    Returns:
        Names of schedules.
    """
    found = []
    for name in dict.fromkeys([*before, *after]):
        traces = []
        for factories, length in zip((before, after), lengths):
            one = {name: factories[name]} if name in factories else {}
            stand_in = _Settings(optimizer)
            schedules = build_schedulers(one, stand_in, length, epoch_length).values()
            if any(map(follows_metric, schedules)):
                traces.append([])
                continue
            moves = _move(schedules, iterations, epoch_length)
            traces.append([stand_in.copy_values() for _ in moves])
        if traces[0] != traces[1]:
            found.append(name)
    return found


def move_forward(
    schedules: Collection[_ParamScheduler], iterations: int, epoch_length: int
) -> None:
    """Moves fresh schedules to where they stand after some iterations."""
    for _ in _move(schedules, iterations, epoch_length):
        pass


def get_settings(schedules: Collection[_ParamScheduler]) -> list[dict[str, Any]]:
    """Gets the settings that schedules have changed in each group of parameters."""
    if not schedules:
        return []
    names = {schedule.param_name for schedule in schedules}
    if any(getattr(schedule, 'use_betas', False) for schedule in schedules):
        names.add('betas')
    groups = next(iter(schedules)).optimizer.param_groups
    return [{name: group[name] for name in names} for group in groups]


def _move(
    schedules: Collection[_ParamScheduler], iterations: int, epoch_length: int
) -> Iterator[None]:
    """Yields before each iteration; then steps the schedules as mmengine's hook does after it."""
    for number in range(1, iterations + 1):
        yield
        for by_epoch in (False, True) if number % epoch_length == 0 else (False,):
            for schedule in schedules:
                if schedule.by_epoch is by_epoch:
                    schedule.step()


class _Settings(Optimizer):
    """Optimizer without a network, which has the settings of another one before its schedules."""

    def __init__(self, like: Optimizer) -> None:
        groups = []
        for group in like.param_groups:
            settings = {k: v for k, v in group.items() if not k.startswith('initial_')}
            initial = {k.removeprefix('initial_'): v for k, v in group.items() if k not in settings}
            settings |= initial | {'params': [torch.zeros(1, requires_grad=True)]}
            if 'betas' in settings and 'momentum' in initial:
                settings['betas'] = (initial['momentum'], *settings['betas'][1:])
            groups.append(settings)
        super().__init__(groups, dict(like.defaults))

    def step(self, closure: Any = None) -> None:
        """Does nothing; a schedule counts the calls."""

    def copy_values(self) -> list[dict[str, Any]]:
        """Copies the settings of each group, without the parameters."""
        return [
            {k: v for k, v in group.items() if k != 'params' and not k.startswith('initial_')}
            for group in self.param_groups
        ]
