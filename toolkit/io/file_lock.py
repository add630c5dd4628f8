"""Locks that keep two processes from writing the same files."""

from __future__ import annotations

import contextlib
from pathlib import Path

from filelock import FileLock, Timeout


def try_lock(path: Path) -> FileLock | None:
    """Locks a file without waiting for it; returns None if another process holds the lock.

    The lock ends with this process: processes that it forks do not hold it, so that a worker that
    outlives a killed run blocks nothing.

    Args:
        path: file that serves as the lock and holds no data; made if it does not exist.
    Raises:
        OSError: the file cannot be made or opened.
    """
    # Any thread may release it.
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def remove_lock(lock: FileLock) -> None:
    """Releases a lock and removes its file.

    The file goes first, while nobody else can hold the lock: later it might be another's. Windows
    does not remove open files; there it stays.
    """
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink()
    lock.release()
