"""Output that is only shown: it never ends the work behind it, and never commands the terminal.

The lines of a training, a test or a study are for the person who watches. What they say is in files
as well, so a line that cannot be printed is not worth a run. Names and messages may come from a
received run: their control characters are shown as codes, since a terminal would obey them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

# All control characters but tab and line feed, and those that reorder the text around them.
_CONTROLS = {*range(32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
_CODES = {n: f'\\x{n:02x}' if n < 256 else f'\\u{n:04x}' for n in _CONTROLS - {9, 10}}


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


class EscapingStream:
    """Text stream that shows control characters as codes: ESC as `\\x1b`.

    Args:
        stream: the stream to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(escape_controls(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def escape_controls(text: str) -> str:
    """Replaces control characters, other than tab and line feed, by their codes."""
    return text if text.isprintable() else text.translate(_CODES)


def find_raw_stream(stream: Any) -> Any:
    """Finds the stream that takes a terminal's commands, such as those of a progress bar."""
    if isinstance(stream, ShownStream):
        return ShownStream(find_raw_stream(stream._stream), stream._notify)
    return stream._stream if isinstance(stream, EscapingStream) else stream


@contextlib.contextmanager
def escape_output() -> Iterator[None]:
    """Shows control characters in what is printed inside the context as codes."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        stream if stream is None else EscapingStream(stream)  # type: ignore[assignment]
        for stream in (out, err)
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


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
