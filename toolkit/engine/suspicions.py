"""Finds settings of a training that are allowed and probably not intended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolkit.config.checks.check_optimization import get_arguments
from toolkit.config.schema import TrainCfg
from toolkit.engine.components import RunComponents

WARM_UPS = ('LinearLR', 'ConstantLR')


def find_suspicions(parts: RunComponents, length: int | None) -> Iterator[tuple[str, str]]:
    """Yields the dotted path of a setting and what it would do.

    Args:
        parts: components of a run.
        length: iterations of an epoch; None if that is not known.
    """
    cfg = parts.run.train_cfg
    if cfg is None:
        return
    for name, factory in parts.run.param_scheduler.items():
        path, given = f'param_scheduler.{name}', get_arguments(factory)
        kind = getattr(getattr(factory, 'cls', factory), '__name__', '')
        if (total := _count_steps(cfg, given, length)) is not None:
            yield from _find_in_schedule(path, kind, given, total)


def _count_steps(cfg: TrainCfg, given: Any, length: int | None) -> int | None:
    """Counts the epochs or iterations of a training, in the unit of a schedule."""
    if given.get('by_epoch', cfg.by_epoch) == cfg.by_epoch:
        return cfg.max_epochs or cfg.max_iters
    if length is None:
        return None
    if cfg.max_epochs is not None:
        return cfg.max_epochs * length
    return -(-(cfg.max_iters or 0) // length)


def _find_in_schedule(path: str, kind: str, given: Any, total: int) -> Iterator[tuple[str, str]]:
    begin = given.get('begin', 0)
    end = given.get('end', total)
    if kind in WARM_UPS and isinstance(end, int) and end > total:
        yield f'{path}.end', f'the warm-up lasts until {end}, but the training ends at {total}'
    period = given.get('T_max')
    span = (end if isinstance(end, int) else total) - begin
    if isinstance(period, int) and period > span:
        yield (
            f'{path}.T_max',
            f'the cosine needs {period} steps to reach its lowest rate, but the schedule has '
            f'{span}; leave T_max out to take its length',
        )
    elif isinstance(period, int) and period < span:
        yield (
            f'{path}.T_max',
            f'the cosine is at its lowest rate after {period} of {span} steps and rises again; '
            'leave T_max out to take the length of the schedule',
        )
    late = [m for m in given.get('milestones') or () if isinstance(m, int) and begin + m >= total]
    if late:
        yield f'{path}.milestones', f'{late[0]} is never reached: the training ends at {total}'
    step = given.get('step_size')
    if isinstance(step, int) and begin + step >= total:
        yield f'{path}.step_size', f'the rate never falls: the training ends at {total}'
