import pytest

from toolkit.errors import ToolkitError
from toolkit.io.read_table import read_table


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
        ('a.csv', b'image;patient\na.png;1\n', 'a.csv:1: found one column, named by ";"'),
        ('a.csv', 'größe\n'.encode('latin-1'), 'is no text in UTF-8'),
        ('a.csv', b'image\n"a.png\n', 'a.csv:2: no CSV: unexpected end of data'),
        ('a.parquet', b'PAR1', 'cannot be read as Parquet'),
    ],
)
def test_what_is_no_table_is_said(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ToolkitError, match=message):
        read_table(tmp_path / name, ['image', 'note'])
