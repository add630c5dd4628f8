"""Numbers outside of the ranges that annotations state, for components and for libraries."""

from __future__ import annotations

import inspect
import math
import re
import typing
from pathlib import Path
from typing import Annotated, Literal

import pytest

from toolkit.config.checks.range_faults import find_fault
from toolkit.ranges import (
    BOUNDS,
    BelowOne,
    Gt,
    Infinite,
    NonNegativeFloat,
    OddInt,
    PositiveFloat,
    PositiveInt,
    Probability,
)
from toolkit.registry import get_kinds
from toolkit.registry.build import get_ranges, get_signature
from toolkit.registry.description.describe import format_annotation


@pytest.mark.parametrize(
    ('annotation', 'value', 'fault'),
    [
        (PositiveInt, 1, ''),
        (PositiveInt, 0, 'must be at least 1, found 0'),
        (PositiveInt | None, -3, 'must be at least 1, found -3'),
        (OddInt, 4, 'must be at least 1 and odd and at most 9999, found 4'),
        (BelowOne, 1, 'must be at least 0 and below 1, found 1'),
        (PositiveFloat, 0.0, 'must be above 0, found 0.0'),
        (PositiveFloat, math.nan, 'must be a finite number, above 0, found nan'),
        (float, math.inf, 'must be a finite number, found inf'),
        (Annotated[float, Gt(0), Infinite()], math.inf, ''),
        (Annotated[float, Gt(0), Infinite()], math.nan, 'must be a finite number, above 0, .*nan'),
        (int, 10**20, 'must be a number of at most 63 bits, found 100000000000000000000'),
        (int, 10**400, 'must be a number of at most 63 bits, found an integer of 1329 bits'),
        (tuple[Probability, Probability], [0.5, 1.5], 'must be at least 0 and at most 1, .*1.5'),
        (list[PositiveInt] | None, [1, 0], 'must be at least 1, found 0'),
        (dict[str, NonNegativeFloat], {'a': -1}, 'must be at least 0, found -1'),
        (Literal['all'] | PositiveInt, 'all', ''),
        (Literal['all'] | PositiveInt, 0, 'must be at least 1, found 0'),
        (NonNegativeFloat | list[NonNegativeFloat], [-1.0], 'must be at least 0, found -1.0'),
        (bool, True, ''),
        (str, 'x', ''),
    ],
)
def test_the_first_number_out_of_range_is_described(annotation, value, fault):
    found = find_fault(annotation, value)
    assert found == fault or (fault and re.fullmatch(fault, found)), found


def test_a_range_is_shown_beside_its_type():
    assert format_annotation(PositiveInt | None) == 'int (>= 1) | None'
    assert format_annotation(tuple[BelowOne, ...]) == 'tuple[float (>= 0, < 1), ...]'


TESTS = Path(__file__).parents[3]

# Numbers of which each finite one has a meaning, or whose bounds only the built component knows.
FREE = {
    ('backbone', 'TimmBackbone', 'stages'): 'indices, of which negative ones count from the end',
    ('backbone', 'TimmBackbone', 'attention_after'): 'the same',
    ('generator', 'TV', 'weights'): 'weights of the bands in PAN; those of some sensors are < 0',
    ('generator', 'WeightedBrovey', 'weights'): 'the same',
    ('hook', 'ClinicalReport', 'bands'): 'limits of an age or of a size, in their own unit',
    ('hook', 'EarlyStoppingHook', 'stopping_threshold'): 'value of any metric',
    ('scene', 'RegisteredScene', 'shift'): 'rows and columns in either direction',
    ('optimizer', 'Adafactor', 'beta2_decay'): 'an exponent below 0',
    ('optimizer', 'Muon', 'ns_coefficients'): 'coefficients of a polynomial',
    ('transform', 'SensorNoise', 'sensors'): 'the transform names the sensor in its message',
}


def has_number(annotation):
    inner = [a for a in typing.get_args(annotation) if not isinstance(a, BOUNDS)]
    return annotation in (int, float) or any(map(has_number, inner))


def has_bound(annotation):
    return any(isinstance(a, BOUNDS) for a in getattr(annotation, '__metadata__', ())) or any(
        map(has_bound, typing.get_args(annotation))
    )


def test_every_number_of_every_component_has_a_range():
    without = set()
    for kind in get_kinds().values():
        if kind.name in ('command', 'bench'):
            continue
        for name in sorted({*kind.names(), *kind.library_components()}):
            component = kind.get(name)
            if TESTS in Path(inspect.getsourcefile(component) or '').parents:
                continue  # of another test in this process
            ranges = get_ranges(component)
            for argument in get_signature(component):
                number = argument not in kind.injected and has_number(ranges[argument])
                if number and not has_bound(ranges[argument]):
                    without.add((kind.name, name, argument))
    assert without == set(FREE)
