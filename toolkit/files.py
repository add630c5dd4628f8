"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import contextlib
import errno
import os
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


def no_room(error: BaseException | None) -> bool:
    """Whether an error comes from a disk, a quota or a limit that leaves no room to write."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        error = error.__cause__ or error.__context__
    return False
