"""Writes files atomically: a reader never sees half of one."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

from toolkit.errors import RunError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write(path: Path, content: str | bytes) -> None:
    """Writes a file completely or not at all; text as UTF-8.

    Args:
        path: path of the file; folders above it are made.
        content: the whole content.
    Raises:
        RunError: the file cannot be written.
    """
    try:
        with open_replacement(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise RunError(f'cannot write {path}: {error.strerror}') from error


@contextlib.contextmanager
def open_replacement(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that takes the place of `path` once it is complete and on the disk.

    Whatever fails inside the context, `path` stays as it was, and nothing lies beside it.

    Args:
        path: path of the file; folders above it are made.
    Raises:
        OSError: the file cannot be written.
    """
    temporary = path.with_name(f'.{path.name}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, 'wb') as file:
            yield file
            file.flush()
            # Otherwise a power cut may leave the new name with no content.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def sync_folder(path: Path) -> None:
    """Puts the names in a folder on the disk.

    Raises:
        OSError: the disk fails.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_files(folder: Path, suffixes: Collection[str], noun: str) -> None:
    """Removes the files in a folder that have one of these suffixes.

    Args:
        folder: path of the folder, which may not exist.
        suffixes: suffixes with the dot.
        noun: name of such files, for the message: 'images'.
    Raises:
        RunError: a file cannot be removed.
    """
    if not folder.is_dir():
        return
    try:
        for path in folder.iterdir():
            if path.suffix in suffixes and path.is_file():
                path.unlink()
    except OSError as error:
        raise RunError(f'cannot remove the {noun} in {folder}: {error.strerror}') from error


def is_disk_full(error: BaseException | None) -> bool:
    """Tells whether an error comes from a full disk, a quota or a limit of file size."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        error = error.__cause__ or error.__context__
    return False
