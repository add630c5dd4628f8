import gzip

import pytest

from toolkit.errors import ToolkitError
from toolkit.io.tables.read_table import read_table


def test_csv_with_a_byte_order_mark_quotes_and_blank_lines(tmp_path):
    path = tmp_path / 'a.csv'
    path.write_bytes('\ufeffimage, note\r\n\r\na.png," x, y "\r\nb.png,\r\n'.encode())
    table = read_table(path, ['image'])
    assert table.columns == ['image', 'note']
    assert (table.header, table.rows) == (1, [(3, ['a.png', 'x, y']), (4, ['b.png', ''])])


def test_parquet_gives_what_csv_would(tmp_path):
    pyarrow = pytest.importorskip('pyarrow')
    from pyarrow import parquet

    path = tmp_path / 'a.parquet'
    columns = {
        'image': ['a.png', 'b.png'],
        'age': [41.0, None],
        'size': [1.5, float('nan')],
        'box': [[[1, 2, 3, 4.5], [5, 6, 7, 8]], [[1, 2, 3, 4]]],
    }
    parquet.write_table(pyarrow.table(columns), path)
    table = read_table(path, ['image'])
    assert table.columns == ['image', 'age', 'size', 'box']
    assert table.rows == [
        (2, ['a.png', '41', '1.5', '1,2,3,4.5;5,6,7,8']),
        (3, ['b.png', '', '', '1,2,3,4']),
    ]


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.csv', b'', 'is empty; expected the columns image, note'),
        ('a.csv', b'image;patient,id\na.png;1\n', "a.csv:1: .* separated by ',' and ';'"),
        ('a.csv', 'a\ngröße\n'.encode('cp1252'), "a.csv:2: .*CP1252 it would be 'ö'.*CSV UTF-8"),
        ('a.csv', 'image\na'.encode('utf-16-le'), 'bytes of 0.*CSV UTF-8'),
        ('a.csv', 'image\na'.encode('utf-16')[:-1], 'is cut UTF-16'),
        ('a.xlsx', b'PK', 'is a spreadsheet, which is not read; save the table as .CSV UTF-8'),
        ('a.csv.gz', gzip.compress(b'image\na.png\n', mtime=0)[:-9], 'is no gzip file, or is cut'),
        ('a.csv.gz', b'image\na.png\n', 'is no gzip file'),
        ('a.csv', b'image\n"a.png\n', 'a.csv:2: no CSV: unexpected end of data'),
        ('a.parquet', b'PAR1', 'cannot be read as Parquet'),
    ],
)
def test_what_is_no_table_is_said(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ToolkitError, match=message):
        read_table(tmp_path / name, ['image', 'note'])


@pytest.mark.parametrize(
    ('text', 'columns'),
    [
        ('image,"a;b"\n1,2\n', ['image', 'a;b']),
        ('image;"size, mm";x\n1;2;3\n', ['image', 'size, mm', 'x']),
        ('"a ""b"", c"\timage\n1\t2\n', ['a "b", c', 'image']),
    ],
)
def test_a_separator_within_a_quoted_name_is_none(tmp_path, text, columns):
    (tmp_path / 'a.csv').write_text(text)
    assert read_table(tmp_path / 'a.csv', ['image']).columns == columns


PLAIN = 'image,größe,note\na.png,"1,5",x\nb.png,2,\n'


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('comma.csv', PLAIN.encode()),
        ('semicolon.csv', 'image;größe;note\na.png;1,5;x\nb.png;2;\n'.encode()),
        ('tab.tsv', 'image\tgröße\tnote\na.png\t1,5\tx\nb.png\t2\t\n'.encode()),
        ('said.csv', 'sep=;\nimage;größe;note\na.png;1,5;x\nb.png;2;\n'.encode()),
        ('wide.csv', PLAIN.encode('utf-16')),
        ('windows.csv', PLAIN.replace('\n', '\r\n').encode('utf-8-sig')),
        ('packed.csv.gz', gzip.compress(PLAIN.encode(), mtime=0)),
        ('right.csv', 'image,größe,note,,\na.png,"1,5",x,,\nb.png,2,,,\n'.encode()),
        ('longer.csv', 'image,größe,note\na.png,"1,5",x,,\nb.png,2,,\n,,,,,\n'.encode()),
    ],
)
def test_a_table_is_read_as_a_spreadsheet_writes_it(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    table = read_table(tmp_path / name, ['image'])
    assert table.columns == ['image', 'größe', 'note']
    assert [row for _, row in table.rows] == [['a.png', '1,5', 'x'], ['b.png', '2', '']]


def test_a_value_without_a_name_is_kept(tmp_path):
    (tmp_path / 'a.csv').write_text('image,\na.png,1\n')
    assert read_table(tmp_path / 'a.csv', ['image']).rows == [(2, ['a.png', '1'])]
