"""Atomic writing of raster files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rasterio.errors import RasterioError

from toolkit.errors import RunError


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, which replaces it after success and is removed else.

    Raises:
        RunError: the folder cannot be written or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f'.{path.stem}-', suffix=path.suffix
        )
        os.close(handle)
    except OSError as error:
        raise RunError(f'cannot write {path}: {error.strerror or error}') from error
    partial = Path(name)
    try:
        yield partial
        # mkstemp makes private files; results have the permissions of any new file.
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o666 & ~mask)
        partial.replace(path)
    except (OSError, RasterioError) as error:
        raise RunError(f'cannot write {path}: {error}') from error
    finally:
        partial.unlink(missing_ok=True)
