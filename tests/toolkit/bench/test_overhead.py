"""The benchmark of the engine's own cost; its figures are for people, not for a test to judge."""

from __future__ import annotations

import pytest

from toolkit.bench.overhead import measure


@pytest.mark.slow
def test_both_sides_are_timed_at_the_beginning_and_at_the_end() -> None:
    result = measure(2000, repeats=1)
    for times in (*result.bare, *result.run):
        assert len(times) == 2
        assert all(time > 0 for time in times)
    rows = result.table().split('\n')
    assert [row.split()[0] for row in rows] == ['iterations', 'first', 'last']


def test_too_few_iterations_are_refused() -> None:
    with pytest.raises(ValueError, match='at least 2000, found 10'):
        measure(10)
