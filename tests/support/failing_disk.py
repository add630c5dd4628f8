"""A disk on which one chosen operation fails, or on which there is no room from then on.

Python's own functions for files are replaced inside a context, for paths under one folder. Files
are buffered as usual, so that what a failed write leaves in a buffer is tried again when the file
is closed, as on a real disk. Libraries that write by themselves, such as GDAL, do not pass here.
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from toolkit.engine import checkpoint

# Operations that need room on the disk.
NEEDING_ROOM = ('open', 'write', 'mkdir', 'link')


class FailingDisk:
    """Counter of the operations on a folder, one of which fails.

    Args:
        root: folder; operations elsewhere are not touched.
        fail_at: number of the operation that fails, from 1; 0 for none.
        error: number of the error.
        lasting: all later operations that need room fail too.
        short: a failing write writes half of its bytes first.

    Attributes:
        operations: the operations so far, such as `write capsule.json`.
    """

    def __init__(
        self,
        root: Path,
        fail_at: int = 0,
        error: int = errno.EIO,
        lasting: bool = False,
        short: bool = False,
    ) -> None:
        self.operations: list[str] = []
        self._root = str(root)
        self._fail_at, self._error = fail_at, error
        self._lasting, self._short = lasting, short

    def holds(self, path: Any) -> bool:
        """Tells whether a path lies under the folder."""
        return isinstance(path, (str, os.PathLike)) and os.path.abspath(path).startswith(self._root)

    def fails(self, operation: str, path: Any) -> bool:
        """Counts an operation and tells whether it fails."""
        self.operations.append(f'{operation} {os.path.basename(path)}')
        number = len(self.operations)
        if self._lasting:
            return 0 < self._fail_at <= number and operation in NEEDING_ROOM
        return number == self._fail_at

    def check(self, operation: str, path: Any) -> None:
        """Counts an operation.

        Raises:
            OSError: it is the one that fails.
        """
        if self.fails(operation, path):
            self.fail(path)

    def fail(self, path: Any) -> None:
        """Raises the error of this disk."""
        raise OSError(self._error, os.strerror(self._error), str(path))

    def open(self, file: Any, mode: str = 'r', *arguments: Any, **keywords: Any) -> Any:
        """Opens a file as `open` does; one that is written passes through this disk."""
        if not self.holds(file) or not set(mode) & set('wax+'):
            return _open(file, mode, *arguments, **keywords)
        self.check('open', file)
        raw = _Raw(self, file, mode.replace('b', '').replace('t', ''))
        buffered = io.BufferedRandom(raw) if '+' in mode else io.BufferedWriter(raw)
        if 'b' in mode:
            return buffered
        text = {key: keywords.get(key) for key in ('encoding', 'errors', 'newline')}
        return io.TextIOWrapper(buffered, **text)

    @contextmanager
    def mounted(self) -> Iterator[FailingDisk]:
        """Replaces Python's functions inside the context."""
        with ExitStack() as stack:
            for module, name, function in (
                (builtins, 'open', self.open),
                (io, 'open', self.open),
                (os, 'open', self._open_descriptor),
                (os, 'fsync', self._fsync),
                *((os, name, self._wrap(name)) for name in ('replace', 'rename', 'link', 'mkdir')),
            ):
                stack.enter_context(mock.patch.object(module, name, function))
            yield self

    def _open_descriptor(self, path: Any, flags: int, *arguments: Any, **keywords: Any) -> int:
        if self.holds(path) and flags & (os.O_WRONLY | os.O_RDWR):
            self.check('open', path)
        return _os_open(path, flags, *arguments, **keywords)

    def _fsync(self, descriptor: int) -> None:
        path = os.readlink(f'/proc/self/fd/{descriptor}')
        if self.holds(path):
            self.check('fsync', path)
        _fsync(descriptor)

    def _wrap(self, name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(path: Any, *arguments: Any, **keywords: Any) -> Any:
            if self.holds(path):
                self.check(name, path)
            return real(path, *arguments, **keywords)

        return call


class _Raw(io.FileIO):
    """Unbuffered file on a failing disk."""

    def __init__(self, disk: FailingDisk, path: Any, mode: str) -> None:
        super().__init__(path, mode)
        self._disk, self._path = disk, path

    def write(self, content: Any) -> int:
        if self._disk.fails('write', self._path):
            if self._disk._short:
                super().write(bytes(content)[: len(content) // 2])
            self._disk.fail(self._path)
        return super().write(content)


_open, _os_open, _fsync = open, os.open, os.fsync


def check_files(folder: Path) -> None:
    """Every file that a failure has left is whole."""
    assert [path for path in folder.rglob('*') if '.tmp' in path.name] == []
    for path in folder.rglob('*.json'):
        json.loads(path.read_text())
    for path in folder.rglob('*.pth'):
        checkpoint.load(path)
