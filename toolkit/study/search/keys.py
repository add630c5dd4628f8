"""Keys of `search` in a study file as typed classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from toolkit.io.tables.formatting import parse_duration


@dataclass
class Parameter:
    """Values of one path: exactly one of `uniform`, `log`, `integer` and `choice`.

    Args:
        uniform: lowest and highest number, all equally likely.
        log: lowest and highest number above 0, whose logarithms are equally likely.
        integer: lowest and highest integer, all equally likely.
        choice: a list of values of any form, components with their arguments included.
        step: distance between the values of `uniform` or `integer`.
        points: number of values of `uniform` or `log` for the sampler `grid`, ends included.
        when: other paths of the space with the value, or the list of values, at which this one is
            searched; elsewhere it stays as it is.
    """

    uniform: list[float] | None = None
    log: list[float] | None = None
    integer: list[int] | None = None
    choice: list[Any] | None = None
    step: float | None = None
    points: int | None = None
    when: dict[str, Any] = field(default_factory=dict)

    @property
    def kinds(self) -> list[str]:
        """The ranges that are given; one where the entry is right."""
        names = ('uniform', 'log', 'integer', 'choice')
        return [name for name in names if getattr(self, name) is not None]

    @property
    def range(self) -> list[Any]:
        """The values of the one range that is given."""
        return getattr(self, self.kinds[0])


@dataclass
class Halving:
    """Asynchronous successive halving, which ends trials that fall behind.

    Args:
        factor: of all trials that reach a rung, one in so many goes on.
        first: number of validations before the first rung; each further rung lies `factor` times
            as far.
        most: number of validations of a whole run, at which none is ended any more.
    """

    factor: int = 3
    first: int = 1
    most: int | None = None

    def list_rungs(self, reached: int) -> list[int]:
        """List the rungs, as numbers of validations.

        Args:
            reached: the highest number of validations that any trial has.
        """
        found, rung = [], self.first
        while rung <= reached and (self.most is None or rung < self.most):
            found.append(rung)
            rung *= self.factor
        return found


@dataclass
class SearchSpec:
    """The space of a search, and the way in which it is searched.

    Args:
        space: parameters by dotted path.
        trials: number of trials; every point of a `grid` by default.
        time: run time of all trials after which none is started, as `budget.time` is written.
        metric: metric of the validation that is made best; `primary` by default.
        sampler: `tpe` learns from earlier trials, `random` does not, `grid` tries every point.
        startup: number of random trials before TPE begins to learn.
        seed: random seed of the sampler.
        run_seed: random seed of the trials' runs; by default the integer after the largest of
            `seeds`.
        batch: number of trials that are chosen together, from the results of all before them.
        stop: `asha` ends trials early; `hyperband` spares some of them the first rungs.
        rungs: where these look at them.
    """

    space: dict[str, Parameter]
    trials: int | None = None
    time: str | float | None = None
    metric: str | None = None
    sampler: Literal['tpe', 'random', 'grid'] = 'tpe'
    startup: int = 10
    seed: int = 0
    run_seed: int | None = None
    batch: int = 1
    stop: Literal['asha', 'hyperband'] | None = None
    rungs: Halving = field(default_factory=Halving)

    @property
    def seconds(self) -> float | None:
        """The limit of the run time of all trials.

        Raises:
            ValueError: `time` is no duration.
        """
        if self.time is None or isinstance(self.time, (int, float)):
            return self.time
        return parse_duration(self.time)

    def __post_init__(self) -> None:
        try:
            seconds = self.seconds
        except ValueError as error:
            message = f'time is {self.time!r}, expected seconds, or such as 90 s, 30 min, 2 h, 1 d'
            raise ValueError(message) from error
        if seconds is not None and not 0 < seconds < math.inf:
            raise ValueError(f'time must be positive, found {self.time}')


@dataclass(frozen=True)
class PlannedTrial:
    """A trial of a search.

    Attributes:
        number: from 0.
        point: values of the active parameters by path, as the space writes it.
        thresholds: values of the metric that it must reach, by number of validations.
    """

    number: int
    point: Mapping[str, Any]
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """The values by plain path, as tables name them."""
        return {path.removeprefix('+'): value for path, value in self.point.items()}
