"""A file is replaced whole or stays as it was, whichever operation of the disk fails."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.support.failing_disk import FailingDisk
from toolkit.errors import RunError
from toolkit.io import atomic_write


@pytest.mark.parametrize('short', [False, True])
@pytest.mark.parametrize('old', [None, b'the old content'])
def test_each_operation_fails_once(tmp_path: Path, old: bytes | None, short: bool) -> None:
    path = tmp_path / 'new folder' / 'table.csv'

    def restore() -> None:
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        if old is not None:
            path.write_bytes(old)

    restore()
    with FailingDisk(tmp_path).mounted() as disk:
        atomic_write.write(path, 'ä' * 100_000)
    assert disk.operations == [
        'mkdir new folder',
        'open .table.csv.tmp',
        'write .table.csv.tmp',
        'fsync .table.csv.tmp',
        'replace .table.csv.tmp',
    ]
    for number in range(2, len(disk.operations) + 1):
        restore()
        with (
            FailingDisk(tmp_path, number, errno.ENOSPC, short=short).mounted(),
            pytest.raises(RunError, match=r'cannot write .*table\.csv: No space left') as caught,
        ):
            atomic_write.write(path, 'ä' * 100_000)
        assert atomic_write.is_disk_full(caught.value)
        assert (path.read_bytes() if path.exists() else None) == old
        assert list(path.parent.iterdir()) == ([path] if old is not None else [])
