"""Lists of names and numbers in messages."""

from __future__ import annotations

import pytest

from toolkit.errors import list_integers


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        (range(500), '0 to 499'),
        ([0, 1, 2], '0, 1, 2'),
        ([*range(4), 9, 7, -1, 0], '0 to 3, 9, 7, -1, 0'),
        (range(0, 40, 2), '0, 2, 4, 6, 8, 10, 12, 14, 16, 18, ... (10 more)'),
        ([], ''),
    ],
)
def test_many_numbers_are_few_words(values, expected):
    assert list_integers(values) == expected
