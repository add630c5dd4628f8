"""Hashes that tell whether data files or JSON values are the same."""

from __future__ import annotations

import functools
import hashlib
import json
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
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def hash_json(value: Any) -> str:
    """Computes a hash of a value of JSON types; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
