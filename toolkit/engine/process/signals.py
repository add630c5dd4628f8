"""Ctrl-C, SIGTERM, SIGHUP: finish the iteration, save, leave; a second one leaves at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from toolkit.io.shown_output import find_raw_stream

# SIGHUP comes when a terminal is closed. Windows has none.
SIGNALS = tuple(
    getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name)
)
# A worker that is told to stop still has to deliver the batches of the last iteration.
WORKER_GRACE_SECONDS = 30


class Interruption:
    """Context in which the first signal only sets `received` and the second one exits.

    Args:
        announce: prints a line; called when the first signal arrives.

    Attributes:
        received: number of the signal, 0 for none.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self.received = 0
        self._announce = announce
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        # Python allows handlers in the main thread alone; elsewhere the caller's stay.
        if threading.current_thread() is threading.main_thread():
            for number in list_handled():
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            with contextlib.suppress(OSError, ValueError):
                # The cursor, shown again.
                raw = find_raw_stream(sys.stdout)
                raw.write('\x1b[?25h' if raw.isatty() else '')
                raw.flush()
            os._exit(get_exit_status(number))
        self.received = number
        self._announce(
            f'{signal.Signals(number).name}: stopping after this iteration; once more to quit now'
        )


def list_handled() -> list[signal.Signals]:
    """Lists the signals that stop a run; one that is ignored, as `nohup` does, stays ignored."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def get_exit_status(number: int) -> int:
    """Returns the exit status after a signal: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + number


def shield_worker(worker: int) -> None:
    """Keeps a loader's worker alive after a signal to the whole group; the main process decides."""
    # Of these, SIGTERM ends a worker later, for a main process that does not.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)


def _end_later(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(WORKER_GRACE_SECONDS)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
