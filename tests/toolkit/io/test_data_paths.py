import pytest

from toolkit.errors import MissingDataError
from toolkit.io.data_paths import find_data_file, find_data_folder


def test_files_are_looked_for_in_the_data_folder_then_here(tmp_path, monkeypatch):
    data, here = tmp_path / 'data', tmp_path / 'here'
    for folder in (data, here):
        folder.mkdir()
        (folder / 'both.mat').touch()
    (here / 'only.mat').touch()
    monkeypatch.chdir(here)
    monkeypatch.setenv('TOOLKIT_DATA', str(data))
    assert find_data_file('both.mat') == data / 'both.mat'
    assert find_data_file('only.mat') == here / 'only.mat'
    assert find_data_file(data / 'both.mat') == data / 'both.mat'
    missing = f'no file none.mat in {data} nor in {here}.*TOOLKIT_DATA'
    with pytest.raises(MissingDataError, match=missing):
        find_data_file('none.mat')
    with pytest.raises(MissingDataError, match='is a folder'):
        find_data_file(data)
    with pytest.raises(MissingDataError, match=f'no file {data}/none.mat$'):
        find_data_file(data / 'none.mat')
    monkeypatch.setenv('TOOLKIT_DATA', str(tmp_path / 'gone'))
    with pytest.raises(MissingDataError, match='gone, which is not a folder'):
        find_data_file('none.mat')


def test_folders_are_looked_for_as_files_are(tmp_path, monkeypatch):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images.zip').touch()
    monkeypatch.setenv('TOOLKIT_DATA', str(tmp_path))
    assert find_data_folder('images') == tmp_path / 'images'
    with pytest.raises(MissingDataError, match='no folder none in'):
        find_data_folder('none')
    with pytest.raises(MissingDataError, match='is a file; name the folder'):
        find_data_folder('images.zip')
