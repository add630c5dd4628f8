"""Chooses the values of a trial from the trials before it.

Nothing is kept between two trials: the sampler is made anew from the seed, the number of the trial
and the results on disk, so that a search which was killed chooses the same values again.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.study.search.keys import Parameter, SearchSpec
from toolkit.study.search.space import Point, is_active, is_same, list_grid, sort_space


@dataclass(frozen=True)
class KnownTrial:
    """A trial as the sampler knows it.

    Attributes:
        point: the values of its parameters.
        value: of the metric; None where the trial still runs, or was ended where the metric was not
            finite.
        validations: number of validations after which it was ended; None where it ran to its end.
    """

    point: Point = field(default_factory=dict)
    value: float | None = None
    validations: int | None = None


def choose_point(
    search: SearchSpec, number: int, known: Sequence[KnownTrial], higher: bool
) -> Point | None:
    """Choose the values of a trial; None where a grid has no further point.

    Args:
        search: the space and its sampler.
        number: of the trial, from 0.
        known: trials before it; those of its own batch have no value.
        higher: whether higher values are better.
    Raises:
        ToolkitError: Optuna is not installed.
    """
    if search.sampler == 'grid':
        return next(itertools.islice(list_grid(search.space), number, None), None)
    optuna = import_optuna()
    space = sort_space(search.space)
    seed = _derive_seed(search.seed, number)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
        if search.sampler == 'random':
            sampler = optuna.samplers.RandomSampler(seed)
        else:
            # The values that others of the batch have are kept away from.
            sampler = optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=search.startup, constant_liar=search.batch > 1
            )
        study = optuna.create_study(sampler=sampler, direction='maximize' if higher else 'minimize')
        for outcome in known:
            study.add_trial(_make_trial(optuna, space, outcome))
        trial = study.ask()
        point: Point = {}
        for path, parameter in space.items():
            if is_active(parameter, point):
                point[path] = _suggest(trial, path, parameter)
    return point


def import_optuna() -> Any:
    """Import Optuna without its messages.

    Raises:
        ToolkitError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ToolkitError(
            "search needs Optuna; install it: pip install 'ablakit[search]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _derive_seed(seed: int, number: int) -> int:
    digest = hashlib.sha256(f'{seed} {number}'.encode()).digest()
    return int.from_bytes(digest[:4], 'little')


def _make_trial(optuna: Any, space: dict[str, Parameter], outcome: KnownTrial) -> Any:
    state = optuna.trial.TrialState
    steps = {}
    if outcome.validations is not None:
        kind = state.PRUNED
        steps = {outcome.validations: math.nan if outcome.value is None else outcome.value}
    else:
        kind = state.RUNNING if outcome.value is None else state.COMPLETE
    return optuna.trial.create_trial(
        state=kind,
        value=outcome.value,
        params={p: _to_internal(space[p], value) for p, value in outcome.point.items()},
        distributions={p: _make_distribution(optuna, space[p]) for p in outcome.point},
        intermediate_values=steps,
    )


def _make_distribution(optuna: Any, parameter: Parameter) -> Any:
    distributions = optuna.distributions
    if parameter.choice is not None:
        return distributions.CategoricalDistribution(range(len(parameter.choice)))
    low, high = parameter.range
    if parameter.integer is not None:
        return distributions.IntDistribution(low, high, step=int(parameter.step or 1))
    return distributions.FloatDistribution(
        low, high, log=parameter.log is not None, step=parameter.step
    )


def _suggest(trial: Any, path: str, parameter: Parameter) -> Any:
    if parameter.choice is not None:
        place = trial.suggest_categorical(path, range(len(parameter.choice)))
        return parameter.choice[place]
    low, high = parameter.range
    if parameter.integer is not None:
        return trial.suggest_int(path, low, high, step=int(parameter.step or 1))
    value = trial.suggest_float(path, low, high, log=parameter.log is not None, step=parameter.step)
    if parameter.step is not None:
        return min(round(value, 12), high)
    # Few digits, which are easier to read; more in a narrow range.
    digits = 6 + max(0, math.floor(math.log10(max(abs(low), abs(high)) / (high - low))))
    return min(max(float(f'{value:.{digits}g}'), low), high)


def _to_internal(parameter: Parameter, value: Any) -> Any:
    """Get a choice by its place, since Optuna knows no components."""
    if parameter.choice is None:
        return value
    return next(n for n, entry in enumerate(parameter.choice) if is_same(entry, value))


def fits_space(search: SearchSpec, point: Point) -> bool:
    """Tell whether a point lies in the space."""
    space, reached = sort_space(search.space), {}
    for path, parameter in space.items():
        if is_active(parameter, reached) != (path in point):
            return False
        if path in point:
            reached[path] = point[path]
            if parameter.choice is not None:
                if not any(is_same(point[path], value) for value in parameter.choice):
                    return False
            elif not parameter.range[0] <= point[path] <= parameter.range[1]:
                return False
    return set(point) == set(reached)
