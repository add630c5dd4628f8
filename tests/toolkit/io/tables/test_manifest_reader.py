from __future__ import annotations

import pytest

from toolkit.errors import ToolkitError
from toolkit.io.tables.manifest_reader import MAX_MISTAKES, ManifestReader


class FileReader(ManifestReader[tuple[str, int]]):
    """Rows of a file and a number."""

    noun = 'file'

    def read(self):
        columns, rows = self.read_rows(('file', 'number'))
        self.report_repeated(rows, lambda row: row[0], lambda row: f'the file {row[0]}')
        self.report_repeated(rows, lambda row: row[1], lambda row: f'the number {row[1]}')
        self.raise_mistakes()
        return columns, rows

    def check_columns(self, line, columns):
        if 'file' not in columns:
            self.add_mistake(line, 'no column file')

    def parse_row(self, line, cells):
        name = cells['file']
        self.resolve_file(line, 'file', name)
        number = self.convert(line, 'number', cells['number'], int, 0)
        return None if self.has_mistake(line) else (name, number)


def read(folder, text, outside=False):
    (folder / 'm.csv').write_text(text)
    return FileReader(folder / 'm.csv', outside).read()


@pytest.fixture
def folder(tmp_path):
    for name in ('a.txt', 'b.txt'):
        (tmp_path / name).touch()
    (tmp_path / 'sub').mkdir()
    return tmp_path


def test_rows_with_their_lines(folder):
    columns, rows = read(folder, 'file,number\na.txt,3\n\nb.txt,\n')
    assert columns == ('file', 'number')
    assert rows == [(2, ('a.txt', 3)), (4, ('b.txt', 0))]
    # A title without words.
    assert read(folder, '" ",\nfile,number\na.txt,3\n')[1] == [(3, ('a.txt', 3))]


def test_all_mistakes_at_once(folder):
    text = 'file,number\na.txt,x\nc.txt,1\n,1\nsub,1\n../a.txt,1\na.txt\na.txt,5\na.txt,5\n'
    with pytest.raises(ToolkitError) as caught:
        read(folder, text)
    found = str(caught.value).replace(f'{folder}/', '').split('\n')
    assert found[0].startswith('m.csv:2: number: invalid literal')
    assert found[1].startswith("m.csv:3: file: no file c.txt; did you mean 'a.txt'")
    assert found[2] == 'm.csv:4: file is empty; expected the path of a file'
    assert found[3] == 'm.csv:5: file: sub is a folder, expected a file'
    assert found[4].startswith('m.csv:6: file: ../a.txt leaves the folder of the manifest')
    assert found[5] == 'm.csv:7: found 1 values, expected 2, one for each column'
    # The repeated number of a repeated file is no second mistake.
    assert found[6:] == ['m.csv:9: the file a.txt is that of line 8 too; each file has one row']


def test_paths_outside_the_folder_may_be_allowed(folder):
    (folder / 'sub' / 'm.csv').write_text('file,number\n../a.txt,1\n')
    assert FileReader(folder / 'sub' / 'm.csv', True).read()[1] == [(2, ('../a.txt', 1))]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('file,number,file\n', "m.csv:1: the column 'file' is there twice"),
        ('number\n', 'm.csv:1: no column file'),
        ('file,,number,\na.txt,1,2,3\n', 'm.csv:1: the columns 2, 4 have no name'),
        ('My study,\nfile,number\na.txt,1\n', "m.csv:1: found 'My study' alone, expected the na"),
        ('My study\n\nfile,number\na.txt,1\n', 'expected the names .* delete the lines of a titl'),
        ('file,number\n', 'm.csv:1: found no file, expected one row for each'),
    ],
)
def test_wrong_tables(folder, text, message):
    with pytest.raises(ToolkitError, match=message):
        read(folder, text)


def test_only_so_many_mistakes_are_shown(folder):
    with pytest.raises(ToolkitError) as caught:
        read(folder, 'file,number\n' + 'x.txt,1\n' * 100)
    found = str(caught.value).split('\n')
    assert len(found) == MAX_MISTAKES + 1
    assert found[-1] == f'and {100 - MAX_MISTAKES} mistakes more like these'
