"""The trained weights of a study: whether they are there, and their removal after the tests."""

from __future__ import annotations

from pathlib import Path

from toolkit.io.run_layout import CAPSULE
from toolkit.study.launchers.job import Job, Keep


def holds_training(folder: Path) -> bool:
    """Tell whether a folder holds a finished training."""
    from toolkit.engine import checkpoint
    from toolkit.run import capsule

    if not (folder / CAPSULE).exists() or checkpoint.find_best_or_last(folder) is None:
        return False
    held = capsule.read(folder)
    return held['kind'] == 'train' and held['status'] == 'finished'


def remove_checkpoints_of(job: Job) -> None:
    """Remove the checkpoints that a study does not keep after its tests; never another study's."""
    folder = job.trained_in
    if folder is not None and any(run.folder.parent == folder.parent for run in job.runs):
        remove_checkpoints(folder, job.keep)


def remove_checkpoints(folder: Path, keep: Keep) -> None:
    """Remove the checkpoints of a training that a study does not keep after its tests.

    Args:
        folder: of the training.
        keep: `best` keeps the tested one, which is the last one where there is no best one.
    """
    from toolkit.engine import checkpoint

    if keep == 'all':
        return
    tested = checkpoint.find_best_or_last(folder)
    last = checkpoint.get_folder(folder) / checkpoint.LAST
    kept = {'best': tested, 'last': last, 'none': None}[keep]
    if keep != 'none' and (kept is None or not kept.exists()):
        return  # never the only one
    for file in checkpoint.get_folder(folder).glob('*.pth'):
        if file != kept:
            file.unlink()
