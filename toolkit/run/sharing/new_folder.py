"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import RunError, ToolkitError


@contextlib.contextmanager
def make_new_folder(folder: Path) -> Iterator[Path]:
    """Makes a folder, which takes its place once all in it is complete.

    Args:
        folder: must not exist, or be empty.
    Raises:
        ToolkitError: it holds something, or is a file or a link.
        RunError: it cannot be made.
    """
    target = Path(os.path.abspath(folder))
    if folder.is_symlink() or (target.exists() and not target.is_dir()):
        raise ToolkitError(f'{folder} is a file or a link; name a new folder')
    if target.is_dir() and any(target.iterdir()):
        raise ToolkitError(f'{folder} holds files already; name a new folder')
    parent = target.parent
    made = [place for place in (parent, *parent.parents) if not place.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        # On the same disk, so that renaming it is one step.
        temporary = Path(tempfile.mkdtemp(prefix=f'.{target.name}.', dir=parent))
    except OSError as error:
        raise RunError(f'cannot make {folder}: {error.strerror}') from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_read_umask())
        os.replace(temporary, target)
    except OSError as error:
        raise RunError(f'cannot write {folder}: {error.strerror}') from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):  # those that hold the new folder stay
            for place in made:
                place.rmdir()


def _read_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
