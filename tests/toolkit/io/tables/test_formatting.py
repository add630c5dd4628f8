"""Numbers and tables as text, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io

import pytest

from toolkit.io.tables import formatting
from toolkit.io.tables.read_table import read_table

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


# -- what a spreadsheet or a browser would run -----------------------------------------------------


FORMULAS = ['=1+1', '+cmd|calc', '-2+3', '@SUM(A1)', '\t=1', "'=1", '-']
PLAIN = ['a', "it's", '-0.5', '+3', '1e-3', '', '-inf', 'x=1']


def test_formulas_are_text_in_csv_and_are_read_as_they_were(tmp_path):
    rows = [[text, -1.5, None] for text in FORMULAS + PLAIN]
    written = formatting.format_csv(['=id', 'n', 'none'], rows)
    (tmp_path / 't.csv').write_text(written, newline='')
    lines = list(csv.reader(io.StringIO(written)))
    assert all(line[0].startswith("'") for line in lines[: len(FORMULAS) + 1])
    assert [line[0] for line in lines[len(FORMULAS) + 1 :]] == PLAIN
    assert {line[1] for line in lines[1:]} == {'-1.5'}
    table = read_table(tmp_path / 't.csv', [])
    assert table.columns == ['=id', 'n', 'none']
    assert [row[0] for _, row in table.rows] == FORMULAS + PLAIN


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('a <script>alert(1)</script>', 'a &lt;script>alert(1)&lt;/script>'),
        ('<!-- x --> <?y', '&lt;!-- x --> &lt;?y'),
        ('n < 5, **p** [a](b.md)', 'n < 5, **p** [a](b.md)'),
        ('[x](JavaScript:alert(1))', '[x]\\(JavaScript:alert(1))'),
    ],
)
def test_markdown_without_scripts(text, expected):
    assert formatting.neutralize_markdown(text) == expected
