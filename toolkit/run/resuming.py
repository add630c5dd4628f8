"""Resumes a run: which folder and which checkpoint it continues from."""

from __future__ import annotations

from pathlib import Path

from toolkit.engine import checkpoint
from toolkit.engine.process import distributed
from toolkit.errors import ToolkitError
from toolkit.io.run_layout import CAPSULE, METRICS_LOG
from toolkit.run import capsule, changes
from toolkit.run import work_dir as work_dirs
from toolkit.run.capsule import CapsuleInput


def check_folder(work_dir: Path, resume: bool | Path, given: CapsuleInput | None) -> None:
    """Refuses a folder that holds another run, or one that cannot be resumed.

    Raises:
        ToolkitError: it is not that of the run.
    """
    work_dirs.check(work_dir, bool(resume))
    if resume:
        _check_config(work_dir, given)


def choose_checkpoint(work_dir: Path, resume: bool | Path) -> tuple[Path | None, list[str]]:
    """Chooses the checkpoint to resume from, None for the beginning, with sentences on the choice.

    Raises:
        ToolkitError: the checkpoints cannot be used, or were removed.
    """
    if not resume:
        return None, []
    if isinstance(resume, Path):
        content = checkpoint.load(resume)
        checkpoint.check_resumable(content, resume)
        iteration = (content.get('meta') or {}).get('iter')
        return resume, [
            f'resuming from {resume} (iteration {iteration}); later lines of the log are replaced'
        ]
    found, problems = checkpoint.find_resumable(work_dir)
    if found is not None:
        return found, [*problems, f'resuming from {found}'] if problems else []
    if (work_dir / CAPSULE).exists():
        status = capsule.read(work_dir)['status']
        if status in ('finished', 'interrupted'):
            raise ToolkitError(
                f'cannot resume {work_dir}: its run is {status}, and its checkpoints are gone; '
                'start anew in another --work-dir'
            )
    aside = _put_log_aside(work_dir)
    more = f'; its log is now {aside}' if aside is not None else ''
    return None, [f'no checkpoint had been written yet: starting from the beginning{more}']


def _put_log_aside(work_dir: Path) -> Path | None:
    """Renames the log of a run that starts again from the beginning; None if it has no lines."""
    log = work_dir / METRICS_LOG
    if not log.exists() or not log.stat().st_size:
        return None
    number = 1
    while (aside := log.with_name(f'{METRICS_LOG}.{number}')).exists():
        number += 1
    log.rename(aside)
    return aside


def _check_config(work_dir: Path, given: CapsuleInput | None) -> None:
    """Refuse to go on with another config than a run was started with.

    Raises:
        ToolkitError: names the keys that differ, beyond how and how long it is computed.
    """
    if given is None or not (work_dir / CAPSULE).exists():
        return
    previous = capsule.read(work_dir)
    if previous.get('config') is None:
        return
    processes = (int(previous.get('processes', 1)), distributed.get_world_size())
    changes.check_config(work_dir, previous['config'], given.tree, processes)
