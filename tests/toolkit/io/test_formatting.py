"""Numbers and tables as text, Markdown, LaTeX and CSV."""

from __future__ import annotations

import pytest

from toolkit.io import formatting

# -- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('means', 'deviations', 'digits'),
    [
        ([0.812, 0.9], [0.0123, 0.02], 3),
        ([0.812, 0.9], [0.00012, 0.02, 0.03], 4),  # one that hardly varies adds one digit
        ([0.8123, 0.9], [], 4),
        ([812.3, 9.0], [], 1),
        ([81234.0], [], 0),
        ([5.0, 17.0], [900.0], 0),
        ([1e-12, 2e-12], [1e-13], None),
        ([0.0], [], 1),
        ([], [], 1),
    ],
)
def test_decimals(means, deviations, digits):
    assert formatting.choose_digits(means, deviations) == digits


def test_numbers_as_people_read_them():
    assert formatting.format_number(-0.25, 3) == '\N{MINUS SIGN}0.250'
    assert formatting.format_number(1.5e-12, None) == '1.5e\N{MINUS SIGN}12'
    assert [formatting.format_count(n) for n in (0, 999, 999_999, 107_445, 4.4e8, 2.5e12)] == [
        *('0', '999', '1 M', '107 k', '440 M', '2.5 T'),
    ]
    assert [formatting.format_duration(s) for s in (0.0123, 99, 125, 5969, 7620)] == [
        *('0.0123 s', '99 s', '2 min 05 s', '99 min 29 s', '2 h 07 min'),
    ]
    assert [formatting.format_memory(b) for b in (5e8, 1.234e9)] == ['500 MB', '1.23 GB']
    assert [formatting.format_p(p) for p in (0.0004, 0.0312, 0.31, None)] == [
        *('<0.001', '0.031', '0.31', '-'),
    ]
    assert [formatting.format_stars(p) for p in (None, 0.0001, 0.005, 0.03, 0.05)] == [
        '',
        '***',
        '**',
        '*',
        '',
    ]


# -- tables ----------------------------------------------------------------------------------------

ROWS = [['name', 'value'], ['a|b', '1'], ['c', '22']]


def test_one_table_in_every_format():
    assert formatting.format_text_table(ROWS, rule=True) == (
        'name  value\n----  -----\na|b       1\nc        22'
    )
    cells = [[formatting.escape_cell(cell) for cell in row] for row in ROWS]
    assert formatting.format_markdown_table(cells) == [
        *('| name | value |', '| --- | ---: |', '| a\\|b | 1 |', '| c | 22 |'),
    ]
    assert '    c & 22 \\\\' in formatting.format_latex_table(ROWS)
    assert formatting.format_csv(ROWS[0], ROWS[1:]) == 'name,value\na|b,1\nc,22\n'


def test_a_column_of_words_is_wrapped_to_the_width():
    rows = [['some words of a long text', 'model.branches.vit', '7']]
    assert formatting.format_text_table(rows, left=2, width=34) == (
        'some words   model.branches.vit  7\nof a long\ntext'
    )
    narrow = formatting.format_text_table(rows, left=2, width=24).splitlines()
    assert max(map(len, narrow)) <= 24
    assert narrow[0].split() == ['some', 'model.', '7']
    assert formatting.format_text_table([]) == ''
