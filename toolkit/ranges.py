"""Ranges of numeric arguments, stated once in their annotations: `width: PositiveInt = 16`.

`toolkit check` holds the values of a config against them before anything is built, and
`toolkit list KIND NAME` shows them. A number without a stated range must be finite. `repr` of a
bound is its sign, for signatures; `str` is its words, for messages.
"""

from __future__ import annotations

import math
import typing
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True, repr=False)
class Ge:
    """A number of at least `limit`."""

    limit: float

    def __repr__(self) -> str:
        return f'>= {self.limit:g}'

    def __str__(self) -> str:
        return f'at least {self.limit:g}'

    def contains(self, number: float) -> bool:
        """Tells whether a number is in the range."""
        return number >= self.limit


@dataclass(frozen=True, repr=False)
class Gt:
    """A number above `limit`."""

    limit: float

    def __repr__(self) -> str:
        return f'> {self.limit:g}'

    def __str__(self) -> str:
        return f'above {self.limit:g}'

    def contains(self, number: float) -> bool:
        """Tells whether a number is in the range."""
        return number > self.limit


@dataclass(frozen=True, repr=False)
class Le:
    """A number of at most `limit`."""

    limit: float

    def __repr__(self) -> str:
        return f'<= {self.limit:g}'

    def __str__(self) -> str:
        return f'at most {self.limit:g}'

    def contains(self, number: float) -> bool:
        """Tells whether a number is in the range."""
        return number <= self.limit


@dataclass(frozen=True, repr=False)
class Lt:
    """A number below `limit`."""

    limit: float

    def __repr__(self) -> str:
        return f'< {self.limit:g}'

    def __str__(self) -> str:
        return f'below {self.limit:g}'

    def contains(self, number: float) -> bool:
        """Tells whether a number is in the range."""
        return number < self.limit


@dataclass(frozen=True, repr=False)
class Odd:
    """An odd number."""

    def __repr__(self) -> str:
        return 'odd'

    def contains(self, number: float) -> bool:
        """Tells whether a number is in the range."""
        return number % 2 == 1


@dataclass(frozen=True, repr=False)
class Infinite:
    """A number that may be infinite, such as the norm of a clipping."""

    def __repr__(self) -> str:
        return 'may be infinite'

    def contains(self, number: float) -> bool:
        """Tells whether a number is in the range."""
        return not math.isnan(number)


BOUNDS = (Ge, Gt, Le, Lt, Odd, Infinite)

PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
OddInt = Annotated[int, Ge(1), Odd(), Le(9999)]  # kernels; no image is larger than some
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Probability = Annotated[float, Ge(0), Le(1)]
BelowOne = Annotated[float, Ge(0), Lt(1)]  # dropout rates, decays and momenta


def strip_ranges(annotation: Any) -> Any:
    """Turns `Annotated[int, Ge(1)]` into `int`; other annotations stay as they are."""
    if typing.get_origin(annotation) is Annotated:
        return typing.get_args(annotation)[0]
    return annotation
