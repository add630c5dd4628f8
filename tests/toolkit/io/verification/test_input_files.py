"""Records of the files that runs read: what has changed is found, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolkit.errors import ToolkitError
from toolkit.io.run_layout import INPUTS
from toolkit.io.verification import input_files
from toolkit.io.verification.hashing import hash_files, hash_tree, record_hashed
from toolkit.io.verification.input_files import InputFiles, StudyInputs


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / 'images'
    (folder / 'a').mkdir(parents=True)
    for name in ('a/1.png', 'a/2.png', 'notes.txt'):
        (folder / name).write_text(name)
    return folder


def record(folder: Path) -> StudyInputs:
    """Records the pictures of a folder for one run, as they are written and read again."""
    with record_hashed() as hashed:
        hash_files(*sorted(folder.rglob('*.png')))
    inputs = StudyInputs({'data': InputFiles.collect(hashed, [folder])})
    inputs.add_run('full', ['data'], [str(folder / 'notes.txt'), 'no such file'])
    inputs.add_run('other', [], [])
    inputs.write(folder.parent)
    return StudyInputs.read(folder.parent)


def rewrite(folder: Path) -> None:
    (folder / 'a' / '1.png').write_text('other')


def replace_with_equal_size_and_time(folder: Path) -> None:
    file = folder / 'a' / '1.png'
    state = file.stat()
    file.write_text('A/1.png')
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))


@pytest.mark.parametrize(
    ('change', 'changed'),
    [
        (rewrite, 'images/a/1.png'),
        (replace_with_equal_size_and_time, 'images/a/1.png'),
        (lambda folder: (folder / 'a' / '2.png').unlink(), 'images/a/2.png'),
        (lambda folder: (folder / 'b.png').write_text('new'), 'images'),
        (lambda folder: (folder / 'notes.txt').write_text('new'), 'images/notes.txt'),
    ],
)
def test_what_has_changed_is_found_for_the_runs_that_read_it(images, change, changed):
    inputs = record(images)
    assert inputs.find_changes() == {}
    change(images)
    found = inputs.find_changes()
    assert list(found) == ['full']
    assert str(images.parent / changed) in found['full']


def test_files_with_the_same_content_are_no_change(images):
    inputs = record(images)
    os.utime(images / 'a' / '1.png')  # copied anew
    (images / 'a' / 'readme.md').write_text('no image')
    (images / 'a' / '.hidden.png').write_text('no image')
    assert inputs.find_changes() == {}


def test_files_in_linked_folders_count(images):
    other = images.parent / 'other'
    other.mkdir()
    (other / '3.png').write_text('3')
    (images / 'b').symlink_to(other)
    (images / 'a' / 'above').symlink_to(images)
    inputs = record(images)
    assert inputs.find_changes() == {}
    (other / '4.png').write_text('4')
    assert inputs.find_changes() == {'full': (str(images),)}


def test_a_file_that_many_runs_read_is_looked_at_once(images, monkeypatch):
    inputs = record(images)
    inputs.groups['again'] = inputs.groups['data']
    inputs.runs['again'] = ['again']
    looked, is_same = [], input_files._is_same
    monkeypatch.setattr(
        input_files, '_is_same', lambda path, state: looked.append(path) or is_same(path, state)
    )
    assert inputs.find_changes() == {}
    assert sorted(looked) == sorted(set(looked)) and len(looked) == 3


def test_a_named_file_that_cannot_be_read_stops_no_plan(images):
    found = InputFiles.collect({}, [images / 'gone.csv', images / 'notes.txt'])
    assert list(found.files) == [str(images / 'notes.txt')]


def test_on_another_machine_nothing_is_known(images):
    inputs = record(images)
    images.rename(images.with_name('elsewhere'))
    assert inputs.find_changes() == {}


def test_damaged_records_are_named(tmp_path):
    assert StudyInputs.read(tmp_path).find_changes() == {}
    (tmp_path / INPUTS).write_text('{"files": [["a", 1]], "groups": {}, "runs": {}}')
    with pytest.raises(ToolkitError, match='inputs.json is damaged'):
        StudyInputs.read(tmp_path)


def test_a_folder_has_the_same_hash_whoever_reads_its_files(images):
    assert hash_tree(images) == hash_tree(images, lambda file: f'{hash_one(file)}')


def hash_one(file: Path) -> str:
    with record_hashed() as hashed:
        hash_files(file)
    return hashed[file].digest
