"""A run's folder: one run at a time, and never two different ones."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from toolkit.config.run_plugins import find_run
from toolkit.engine.process import distributed
from toolkit.errors import BusyError, RunError, ToolkitError
from toolkit.io import run_layout as layout
from toolkit.io.file_lock import try_lock

# A folder with any of these files, or with a checkpoint, holds a run.
TRACES = (layout.CAPSULE, layout.METRICS_LOG)
# The files that a run leaves.
OUTPUTS = (
    layout.CAPSULE,
    layout.CONFIG,
    layout.ORIGINS,
    layout.PATCH,
    layout.METRICS_LOG,
    layout.METRICS_FILE,
    layout.TRAIN_LOG,
    layout.TEST_LOG,
    layout.CHECKPOINTS,
    layout.IMAGES,
    layout.PLUGINS,
    layout.TENSORBOARD,
    layout.TRACKERS,
)

# Files to which lines are added.
LOGS = (layout.METRICS_LOG, layout.TRAIN_LOG, layout.TEST_LOG)


def holds_run(work_dir: Path) -> bool:
    """Tell whether a folder holds files of a run."""
    if any((work_dir / name).exists() for name in TRACES):
        return True
    return any((work_dir / layout.CHECKPOINTS).glob('*.pth'))


def check(work_dir: Path, resume: bool) -> None:
    """Refuse a folder before any work is done.

    Raises:
        ToolkitError: it holds another run and `resume` is false, or holds none and it is true; or
            what would be written there leads to other places.
        RunError: it is no folder, or cannot be written.
    """
    if work_dir.exists() and not work_dir.is_dir():
        raise RunError(f'the work folder {work_dir} is a file; choose another --work-dir')
    if resume and not holds_run(work_dir):
        raise ToolkitError(f'nothing to resume: {work_dir} holds no run; start without --resume')
    check_links(work_dir)
    if not resume and holds_run(work_dir):
        raise ToolkitError(
            f'{work_dir} already holds a run: go on with --resume, or choose another --work-dir'
        )
    existing = next(p for p in (work_dir, *work_dir.parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise RunError(f'cannot write to the work folder {work_dir}: {existing} is not writable')


def check_links(work_dir: Path) -> None:
    """Refuses a folder that would lead what a run writes to other places.

    A received folder may hold links: a line for its log would be added to the file that a link
    leads to, and its checkpoints would take the place of another run's. A folder of the user's own
    may be a link to another disk.

    Raises:
        ToolkitError: a file of the run is a link, or has a second name; or a folder leads into
            another run.
    """
    for name in OUTPUTS:
        path = work_dir / name
        if path.is_symlink() and not path.is_dir():
            raise ToolkitError(
                f'{path} is a link to {os.readlink(path)}: a run writes its files itself; remove '
                'the link, or put the file in its place'
            )
        if path.is_symlink():
            other = find_run(path.resolve())
            if other is not None and other != work_dir.resolve():
                raise ToolkitError(f'{path} is a link into another run, {other}; remove the link')
        # Lines are added to a log in its place; other files are replaced.
        if name in LOGS and path.is_file() and path.stat().st_nlink > 1:
            raise ToolkitError(
                f'{path} has a second name elsewhere (a hard link), whose lines would change too; '
                'put a copy in its place'
            )


def clear(work_dir: Path) -> None:
    """Remove what a run has left; other files in the folder stay.

    Raises:
        BusyError: another process is working there.
        RunError: something cannot be removed.
    """
    if not holds_run(work_dir):
        return
    with claimed(work_dir):
        try:
            logs = work_dir.glob(f'{layout.METRICS_LOG}.*')  # put aside by a resumption
            for path in [*(work_dir / name for name in OUTPUTS), *logs]:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(
                f'cannot remove the run in {work_dir}: {error.strerror or error}'
            ) from error


@contextmanager
def claimed(work_dir: Path, what: str = 'run') -> Iterator[None]:
    """Be the only run, or other `what`, in the folder inside; it is made if it is not there.

    Raises:
        BusyError: another process is working there.
        RunError: the folder cannot be made or written.
    """
    lock: list[FileLock] = []  # of the main process; the others receive no lock object
    distributed.run_on_main(lambda: lock.append(_lock(work_dir, what)))
    try:
        yield
    finally:
        if lock:
            lock[0].release()


def _lock(work_dir: Path, what: str) -> FileLock:
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        lock = try_lock(work_dir / layout.LOCK)
    except OSError as error:
        raise RunError(f'cannot write to the work folder {work_dir}: {error.strerror}') from error
    if lock is None:
        raise BusyError(
            f'another {what} is working in {work_dir}; wait for it, or choose another --work-dir'
        )
    return lock


def is_busy(work_dir: Path) -> bool:
    """Tell whether another process is running in the folder."""
    if not (work_dir / layout.LOCK).exists():
        return False
    try:
        _lock(work_dir, 'run').release()
    except BusyError:
        return True
    return False
