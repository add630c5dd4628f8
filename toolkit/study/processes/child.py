"""Starts a process that ends with this one, passes SIGTERM on to it, and waits for its end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from toolkit.errors import ToolkitError
from toolkit.study.launchers.process_groups import end_group

# Time for what a process has started to end after it: when it was stopped, and by itself.
STOP_SECONDS = 20.0
_LEFT_SECONDS = 5.0
# Interval at which a search looks at the validations of a process.
_LOOK_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1


def run_child(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    directory: str | None = None,
    pass_fds: Sequence[int] = (),
    prune: Callable[[], bool] | None = None,
) -> tuple[int, bool]:
    """Start a process and wait for its end; returns its status and whether it was stopped.

    Args:
        arguments: program and arguments.
        environment: environment variables.
        directory: working folder; that of this process by default.
        pass_fds: file descriptors that it keeps open.
        prune: asked while it runs: True to stop it, as SIGTERM does.
    Raises:
        ToolkitError: it cannot be started.
    """
    stopped: list[int] = []
    process: list[subprocess.Popen[bytes]] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)
        for running in process:
            _stop_all(running)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        started = subprocess.Popen(
            arguments,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=pass_fds,
            preexec_fn=_make_group_leader(),
        )
        process.append(started)
        if stopped:  # between the handler and the start
            _stop_all(started)
        while prune is not None and not stopped:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return started.wait(_LOOK_SECONDS), bool(stopped)
            if prune():
                stop(signal.SIGTERM, None)
        return started.wait(), bool(stopped)
    except OSError as error:
        name = error.filename or arguments[0]
        raise ToolkitError(f'{name} cannot be started: {error.strerror}') from error
    finally:
        signal.signal(signal.SIGTERM, previous)
        for ended in process:
            # A part that goes on would write into the next attempt's folder and output.
            end_group(ended.pid, STOP_SECONDS if stopped else _LEFT_SECONDS, ask=not stopped)


def end_with_parent() -> None:
    """Let the system kill this process when the one that started it ends; on Linux alone."""
    if sys.platform.startswith('linux'):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:  # it has ended before
            os._exit(1)


def _stop_all(process: subprocess.Popen[bytes]) -> None:
    """Let a process and all that it has started save and end; a shell passes no signal on."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGTERM)


def _make_group_leader() -> Callable[[], None]:
    """Make a call that gives a process a group of its own, in the session of this process.

    On Linux the process also ends with this one, even if that is killed.
    """
    is_linux = sys.platform.startswith('linux')
    library = ctypes.CDLL(None, use_errno=True) if is_linux else None

    def ask() -> None:
        os.setpgid(0, 0)
        if library is not None:
            library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask
