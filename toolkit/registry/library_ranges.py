"""Ranges of the arguments of torch's optimizers and of mmengine's schedules and hooks.

Their own annotations state no ranges, and their constructors find a wrong number too late, since
they need the parameters of a network. Some they never find: a schedule with `T_max: 0` divides by
zero after the first epoch, and a momentum of 1 grows without end.
"""

from __future__ import annotations

from typing import Annotated, Any

from toolkit.ranges import (
    BelowOne,
    Ge,
    Gt,
    Le,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
)

# By the first module of a library, then by argument. An argument means the same in all classes.
_RANGES: dict[str, dict[str, Any]] = {
    'torch.optim': {
        # 0 trains nothing, which a control experiment may want; below 0 the loss grows.
        'lr': NonNegativeFloat,
        'weight_decay': NonNegativeFloat,
        'lr_decay': NonNegativeFloat,
        'momentum_decay': NonNegativeFloat,
        'initial_accumulator_value': NonNegativeFloat,
        # Weights of a running average: with 1 it never changes, or grows without end.
        'momentum': BelowOne,
        'betas': tuple[BelowOne, BelowOne],
        'rho': Probability,
        'alpha': Probability,
        'dampening': Probability,
        # torch accepts 0, with which a parameter without gradient becomes NaN.
        'eps': PositiveFloat,
        # Rprop: the first shrinks a step, the second enlarges it.
        'etas': tuple[Annotated[float, Gt(0), Le(1)], Annotated[float, Ge(1)]],
        'step_sizes': tuple[PositiveFloat, PositiveFloat],
        'max_iter': PositiveInt,
        'max_eval': PositiveInt | None,
        'history_size': PositiveInt,
        'ns_steps': PositiveInt,
        'tolerance_grad': NonNegativeFloat,
        'tolerance_change': NonNegativeFloat,
        'd': PositiveFloat,
        'lambd': NonNegativeFloat,
        't0': NonNegativeFloat,
    },
    'mmengine.optim': {
        # Every step multiplies the rate by it; 0 ends the training, below 0 turns it round.
        'gamma': PositiveFloat,
        # Divisors of the step's number.
        'T_max': PositiveInt | None,
        'step_size': PositiveInt,
        'total_steps': PositiveInt | None,
        'periods': list[PositiveInt],
        'milestones': list[NonNegativeInt],
        'restart_weights': list[NonNegativeFloat],
        # Factors of the rate; mmengine refuses others when it builds the schedule.
        'factor': Probability,
        'start_factor': Annotated[float, Gt(0), Le(1)],
        'end_factor': Probability,
        # Rates.
        'eta_min': NonNegativeFloat | None,
        'eta_max': PositiveFloat,
        'eta_min_ratio': Probability | None,
        'min_value': NonNegativeFloat | list[NonNegativeFloat],
        # Below 0 the rate grows beyond all limits towards the end.
        'power': NonNegativeFloat,
        'div_factor': PositiveFloat,
        'final_div_factor': PositiveFloat,
        'pct_start': Probability,
        # Steps, epochs and validations.
        'begin': NonNegativeInt,
        'end': PositiveInt,
        'last_step': Annotated[int, Ge(-1)],
        'patience': NonNegativeInt,
        'cooldown': NonNegativeInt,
        'threshold': NonNegativeFloat,
        'eps': NonNegativeFloat,
    },
    'mmengine.hooks': {
        'interval': Annotated[int, Ge(-1)],  # -1 is mmengine's word for never
        'patience': NonNegativeInt,
        'min_delta': NonNegativeFloat,
        'begin': NonNegativeInt,
        'end': NonNegativeInt,
        'profile_times': PositiveInt,
    },
}
# torch.optim.Adafactor has a pair of `eps`, the first of which may be null.
_EXCEPTIONS: dict[str, dict[str, Any]] = {
    'Adafactor': {'eps': tuple[PositiveFloat | None, PositiveFloat]},
}


def get_library_ranges(cls: Any) -> dict[str, Any]:
    """Returns the annotations with ranges of a library's class, by argument."""
    module = getattr(cls, '__module__', '')
    for library, ranges in _RANGES.items():
        if module.startswith(library):
            return {**ranges, **_EXCEPTIONS.get(getattr(cls, '__name__', ''), {})}
    return {}
