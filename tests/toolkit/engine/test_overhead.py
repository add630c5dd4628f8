"""The engine costs at most a millisecond an iteration over a bare loop."""

from __future__ import annotations

import pytest

from toolkit.bench.overhead import measure


@pytest.mark.slow
def test_an_iteration_costs_less_than_a_millisecond_more() -> None:
    result = measure(3000, repeats=2)
    for place in (0, 1):
        bare = min(times[place] for times in result.bare)
        run = min(times[place] for times in result.run)
        assert run - bare < 1.0, result.table()


def test_too_few_iterations_are_refused() -> None:
    with pytest.raises(ValueError, match='at least 2000, found 10'):
        measure(10)
