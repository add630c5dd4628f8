"""Tasks: class names and the positive class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from toolkit.errors import did_you_mean
from toolkit.ranges import Gt, Lt, NonNegativeFloat

# Names of missing values in tables. 'none' is not one: it is a finding, such as no calcification.
MISSING_NAMES = frozenset(
    ('', 'na', 'n/a', '#n/a', 'nan', 'null', 'nil', 'unknown', 'unk', 'missing', '?', '-', '.')
)
MISSING = -1  # label of a sample that has none for a task


@dataclass(frozen=True)
class Task:
    """A classification task: the classes that an image may be of.

    Args:
        classes: names of the classes, in the order of the logits.
        positive: class to be detected, one of two, such as 'malignant'; sensitivity, PPV and the
            threshold refer to it. None to measure every class against the rest.
        costs: costs[t][d] of deciding for class d if class t is true, in the order of `classes`;
            decisions then have the lowest expected cost. None for the likeliest class, or for the
            threshold of a positive class.
        meant: classes that are meant although tables name missing values so, such as 'unknown'.
        coverage: probability that the prediction set of an image of a new patient holds its class,
            such as 0.9; None for no sets. See
            `plugins.classification.metrics.functional.conformal`.
        coverage_of: 'all' to cover the images of all classes together, 'class' those of each class.
    Raises:
        ValueError: fewer than two classes, a repeated name, a positive class that is not one of
            two, costs that are not K x K or beside a positive class, a class that is named like a
            missing value, a coverage outside (0, 1).
    """

    classes: tuple[str, ...]
    positive: str | None = None
    costs: tuple[tuple[NonNegativeFloat, ...], ...] | None = None
    meant: tuple[str, ...] = ()
    coverage: Annotated[float, Gt(0), Lt(1)] | None = None
    coverage_of: Literal['all', 'class'] = 'all'

    def __post_init__(self) -> None:
        object.__setattr__(self, 'classes', tuple(self.classes))
        if len(self.classes) < 2:
            raise ValueError(f'expected two classes or more, found {list(self.classes)}')
        repeated = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if repeated:
            raise ValueError(f'the class {repeated[0]!r} is named twice')
        if self.coverage is not None and not 0 < self.coverage < 1:
            raise ValueError(f'coverage must be above 0 and below 1, found {self.coverage}')
        if self.coverage_of not in ('all', 'class'):
            raise ValueError(f'coverage_of must be all or class, found {self.coverage_of!r}')
        self._check_costs()
        for name in self.classes:
            if str(name).strip().casefold() in MISSING_NAMES and name not in self.meant:
                raise ValueError(
                    f'classes: {name!r} is how tables write a missing value; leave it out (by '
                    f'`values: {{TASK: {{{name!r}: null}}}}` of a manifest), or say that it is a '
                    f'class by `meant: [{name!r}]`'
                )
        if self.positive is None:
            return
        if self.positive not in self.classes:
            near = did_you_mean(self.positive, self.classes)
            raise ValueError(
                f'positive: there is no class {self.positive!r}{near or ""}; there are: '
                f'{", ".join(self.classes)}'
            )
        if len(self.classes) != 2:
            raise ValueError(
                f'positive needs two classes, found {len(self.classes)}; leave it out to measure '
                'each class against the rest'
            )

    def _check_costs(self) -> None:
        if self.costs is None:
            return
        object.__setattr__(self, 'costs', tuple(tuple(map(float, row)) for row in self.costs))
        if self.positive is not None:
            raise ValueError(
                'costs: a positive class is decided by its threshold; leave out costs or positive'
            )
        count = len(self.classes)
        if len(self.costs) != count or any(len(row) != count for row in self.costs):
            raise ValueError(
                f'costs: expected {count} rows of {count} numbers, one for each true class, found '
                f'rows of {[len(row) for row in self.costs]}'
            )
        for name, row, own in zip(self.classes, self.costs, range(count)):
            if not all(0 <= cost < float('inf') for cost in row):
                raise ValueError(f'costs: the row of {name!r} has a negative or infinite cost')
            if any(cost <= row[own] for i, cost in enumerate(row) if i != own):
                raise ValueError(
                    f'costs: in the row of {name!r}, deciding for {name!r} itself must cost least'
                )

    @property
    def positive_index(self) -> int | None:
        """Index of the positive class; None if there is none."""
        return None if self.positive is None else self.classes.index(self.positive)


Tasks = Mapping[str, Task]
