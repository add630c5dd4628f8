from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolkit.errors import ToolkitError
from toolkit.io.output_path import check_outputs


def test_an_input_is_never_an_output_whatever_its_spelling(tmp_path: Path, monkeypatch) -> None:
    source = tmp_path / 'a.tif'
    source.write_bytes(b'pixels')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'symbolic.tif').symlink_to(source)
    os.link(source, tmp_path / 'hard.tif')
    monkeypatch.chdir(tmp_path)
    for output in (
        source,
        Path('a.tif'),
        tmp_path / 'folder' / '..' / 'a.tif',
        tmp_path / 'symbolic.tif',
        tmp_path / 'hard.tif',
    ):
        for overwrite in (False, True):
            with pytest.raises(ToolkitError, match=r'a\.tif.*destroy the input.*--output'):
                check_outputs([tmp_path / 'other.tif', output], [source], overwrite=overwrite)


def test_a_link_to_a_file_that_is_not_there_yet_counts(tmp_path: Path) -> None:
    (tmp_path / 'link.tif').symlink_to(tmp_path / 'a.tif')
    with pytest.raises(ToolkitError, match='destroy the input'):
        check_outputs([tmp_path / 'link.tif'], [tmp_path / 'a.tif'])


def test_other_files_are_replaced_on_request_only(tmp_path: Path) -> None:
    there = tmp_path / 'there.json'
    there.touch()
    with pytest.raises(ToolkitError, match='there.json exists already; give --overwrite.*--json'):
        check_outputs([there], [tmp_path / 'a.tif'], option='--json')
    check_outputs([there], [tmp_path / 'a.tif'], overwrite=True)
    check_outputs([tmp_path / 'new.json'], [there])
    with pytest.raises(ToolkitError, match='is a folder'):
        check_outputs([tmp_path], overwrite=True)
