"""Output that is only shown: a closed terminal or a full device never ends the work behind it.

The lines of a training, a test or a study are for the person who watches. What they say is in files
as well, so a line that cannot be printed is not worth a run.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class ShownStream:
    """Text stream whose writes cannot fail; it is silent from the first failure on.

    Args:
        stream: the stream to write to; None for a process without one.
        notify: called once with the reason when writing has failed.
    """

    def __init__(self, stream: TextIO | None, notify: Any = None) -> None:
        self._stream = stream
        self._notify = notify
        self._is_silent = stream is None

    def write(self, text: str) -> int:
        self._try('write', text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._try('flush')

    def isatty(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return not self._is_silent and self._stream is not None and self._stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, method: str, *arguments: str) -> None:
        if self._is_silent or self._stream is None:
            return
        try:
            try:
                getattr(self._stream, method)(*arguments)
            except UnicodeEncodeError:  # such as PYTHONIOENCODING=ascii
                encoding = getattr(self._stream, 'encoding', None) or 'ascii'
                plain = arguments[0].encode(encoding, 'backslashreplace').decode(encoding)
                getattr(self._stream, method)(plain)
        except (OSError, ValueError) as error:  # a closed pipe, a full device, a closed file
            self._is_silent = True
            _divert(self._stream)
            if self._notify is not None:
                self._notify(getattr(error, 'strerror', None) or str(error))


def _divert(stream: TextIO) -> None:
    """Sends what is still written to the stream's file to nowhere, so that its end cannot fail."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        target = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, target)
        os.close(nowhere)


@contextlib.contextmanager
def protect_output() -> Iterator[None]:
    """Makes output to the screen unable to fail inside the context; stderr says so once."""
    if isinstance(sys.stdout, ShownStream):
        yield
        return
    out, err = sys.stdout, sys.stderr
    shown_err = ShownStream(err)

    def notify(reason: str) -> None:
        shown_err.write(f'warning: nothing more can be printed ({reason}); the work goes on\n')

    sys.stdout, sys.stderr = ShownStream(out, notify), shown_err  # type: ignore[assignment]
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout, sys.stderr = out, err
