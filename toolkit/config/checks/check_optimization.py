"""Checks the rules of parameters, the optimizer and the schedules of a config."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Annotated, Any

import torch

from toolkit.config.checks.range_faults import find_fault
from toolkit.config.yaml_file import describe_type
from toolkit.errors import ComponentError, did_you_mean
from toolkit.ranges import Gt, Le, NonNegativeFloat, strip_ranges
from toolkit.registry.build import get_ranges, strip_none

MULTIPLIERS: dict[str, Any] = {
    'lr_mult': NonNegativeFloat,
    'decay_mult': NonNegativeFloat,
    'layer_decay': Annotated[float, Gt(0), Le(1)],
}


def get_arguments(factory: Any) -> Mapping[str, Any]:
    """Returns the arguments that the config gives to a component."""
    return getattr(factory, 'arguments', None) or getattr(factory, 'keywords', None) or {}


def check_paramwise(optimizer: Any, config: Mapping[str, Any]) -> None:
    """Checks the values of the rules, and that `custom_keys` has options of the optimizer."""
    path = 'optim_wrapper.paramwise_cfg'
    for rule, value in config.items():
        if rule != 'custom_keys':
            _check_option(f'{path}.{rule}', rule, MULTIPLIERS.get(rule, NonNegativeFloat), value)
    custom = config.get('custom_keys')
    if custom is None:
        return
    if not isinstance(custom, Mapping):
        message = f'found {describe_type(custom)}, expected a mapping from names of parameters'
        raise ComponentError(f'{path}.custom_keys', message)
    cls = getattr(optimizer, 'cls', None) or getattr(optimizer, 'func', optimizer)
    options = {**{n: a for n, a in get_ranges(cls).items() if n != 'params'}, **MULTIPLIERS}
    for key, settings in custom.items():
        where = f'{path}.custom_keys.{key}'
        if not isinstance(settings, Mapping):
            message = f'found {describe_type(settings)}, expected a mapping of options'
            raise ComponentError(where, message)
        for option, value in settings.items():
            if option not in options:
                hint = did_you_mean(option, options) or f'; there are: {", ".join(options)}'
                name = getattr(cls, '__name__', cls)
                raise ComponentError(
                    f'{where}.{option}', f'{name} has no option {option!r}, and no multiplier{hint}'
                )
            _check_option(f'{where}.{option}', option, options[option], value)


def _check_option(path: str, name: str, annotation: Any, value: Any) -> None:
    """Checks the value of a rule or of an option of parameters, by its annotation."""
    plain = strip_ranges(strip_none(annotation))
    pair = typing.get_args(plain) if typing.get_origin(plain) is tuple else ()
    expected = {float: 'a number', bool: 'true or false'}.get(plain, f'a list of {len(pair)}')
    fits = {
        float: isinstance(value, (int, float)) and not isinstance(value, bool),
        bool: isinstance(value, bool),
    }.get(plain, not pair or (isinstance(value, list) and len(value) == len(pair)))
    if not fits and not (value is None and plain is not strip_ranges(annotation)):
        raise ComponentError(path, f'found {describe_type(value)}, expected {expected}')
    if fault := find_fault(annotation, value):
        raise ComponentError(path, f'{name} {fault}')


def check_schedules(
    schedules: Mapping[str, Any], optimizer: Any, length: int, by_epoch: bool
) -> None:
    """Checks that schedules act within the training, and that their classes take their numbers.

    Args:
        schedules: factories by name.
        optimizer: factory of the optimizer whose rates they change.
        length: epochs or iterations of the training.
        by_epoch: the unit of `length`.
    Raises:
        ComponentError: a schedule or the optimizer is impossible.
    """
    for name, factory in schedules.items():
        _check_span(f'param_scheduler.{name}', get_arguments(factory), length, by_epoch)
    # Classes of plugins may need the parameters of a real network; those of libraries do not.
    if not _is_of_library(optimizer):
        return
    for factory in schedules.values():
        if _is_of_library(factory):
            given = get_arguments(factory)
            end = given.get('end', max(length, given.get('begin', 0) + 1))
            parameter = torch.zeros(1, 1, requires_grad=True)
            try:
                unit = given.get('by_epoch', by_epoch)
                factory(optimizer=optimizer(params=[parameter]), by_epoch=unit, end=end)
            except ComponentError as error:
                message = error.message if error.message.strip(': ') else 'its arguments clash'
                raise ComponentError(error.path, message) from error


def _is_of_library(factory: Any) -> bool:
    cls = getattr(factory, 'cls', None) or getattr(factory, 'func', factory)
    return getattr(cls, '__module__', '').split('.')[0] in ('torch', 'mmengine')


def _check_span(path: str, given: Mapping[str, Any], length: int, by_epoch: bool) -> None:
    """Checks that a schedule ends after it begins, and begins within the training."""
    begin, end = given.get('begin', 0), given.get('end')
    unit = 'max_epochs' if by_epoch else 'max_iters'
    same_unit = given.get('by_epoch', by_epoch) == by_epoch
    if isinstance(end, int) and end <= begin:
        message = f'the schedule ends at {end}, but it begins at {begin}'
        if end != length:
            raise ComponentError(f'{path}.end', f'{message}; set end to {begin + 1} or more')
    elif same_unit and begin >= length:
        message, end = f'the schedule begins at {begin}, but the training ends at {length}', length
    else:
        return
    raise ComponentError(
        f'{path}.begin',
        f'{message}, since train_cfg.{unit} is {length}: set train_cfg.{unit} to {begin + 1} or '
        f'more, {path}.begin to {end - 1} or less, or take the schedule out: {path}: null',
    )
