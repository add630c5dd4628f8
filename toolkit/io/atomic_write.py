"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection
from pathlib import Path

from toolkit.errors import RunError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; text as UTF-8.

    Raises:
        RunError: it cannot be written.
    """
    temporary = path.with_name(f'.{path.name}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise RunError(f'cannot write {path}: {error.strerror}') from error


def clear(folder: Path, suffixes: Collection[str], what: str) -> None:
    """Remove the files of a folder, where there is one, that end in these suffixes.

    Args:
        folder: where they are.
        suffixes: with the dot.
        what: they are, for the message: 'pictures'.
    Raises:
        RunError: one cannot be removed.
    """
    if not folder.is_dir():
        return
    try:
        for path in folder.iterdir():
            if path.suffix in suffixes and path.is_file():
                path.unlink()
    except OSError as error:
        raise RunError(f'cannot remove the {what} in {folder}: {error.strerror}') from error


def no_room(error: BaseException | None) -> bool:
    """Whether an error comes from a disk, a quota or a limit that leaves no room to write."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        error = error.__cause__ or error.__context__
    return False
