"""Hashes that tell whether data files or JSON values are the same."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def hash_files(*paths: Path) -> str:
    """Computes a short hash of the contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        digest.update(_hash_file(path, status.st_mtime_ns, status.st_size).encode())
    return digest.hexdigest()[:16]


@functools.lru_cache(maxsize=1 << 17)
def _hash_file(path: Path, modified: int, size: int) -> str:
    # Time and size are only keys of the cache: a file that changed is read again.
    return digest_file(path).hex()


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


def hash_tree(path: Path) -> str:
    """Computes a hash of a file's content, or of the names and contents of all files in a folder.

    Links are followed. Python's caches of bytecode (`__pycache__`) do not count.

    Raises:
        OSError: a file cannot be read.
    """
    if not path.is_dir():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    visited = set()
    for folder, names, files in os.walk(path, followlinks=True):
        if os.path.realpath(folder) in visited:  # a link to a folder above it
            names.clear()
            continue
        visited.add(os.path.realpath(folder))
        names[:] = sorted(name for name in names if name != '__pycache__')
        for name in sorted(files):
            file = Path(folder, name)
            entry = [
                file.relative_to(path).as_posix(),
                hashlib.sha256(file.read_bytes()).hexdigest(),
            ]
            digest.update(json.dumps(entry).encode())
    return digest.hexdigest()


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
