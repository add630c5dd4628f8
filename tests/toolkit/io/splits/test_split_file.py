from __future__ import annotations

import json

import pytest

from toolkit.errors import DataError, ToolkitError
from toolkit.io.splits.split_file import read_split, write_split

FOLDS = [{'train': ['a', 'b'], 'test': ['ü']}, {'train': ['ü', 'b'], 'test': ['a']}]


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / 's.json'
    digest = write_split(path, FOLDS, 'abc', {'seed': 3})
    file = read_split(path, 'toolkit split m.csv')
    assert (file.digest, file.data_digest, list(file.folds)) == (digest, 'abc', FOLDS)
    assert file.assign(1) == {'ü': 'train', 'b': 'train', 'a': 'test'}
    file.check_unchanged()
    file.check_data('abc', ['a', 'b', 'ü'], 'scenes')
    message = (
        r's.json was made of other scenes \(new: c; gone: b\); restore them, or make it anew: '
    )
    with pytest.raises(
        DataError, match=message + r'toolkit split m.csv --overwrite, which may move'
    ):
        file.check_data('other', ['a', 'c', 'ü'], 'scenes')
    with pytest.raises(ToolkitError, match=r's.json has 2 folds .*fold: 2'):
        file.assign(2)


def test_an_edited_file_is_refused(tmp_path):
    path = tmp_path / 's.json'
    write_split(path, FOLDS, 'abc', {})
    record = json.loads(path.read_text())
    record['folds'][0]['test'].append('a')
    path.write_text(json.dumps(record))
    file = read_split(path, 'toolkit split')
    with pytest.raises(DataError, match='s.json was changed after it was made'):
        file.check_unchanged()
    with pytest.raises(DataError, match='s.json: a is in train and in test of fold 0'):
        file.assign(0)
