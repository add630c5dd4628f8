"""Claims of jobs: processes that work on one study do each job once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import RunError, ToolkitError
from toolkit.io.file_lock import try_lock
from toolkit.io.run_records import RunStatus
from toolkit.study.launchers.job import Job

# Beside the folders of runs, which may be emptied.
CLAIMS = '.claims'


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[bool]:
    """Be the only process that works on a job; yields False if another one is at it.

    The claim ends with this process, however that ends.

    Args:
        folder: of the training, or of the only run of a job that trains nothing.
    Raises:
        RunError: the file of the claim cannot be written.
    """
    path = folder.parent / CLAIMS / f'{folder.name}.lock'
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = try_lock(path)
    except OSError as error:
        raise RunError(f'cannot write {path}: {error.strerror}') from error
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


def find_outcome(job: Job) -> dict[str, RunStatus] | None:
    """Find the statuses of a job that another process has ended since it was planned.

    Returns:
        The status of each run by its name; None where there is something left to do.
    """
    found = {}
    for run in job.runs:
        try:
            status = RunStatus.read(run.folder)
        except ToolkitError:
            return None  # damaged: the run says so
        ended = status.status == 'finished' or (
            status.status == 'failed' and (status.ended or '') > job.planned
        )
        made = status.fingerprint
        if not ended or made is None or run.fingerprint.differences(made):
            return None
        found[run.id] = status
    return found
