"""Ends processes that another one has left behind: its group, or its session."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_PROC = Path('/proc')
_POLL_SECONDS = 0.05
_KILL_SECONDS = 2.0


def end_group(group: int, seconds: float, ask: bool = True) -> None:
    """Ends the processes of a group that still run, and waits for their end.

    Args:
        group: of processes.
        seconds: that they have for their end before they are killed.
        ask: send SIGTERM first; False where that was done.
    """
    for number, wait in ((signal.SIGTERM if ask else 0, seconds), (signal.SIGKILL, _KILL_SECONDS)):
        with contextlib.suppress(OSError):
            os.killpg(group, number)
        deadline = time.monotonic() + wait
        while _is_alive(group):
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
        else:
            return


def kill_session(session: int) -> None:
    """Kills the processes of a session, all of its groups, but for this process."""
    if not (_PROC / 'self' / 'stat').exists():  # no Linux: the first group alone is known
        if session != os.getpid():
            with contextlib.suppress(OSError):
                os.killpg(session, signal.SIGKILL)
        return
    for process, _, _, found in _list_processes():
        if found == session and process != os.getpid():
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)


def _is_alive(group: int) -> bool:
    """Tells whether a process of a group runs; one that only waits to be collected does not."""
    if (_PROC / 'self' / 'stat').exists():
        return any(found == group and state not in 'ZX' for _, state, found, _ in _list_processes())
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


def _list_processes() -> Iterator[tuple[int, str, int, int]]:
    """Lists number, state, group and session of all processes; Linux has them in files.

    Source: proc(5), /proc/pid/stat.
    """
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended
                # The name in brackets may hold anything.
                fields = (folder / 'stat').read_text(errors='replace').rpartition(')')[2].split()
                yield int(folder.name), fields[0], int(fields[2]), int(fields[3])
