"""Hashes that tell whether data files or JSON values are the same."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class FileState(NamedTuple):
    """State of a file when its content was hashed.

    Attributes:
        size: in bytes.
        modified: time of the last change in nanoseconds.
        digest: SHA-256 of the content.
    """

    size: int
    modified: int
    digest: str


# What `record_hashed` fills, in each of the contexts that are open.
_records: list[dict[Path, FileState]] = []


@contextlib.contextmanager
def record_hashed() -> Iterator[dict[Path, FileState]]:
    """Records the files that `hash_files` reads within this context, by their absolute paths."""
    record: dict[Path, FileState] = {}
    _records.append(record)
    try:
        yield record
    finally:
        _records.pop()


def hash_files(*paths: Path) -> str:
    """Computes a short hash of the contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hash_file(path).encode())
    return digest.hexdigest()[:16]


def hash_file(path: Path) -> str:
    """Computes the SHA-256 of a file's content; one that has not changed is read once.

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    found = _hash_file(path, status.st_mtime_ns, status.st_size)
    for record in _records:
        record[path.absolute()] = FileState(status.st_size, status.st_mtime_ns, found)
    return found


@functools.lru_cache(maxsize=1 << 17)
def _hash_file(path: Path, modified: int, size: int) -> str:
    # Time and size are only keys of the cache: a file that changed is read again.
    return read_digest(path)


def digest_file(path: Path, algorithm: str = 'sha256') -> bytes:
    """Computes the digest of a file's content, read in parts.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.new(algorithm)
    with path.open('rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.digest()


def read_digest(path: Path) -> str:
    """Computes the SHA-256 of a file's content, which is read at each call.

    Raises:
        OSError: the file cannot be read.
    """
    return digest_file(path).hex()


def hash_tree(path: Path, digest_of: Callable[[Path], str] = read_digest) -> str:
    """Computes a hash of a file's content, or of the names and contents of all files in a folder.

    Links are followed. Python's caches of bytecode (`__pycache__`) do not count.

    Args:
        path: of the file or folder.
        digest_of: computes the SHA-256 of a file; `hash_file` reads one that has not changed once.
    Raises:
        OSError: a file cannot be read.
    """
    if not path.is_dir():
        return digest_of(path)
    digest = hashlib.sha256()
    for file in map(Path, walk_files(path, lambda name: name != '__pycache__')):
        entry = [file.relative_to(path).as_posix(), digest_of(file)]
        digest.update(json.dumps(entry).encode())
    return digest.hexdigest()


def walk_files(folder: Path | str, enters: Callable[[str], bool]) -> Iterator[str]:
    """Yields the paths of the files in a folder and those below it, in the order of their names.

    Links to folders are followed, each folder once.

    Args:
        folder: to begin with.
        enters: tells by its name whether a folder counts.
    """
    visited = set()
    for path, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(path)) in visited:  # a link to a folder above it
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(filter(enters, folders))
        yield from (os.path.join(path, name) for name in sorted(names))


def hash_json(value: Any) -> str:
    """Computes a hash of a value of JSON types; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def canonical_text(value: Any) -> str:
    """Write a value as text that is equal only for equal values.

    The order of keys counts, since sums depend on it.
    """
    return json.dumps(value, default=_to_plain, ensure_ascii=False)


def hash_values(*values: Any) -> str:
    """Compute a hash of values that is equal only for equal values, with keys in equal order."""
    return hashlib.sha256(canonical_text(values).encode()).hexdigest()


def _to_plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
