"""Writes files that must not exist yet: all of them or none."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from toolkit.errors import RunError, ToolkitError
from toolkit.io import atomic_write


def write_new_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Writes files into a folder, which is made if it is missing.

    Args:
        folder: to write to.
        files: texts by path below the folder.
    Returns:
        The paths of the files.
    Raises:
        ToolkitError: a file exists; nothing is written.
        RunError: a file cannot be written; those before it are removed.
    """
    if folder.exists() and not folder.is_dir():
        raise ToolkitError(f'{folder} is no folder; name another one: --in FOLDER')
    paths = {folder / name: text for name, text in files.items()}
    if taken := [path for path in paths if path.exists() or path.is_symlink()]:
        raise ToolkitError(
            f'{taken[0]} exists already, and nothing is overwritten; choose another name, or '
            'another folder with --in FOLDER'
        )
    missing = {p for path in paths for p in path.parents if not p.exists()}
    written: list[Path] = []
    try:
        for path, text in paths.items():
            atomic_write.write(path, text)
            written.append(path)
    except RunError:
        for path in written:
            path.unlink(missing_ok=True)
        for made in sorted(missing, key=lambda path: -len(path.parts)):
            with contextlib.suppress(OSError):
                made.rmdir()
        raise
    return written
